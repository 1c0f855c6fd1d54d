"""The torque limiter: the last thing before the world and before the servos' bus.

Called in every control cycle with the fresh joint state, it predicts the joint velocity one cycle
ahead and returns the effort nearest to the requested one for which, at the end of the cycle,

    joint range     v <= a (q_max - q)  and  v >= -a (q - q_min)
    joint speed     |v| <= v_max
    floor           d/dt h_i >= -a h_i      h_i: height of critical point i over table or base
    bounding sphere d/dt s   >= -a s        s: distance of the tip to the sphere, from inside
    effort          |u| <= u_max, and less when the mean effort of the last seconds was high

that is, nothing may approach a limit faster than it can stop before it (a discrete control barrier
function: Ames et al., "Control Barrier Function Based Quadratic Programs for Safety Critical
Systems", 2017, eq. 21 with a linear class-K function; bounding sphere: Gu et al., "Deep
Reinforcement Learning for Robotic Manipulation with Asynchronous Off-Policy Updates", 2017, IV.B).
Beyond a limit the same inequalities ask for motion back inside. The prediction uses one lumped
model per joint, v' = v + dt (u - gravity(q) - b v) / I; what it leaves out (coupling, and on the
robot the servos' own controllers) is corrected in the next cycle. What holds the arm beyond floor
or sphere nevertheless, such as dry friction, is overcome by asking for more the longer it lasts.

The limits have hard maxima: a configuration can tighten them, never widen them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, degrees, isfinite, sqrt

import numpy as np

from ergojr_description import kinematics
from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import ACTIVE_JOINTS, ACTIVE_NAMES, GRAVITY, Array

MAX_PLAUSIBLE_POSITION = 7.0  # rad; readings beyond are a fault of the sensor
MAX_PLAUSIBLE_SPEED = 60.0  # rad/s; the XL-320 turns at 12 rad/s without load

_ACTIVE = list(ACTIVE_JOINTS)
_PROJECTIONS = 12  # sweeps over violated rows; more change nothing measurable
_IMPATIENCE = 60.0  # 1/s^2: how fast the speed grows that is asked for beyond floor or sphere
_MOST_MORE = 0.2  # m/s, by which it may grow
_PATH_STEP = 0.05  # rad between the poses of a path that are looked at; 0.1 mm of the tip's arc


@dataclass(frozen=True)
class Limited:
    """What the limiter lets through.

    Attributes:
        command: [4], for m1 m2 m3 m5: N m, or rad/s for `limit_velocity`.
        acted: names of the limits that changed the command: `effort`, `sustained`, `range`,
            `speed`, `floor`, `sphere`.
        fault: one sentence when the command or state was unusable, and the command is then zero;
            empty otherwise.
    """

    command: Array
    acted: frozenset[str]
    fault: str = ""


class Limiter:
    """Keeps one arm inside its limits. Not thread-safe; one object per arm."""

    brake_rate = 12.0
    """1/s: a, the rate at which the distance to a limit may shrink."""
    inertia: Array = np.array([3.0e-3, 2.0e-3, 1.5e-3, 1.0e-3])
    """[4] kg m^2: least inertia seen by each active joint, rotor included. Too small a value brakes
    softly, too large a value makes the discrete brake oscillate."""
    viscous = 0.08  # N m s/rad, the servos' viscous friction

    def __init__(self, config: LimiterConfig | None = None, delay: float = 0.0) -> None:
        """delay: s from reading a state until the effort that answers it acts."""
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
        self._more: Array = np.zeros(self._count + 1)  # m/s, asked of floor and sphere in addition

    def reset(self) -> None:
        """Forget the past (a new arm, or one that has cooled down)."""
        self._mean_effort = np.zeros(4)
        self._more = np.zeros(self._count + 1)

    def tire(self) -> None:
        """As if the sustained effort were used up: the least there is to brake with."""
        self._mean_effort = np.full(4, self.config.max_effort)

    def remember(self, effort: Array, dt: float) -> None:
        """Count `effort` [4] N m over `dt` s towards the sustained effort.

        `limit_effort` does so itself; this is for what the motors do besides, such as holding.
        """
        weight = min(dt / self.config.sustained_seconds, 1.0)
        self._mean_effort = self._mean_effort + weight * (np.abs(effort) - self._mean_effort)

    def limit_effort(self, effort: Array, position: Array, velocity: Array, dt: float) -> Limited:
        """The effort to apply for the next cycle.

        Args:
            effort: [4] N m requested for m1 m2 m3 m5.
            position: [6] rad, read in this cycle.
            velocity: [6] rad/s, read in this cycle.
            dt: s until the next call.

        Raises:
            ValueError: if a shape is wrong or dt is not positive (a programming error; bad
                numbers are a fault in the result).
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
        """The same limits for an arm that is driven by joint speeds: [4] rad/s -> [4] rad/s.

        Args:
            speed: [4] rad/s requested for m1 m2 m3 m5.
            position: [6] rad, read in this cycle.
            dt: s until the next call.

        Raises:
            ValueError: as `limit_effort`.
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
        """Why the pose [6] rad is outside of the limits, in one sentence; empty if it is inside."""
        return self._why(self._excess(position))

    def clear_path(self, start: Array, end: Array) -> str:
        """Why the arm may not go straight from `start` to `end`, both [6] rad; empty if it may.

        `end` must be inside the limits; where `start` is outside (an arm that lay on the table), it
        may get no worse on the way.
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
        """How far beyond each limit: six lower ends, six upper ends (rad), floor, sphere (m)."""
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
        """[N, 3] m positions and [N, 3, 4] m/rad Jacobians of critical points, then of masses."""
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
        """The velocity nearest to `wanted` (cyclic projections) that satisfies the limits.

        least, greatest: [4] rad/s that the actuator can reach in this cycle; they win over every
        other limit, because nothing can be done about them.
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
                bounds[worst] = -np.inf  # nothing left to do about this one
            else:
                step = velocity + row * (shortfall[worst] / norm)
                velocity = np.minimum(np.maximum(step, low), high)
            shortfall = bounds - rows @ velocity
        return velocity

    def effort_cap(self) -> Array:
        """[4] N m: falls from max_effort to sustained_effort while the mean effort goes from 80 %
        to 100 % of sustained_effort."""
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
