"""The torque limiter: the last thing before the world and before the servos' bus.

Called in every control cycle with the fresh joint state, it predicts the joint velocity one cycle
ahead and returns the effort nearest to the requested one for which, at the end of the cycle,

    joint range     v <= a (q_max - q)  and  v >= -a (q - q_min)
    joint speed     |v| <= v_max
    floor plane     d/dt h_i >= -a h_i      h_i: height of critical point i over the clearance
    bounding sphere d/dt s   >= -a s        s: distance of the tip to the sphere, from inside
    effort          |u| <= u_max, and less when the mean effort of the last seconds was high

that is, nothing may approach a limit faster than it can stop before it (a discrete control barrier
function: Ames et al., "Control Barrier Function Based Quadratic Programs for Safety Critical
Systems", 2017, eq. 21 with a linear class-K function; bounding sphere: Gu et al., "Deep
Reinforcement Learning for Robotic Manipulation with Asynchronous Off-Policy Updates", 2017, IV.B).
Beyond a limit the same inequalities ask for motion back inside. The prediction uses one lumped
model per joint, v' = v + dt (u - gravity(q) - b v) / I; what it leaves out (friction, coupling)
is corrected in the next cycle.

The limits have hard maxima: a configuration can tighten them, never widen them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ergojr_description import kinematics
from ergojr_description.kinematics import ACTIVE_JOINTS, ACTIVE_NAMES, Array

MAX_EFFORT = 0.16  # N m, 41 % of the XL-320's stall torque
MAX_SUSTAINED_EFFORT = 0.078  # N m, 20 % of stall
MAX_SPEED = 2.5  # rad/s
MAX_SPHERE_RADIUS = 0.235  # m around the axis of m2; the straight arm reaches 0.244 m

GRAVITY = 9.81  # m/s^2
_ACTIVE = list(ACTIVE_JOINTS)
_PROJECTIONS = 12  # sweeps over violated rows; more change nothing measurable


def _limit(doc: str, default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True)
class LimiterConfig:
    """Limits in SI units; `low` and `high` of each field are hard.

    Raises:
        ValueError: if a value is outside its bounds or not finite.
    """

    max_effort: float = _limit("Greatest effort of a joint, in N m.", MAX_EFFORT, 0.0, MAX_EFFORT)
    sustained_effort: float = _limit(
        "Greatest mean effort of a joint over sustained_seconds, in N m.",
        MAX_SUSTAINED_EFFORT,
        0.0,
        MAX_SUSTAINED_EFFORT,
    )
    sustained_seconds: float = _limit("Time constant of the mean effort, in s.", 30.0, 0.1, 30.0)
    max_speed: float = _limit("Greatest joint speed, in rad/s.", MAX_SPEED, 0.01, MAX_SPEED)
    range_margin: float = _limit(
        "Distance kept from the ends of each joint's range, in rad.", 0.02, 0.0, 1.0
    )
    floor_clearance: float = _limit(
        "Height that every critical point keeps over the table, in m.", 0.004, 0.0, 0.05
    )
    sphere_radius: float = _limit(
        "Greatest distance of the tip from the axis of m2, in m.",
        MAX_SPHERE_RADIUS,
        0.10,
        MAX_SPHERE_RADIUS,
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            low, high = item.metadata["low"], item.metadata["high"]
            if not low <= value <= high:
                raise ValueError(
                    f"limiter: {item.name} is {value}, expected {low} to {high}; "
                    "a limit can be tightened, not widened"
                )


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

    def __init__(self, config: LimiterConfig | None = None) -> None:
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
        self._mean_effort = np.zeros(4)

    def reset(self) -> None:
        """Forget the mean effort (a new arm, or one that has cooled down)."""
        self._mean_effort = np.zeros(4)

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
            self._remember(np.zeros(4), dt)
            return Limited(np.zeros(4), frozenset(), fault)
        acted: set[str] = set()
        cap = self._effort_cap()
        if (np.abs(effort) > self.config.max_effort).any():
            acted.add("effort")
        if (np.abs(effort) > cap).any() and (cap < self.config.max_effort).any():
            acted.add("sustained")
        requested = np.clip(effort, -cap, cap)

        speed = velocity[_ACTIVE]
        poses = kinematics.forward(position)
        points = self._points.positions(poses)
        jacobian = self._points.jacobian(poses, points)[:, :, _ACTIVE]
        gravity = GRAVITY * (kinematics.LINK_MASSES @ jacobian[self._count :, 2])
        gain = dt / self.inertia
        free = speed - gain * (gravity + self.viscous * speed)
        wanted = free + gain * requested
        allowed = self._project(
            wanted, position, points, jacobian, free - gain * cap, free + gain * cap, acted
        )
        limited = np.clip((allowed - free) / gain, -cap, cap)
        self._remember(limited, dt)
        return Limited(limited, frozenset(acted))

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
        poses = kinematics.forward(position)
        points = self._points.positions(poses)
        jacobian = self._points.jacobian(poses, points)[:, :, _ACTIVE]
        bound = np.full(4, self.config.max_speed)
        allowed = self._project(speed, position, points, jacobian, -bound, bound, acted)
        return Limited(allowed, frozenset(acted))

    def _project(
        self,
        wanted: Array,
        position: Array,
        points: Array,
        jacobian: Array,
        least: Array,
        greatest: Array,
        acted: set[str],
    ) -> Array:
        """The velocity nearest to `wanted` (cyclic projections) that satisfies the limits.

        least, greatest: [4] rad/s that the actuator can reach in this cycle; they win over every
        other limit, because nothing can be done about them.
        """
        here = position[_ACTIVE]
        top = self.config.max_speed
        range_low = self.brake_rate * (self._low - here)
        range_high = self.brake_rate * (self._high - here)
        if (wanted < range_low).any() or (wanted > range_high).any():
            acted.add("range")
        if (np.abs(wanted) > top).any():
            acted.add("speed")
        low = np.clip(np.clip(range_low, -top, top), least, greatest)
        high = np.clip(np.clip(range_high, -top, top), least, greatest)
        velocity = np.clip(wanted, low, high)

        # Rows r . v >= bound: the floor for every critical point, then the sphere for the tip.
        tip = points[self._tip]
        radial = tip - kinematics.SHOULDER
        distance = float(np.sqrt(radial @ radial))
        rows = np.empty((self._count + 1, 4))
        rows[:-1] = jacobian[: self._count, 2]
        rows[-1] = -(radial @ jacobian[self._tip]) / max(distance, 1e-6)
        room = np.empty(self._count + 1)
        room[:-1] = points[: self._count, 2] - self._floor
        room[-1] = self.config.sphere_radius - distance
        bounds = -self.brake_rate * room
        shortfall = bounds - rows @ velocity
        if shortfall.max() <= 0.0:
            return velocity
        if (shortfall[:-1] > 0.0).any():
            acted.add("floor")
        if shortfall[-1] > 0.0:
            acted.add("sphere")
        for _ in range(_PROJECTIONS):
            worst = int(shortfall.argmax())
            if shortfall[worst] <= 1e-9:
                break
            row = rows[worst]
            # Only joints that can still move in the needed direction take part.
            row = np.where(
                row > 0.0, np.where(velocity < high, row, 0.0), np.where(velocity > low, row, 0.0)
            )
            norm = float(row @ row)
            if norm < 1e-8:
                shortfall[worst] = 0.0
                continue
            velocity = np.clip(velocity + row * (shortfall[worst] / norm), low, high)
            shortfall = bounds - rows @ velocity
        return velocity

    def _effort_cap(self) -> Array:
        """[4] N m: falls from max_effort to sustained_effort while the mean effort goes from 80 %
        to 100 % of sustained_effort."""
        config = self.config
        sustained = min(config.sustained_effort, config.max_effort)
        used = np.clip((self._mean_effort - 0.8 * sustained) / max(0.2 * sustained, 1e-9), 0, 1)
        return np.asarray(config.max_effort - used * (config.max_effort - sustained))

    def _remember(self, effort: Array, dt: float) -> None:
        weight = min(dt / self.config.sustained_seconds, 1.0)
        self._mean_effort = self._mean_effort + weight * (np.abs(effort) - self._mean_effort)


def _fault(command: Array, position: Array, velocity: Array, dt: float) -> str:
    if command.shape != (4,) or position.shape != (6,) or velocity.shape != (6,):
        raise ValueError(
            f"limiter: command {command.shape}, position {position.shape}, velocity "
            f"{velocity.shape}, expected (4,), (6,), (6,)"
        )
    if not dt > 0.0:
        raise ValueError(f"limiter: cycle time is {dt} s, expected more than 0")
    if not np.isfinite(command).all():
        name = ACTIVE_NAMES[int(np.flatnonzero(~np.isfinite(command))[0])]
        return f"command for {name} is not a finite number"
    for what, state in (("position", position), ("velocity", velocity)):
        if not np.isfinite(state).all():
            name = kinematics.JOINT_NAMES[int(np.flatnonzero(~np.isfinite(state))[0])]
            return f"{what} of {name} is not a finite number"
    return ""
