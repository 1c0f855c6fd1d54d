"""The torque limiter, which has the last word before the simulated world and the servo bus.

Called in every control cycle with fresh joint state, it predicts the joint velocities one cycle
ahead. It returns the effort nearest to the requested one for which, at the end of the cycle,

    joint range     v <= a (q_max - q)  and  v >= -a (q - q_min)
    joint speed     |v| <= v_max
    floor           d/dt h_i >= -a h_i      h_i: height of critical point i over table or base
    bounding sphere d/dt s   >= -a s        s: distance of the tip to the sphere, from inside
    effort          |u| <= u_max, and less when the mean effort of the last seconds was high

that is, nothing approaches a limit faster than it can stop before it (a discrete control barrier
function: Ames et al., "Control Barrier Function Based Quadratic Programs for Safety Critical
Systems", 2017, eq. 21 with a linear class-K function; bounding sphere: Gu et al., "Deep
Reinforcement Learning for Robotic Manipulation with Asynchronous Off-Policy Updates", 2017, IV.B).
Beyond a limit, the same inequalities demand motion back inside. The prediction uses one lumped
model per joint, v' = v + dt (u - gravity(q) - b v) / I. The next cycle corrects what it leaves out:
coupling and, on the robot, the servos' own controllers. If something such as dry friction holds the
arm beyond floor or sphere nevertheless, the limiter demands more speed the longer it lasts.

The limits have hard maxima: a configuration can tighten them, never widen them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, degrees, isfinite, sqrt

import numpy as np

from ergojr_description import kinematics
from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import ACTIVE_JOINTS, ACTIVE_NAMES, GRAVITY, Array

MAX_PLAUSIBLE_POSITION = 7.0  # rad; a greater reading is a fault of the sensor
MAX_PLAUSIBLE_SPEED = 60.0  # rad/s; the XL-320 turns at 12 rad/s without load

_ACTIVE = list(ACTIVE_JOINTS)
_PROJECTIONS = 12  # sweeps over violated rows; further sweeps change nothing measurable
_IMPATIENCE = 60.0  # 1/s^2, the rate at which the demanded speed grows beyond floor or sphere
_MOST_MORE = 0.2  # m/s by which the demanded speed may grow
_PATH_STEP = 0.05  # rad between the poses of a path that are checked; 0.1 mm of the tip's arc


@dataclass(frozen=True)
class Limited:
    """The limiter's result.

    Attributes:
        command: [4] for m1 m2 m3 m5 in N m, or in rad/s for `limit_velocity`.
        acted: names of the limits that changed the command: `effort`, `sustained`, `range`,
            `speed`, `floor`, `sphere`.
        fault: one sentence if the command or state cannot be used, in which case the command is
            zero; else empty.
    """

    command: Array
    acted: frozenset[str]
    fault: str = ""


class Limiter:
    """Keeps one arm inside its limits. It is not thread-safe; each arm has a limiter of its own.

    Args:
        delay: s from the reading of a state until the effort that answers it acts.
    """

    brake_rate = 12.0
    """The rate a in 1/s at which the distance to a limit may shrink."""
    inertia: Array = np.array([3.0e-3, 2.0e-3, 1.5e-3, 1.0e-3])
    """[4] kg m^2: the least inertia of each active joint, rotor included. With too small a value
    the limiter brakes softly, with too large a value it oscillates."""
    viscous = 0.08  # N m s/rad, the servos' viscous friction

    def __init__(self, config: LimiterConfig | None = None, delay: float = 0.0) -> None:
        self.delay = delay
        self.config = LimiterConfig() if config is None else config
        margin = self.config.range_margin
        self._low = kinematics.JOINT_LOW[_ACTIVE] + margin
        self._high = kinematics.JOINT_HIGH[_ACTIVE] - margin
        points = kinematics.CRITICAL_POINTS
        self._floor = np.array([p.radius for p in points]) + self.config.floor_clearance
        self._tip = [p.name for p in points].index("tip")
        self._count = len(points)
        self._points = kinematics.Points(
            tuple(p.link for p in points) + tuple(range(6)),
            np.concatenate([[p.offset for p in points], kinematics.LINK_CENTRES]),
        )
        self._weights = GRAVITY * kinematics.LINK_MASSES
        self._most: Array = np.full(4, self.config.max_effort)
        self._mean_effort: Array = np.zeros(4)
        self._more: Array = np.zeros(self._count + 1)  # m/s, demanded further at floor and sphere

    def reset(self) -> None:
        """Forget the past, for a new arm or one that has cooled down."""
        self._mean_effort = np.zeros(4)
        self._more = np.zeros(self._count + 1)

    def tire(self) -> None:
        """Use the sustained effort up, so that the least effort is left to brake with."""
        self._mean_effort = np.full(4, self.config.max_effort)

    def remember(self, effort: Array, dt: float) -> None:
        """Count `effort` [4] N m over `dt` s towards the sustained effort.

        `limit_effort` counts its own results. This is for other efforts, such as holding a pose.
        """
        weight = min(dt / self.config.sustained_seconds, 1.0)
        self._mean_effort = self._mean_effort + weight * (np.abs(effort) - self._mean_effort)

    def limit_effort(self, effort: Array, position: Array, velocity: Array, dt: float) -> Limited:
        """Return the effort to apply in the next cycle.

        Args:
            effort: [4] N m requested for m1 m2 m3 m5.
            position: [6] rad, read in this cycle.
            velocity: [6] rad/s, read in this cycle.
            dt: s until the next call.

        Raises:
            ValueError: if a shape is wrong or dt is not positive, which is a programming error;
                bad numbers are a fault in the result.
        """
        fault = _fault(effort, position, velocity, dt)
        if fault:
            self.remember(np.zeros(4), dt)
            return Limited(np.zeros(4), frozenset(), fault)
        acted: set[str] = set()
        cap = self.effort_cap()
        requested = np.minimum(np.maximum(effort, -cap), cap)
        if (requested != effort).any():
            over = np.abs(effort)
            acted.update(["effort"] if (over > self.config.max_effort).any() else [])
            acted.update(["sustained"] if (cap < np.minimum(over, self._most)).any() else [])

        speed = velocity[_ACTIVE]
        position = position + self.delay * velocity
        points, jacobian = self._geometry(position)
        gravity = self._weights @ jacobian[self._count :, 2]
        gain = dt / self.inertia
        free = speed - gain * (gravity + self.viscous * speed)
        change = gain * cap
        allowed = self._project(
            free + gain * requested,
            position,
            points,
            jacobian,
            free - change,
            free + change,
            dt,
            acted,
        )
        if acted:
            requested = np.minimum(np.maximum((allowed - free) / gain, -cap), cap)
        self.remember(requested, dt)
        return Limited(requested, frozenset(acted))

    def limit_velocity(self, speed: Array, position: Array, dt: float) -> Limited:
        """Return the speed to apply in the next cycle, for an arm that is driven by joint speeds.

        Args:
            speed: [4] rad/s requested for m1 m2 m3 m5.
            position: [6] rad, read in this cycle.
            dt: s until the next call.

        Raises:
            ValueError: as for `limit_effort`.
        """
        fault = _fault(speed, position, np.zeros(6), dt)
        if fault:
            return Limited(np.zeros(4), frozenset(), fault)
        acted: set[str] = set()
        points, jacobian = self._geometry(position)
        bound = np.full(4, self.config.max_speed)
        allowed = self._project(speed, position, points, jacobian, -bound, bound, dt, acted)
        return Limited(allowed, frozenset(acted))

    def clear(self, position: Array) -> str:
        """Return a sentence on why the pose [6] rad is beyond the limits; empty if it is not."""
        return self._why(self._excess(position))

    def clear_path(self, start: Array, end: Array) -> str:
        """Return why the arm may not move straight from `start` to `end`; empty if it may.

        The end must be within the limits. Where the start is not, as for an arm that lay on the
        table, the excess must not grow on the way.

        Args:
            start: [6] rad.
            end: [6] rad.
        """
        steps = ceil(float(np.abs(end - start).max()) / _PATH_STEP)
        least = np.maximum(self._excess(start), 0.0)
        for step in range(1, steps):
            way = self._excess(start + (step / steps) * (end - start))
            reason = self._why(np.where(way > least, way, 0.0))
            if reason:
                return f"on the way {reason}"
        return self.clear(end)

    def _excess(self, position: Array) -> Array:
        """Return the excess over six lower ends, six upper ends (rad), floor and sphere (m)."""
        margin = self.config.range_margin
        points = self._points.positions(kinematics.forward(position))[: self._count]
        distance = np.linalg.norm(points[self._tip] - kinematics.SHOULDER)
        return np.concatenate(
            [
                kinematics.JOINT_LOW + margin - position,
                position + margin - kinematics.JOINT_HIGH,
                self._floor + kinematics.ground(points)[0] - points[:, 2],
                [distance - self.config.sphere_radius],
            ]
        )

    def _why(self, excess: Array) -> str:
        worst = int(excess.argmax())
        beyond = float(excess[worst])
        if beyond <= 0.0:
            return ""
        if worst < 12:
            name = kinematics.JOINT_NAMES[worst % 6]
            return f"{name} is {degrees(beyond):.1f} degrees beyond its range"
        if worst < 12 + self._count:
            name = kinematics.CRITICAL_POINTS[worst - 12].name
            return f"{name} is {1e3 * beyond:.0f} mm too low"
        return f"the tip is {1e3 * beyond:.0f} mm outside of the sphere"

    def _geometry(self, position: Array) -> tuple[Array, Array]:
        """Return positions [N, 3] m and Jacobians [N, 3, 4] m/rad of critical points and masses."""
        poses = kinematics.forward(position)
        points = self._points.positions(poses)
        return points, self._points.jacobian(poses, points)[:, :, _ACTIVE]

    def _project(
        self,
        wanted: Array,
        position: Array,
        points: Array,
        jacobian: Array,
        least: Array,
        greatest: Array,
        dt: float,
        acted: set[str],
    ) -> Array:
        """Find the velocity nearest to `wanted` that satisfies the limits, by cyclic projections.

        The actuator can reach `least` to `greatest`, both [4] rad/s, in this cycle. They win over
        every other limit, because nothing can be done about them.
        """
        here = position[_ACTIVE]
        top = self.config.max_speed
        low = np.minimum(np.maximum(self.brake_rate * (self._low - here), -top), top)
        high = np.minimum(np.maximum(self.brake_rate * (self._high - here), -top), top)
        velocity: Array = np.minimum(np.maximum(wanted, low), high)
        if (velocity != wanted).any():
            changed = np.abs(velocity[velocity != wanted])
            acted.update(["speed"] if (changed == top).any() else [])
            acted.update(["range"] if (changed != top).any() else [])
        low = np.minimum(np.maximum(low, least), greatest)
        high = np.minimum(np.maximum(high, least), greatest)
        velocity = np.minimum(np.maximum(velocity, low), high)

        # Rows r . v >= bound: the floor for every critical point, then the sphere for the tip.
        count = self._count
        radial = points[self._tip] - kinematics.SHOULDER
        distance = max(sqrt(radial @ radial), 1e-6)
        rows = np.empty((count + 1, 4))
        rows[:count] = jacobian[:count, 2]
        rows[count] = radial @ jacobian[self._tip] / -distance
        beyond = np.empty(count + 1)
        beyond[:count] = self._floor - points[:count, 2]
        ground, slope = kinematics.ground(points[:count])
        if ground.any():
            beyond[:count] += ground
            rows[:count] -= (slope[:, :, None] * jacobian[:count, :2]).sum(axis=1)
        beyond[count] = distance - self.config.sphere_radius
        more = np.minimum(self._more + dt * _IMPATIENCE * beyond, _MOST_MORE)
        self._more = np.where(beyond > 0.0, more, 0.0)
        bounds = self.brake_rate * beyond + self._more
        shortfall = bounds - rows @ velocity
        if shortfall.max() <= 0.0:
            return velocity
        acted.update(["floor"] if shortfall[:count].max() > 0.0 else [])
        acted.update(["sphere"] if shortfall[count] > 0.0 else [])
        for _ in range(_PROJECTIONS):
            worst = int(shortfall.argmax())
            if shortfall[worst] <= 1e-6:
                break
            # Only joints that can still move the needed way take part.
            row = rows[worst]
            row = row * np.where(row > 0.0, velocity < high, velocity > low)
            norm = float(row @ row)
            if norm < 1e-8:
                bounds[worst] = -np.inf  # nothing can be done about this limit
            else:
                step = velocity + row * (shortfall[worst] / norm)
                velocity = np.minimum(np.maximum(step, low), high)
            shortfall = bounds - rows @ velocity
        return velocity

    def effort_cap(self) -> Array:
        """Return the greatest effort at present, [4] N m.

        It falls from max_effort to sustained_effort while the mean effort goes from 80 % to 100 %
        of sustained_effort.
        """
        config = self.config
        sustained = min(config.sustained_effort, config.max_effort)
        if self._mean_effort.max() <= 0.8 * sustained:
            return self._most
        used = np.clip((self._mean_effort / max(sustained, 1e-9) - 0.8) / 0.2, 0.0, 1.0)
        return np.asarray(config.max_effort - used * (config.max_effort - sustained))


def _fault(command: Array, position: Array, velocity: Array, dt: float) -> str:
    if command.shape != (4,) or position.shape != (6,) or velocity.shape != (6,):
        raise ValueError(
            f"limiter: command {command.shape}, position {position.shape}, velocity "
            f"{velocity.shape}, expected (4,), (6,), (6,)"
        )
    if not dt > 0.0:
        raise ValueError(f"limiter: cycle time is {dt} s, expected more than 0")
    for what, names, values, plausible in (
        ("command for", ACTIVE_NAMES, command, np.inf),
        ("position of", kinematics.JOINT_NAMES, position, MAX_PLAUSIBLE_POSITION),
        ("velocity of", kinematics.JOINT_NAMES, velocity, MAX_PLAUSIBLE_SPEED),
    ):
        for name, value in zip(names, values.tolist(), strict=True):
            if not isfinite(value):
                return f"{what} {name} is not a finite number"
            if abs(value) > plausible:
                return f"{what} {name} is {value:.3g}, which no servo reads"
    return ""
