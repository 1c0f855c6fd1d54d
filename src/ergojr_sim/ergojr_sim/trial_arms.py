"""The two arms that the limiter is tried on; see `ergojr_sim.limiter_trial`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import radians
from typing import Protocol

import numpy as np

from ergojr_description import kinematics, xl320
from ergojr_description.config import MAX_EFFORT, MAX_SPHERE_RADIUS
from ergojr_description.kinematics import ACTIVE_JOINTS, CRITICAL_POINTS, Array
from ergojr_description.limiter import Limited, Limiter
from ergojr_sim.virtual_servo import VirtualServo
from ergojr_sim.world import SERVO_STEP, World

ALLOWED_ANGLE = 1.0  # degrees that a joint may be beyond its range
ALLOWED_DISTANCE = 5.0  # mm that the tip may be below the table or outside of the sphere
CYCLE = 0.01  # s, a cycle of the driver's bus
CYCLES_PER_COMMAND = 5
GOAL_AHEAD = radians(30.0)

_ACTIVE = list(ACTIVE_JOINTS)
_AWAY = (0.0, 5.0)  # m: a position of the cube that is out of reach
RADII: Array = np.array([point.radius for point in CRITICAL_POINTS])
"""m: the radius of each critical point."""
POINTS = kinematics.Points(
    tuple(point.link for point in CRITICAL_POINTS), np.array([p.offset for p in CRITICAL_POINTS])
)
"""The critical points of the arm."""
_TIP = [point.name for point in CRITICAL_POINTS].index("tip")


@dataclass
class Worst:
    """The greatest excess over each limit; a negative one is the distance that was left.

    Attributes:
        joint: degrees that a joint was beyond its range.
        tip_below: mm that the tip was below the plane of the table.
        part_below: mm that any critical point was below it.
        tip_outside: mm that the tip was outside of the sphere.
        speed: the greatest speed of a joint in rad/s.
    """

    joint: float = -np.inf
    tip_below: float = -np.inf
    part_below: float = -np.inf
    tip_outside: float = -np.inf
    speed: float = 0.0

    def see(self, position: Array, velocity: Array) -> None:
        """Take a state into account: position [6] rad and velocity [6] rad/s."""
        beyond = np.maximum(kinematics.JOINT_LOW - position, position - kinematics.JOINT_HIGH)
        points = POINTS.positions(kinematics.forward(position))
        radius = float(np.linalg.norm(points[_TIP] - kinematics.SHOULDER))
        self.add(
            Worst(
                float(np.degrees(beyond[_ACTIVE].max())),
                -1e3 * float(points[_TIP, 2]),
                -1e3 * float((points[:, 2] - RADII).min()),
                1e3 * (radius - MAX_SPHERE_RADIUS),
                float(np.abs(velocity[_ACTIVE]).max()),
            )
        )

    def add(self, other: Worst) -> None:
        """Keep the worse of this excess and another one."""
        for item in fields(self):
            setattr(self, item.name, max(getattr(self, item.name), getattr(other, item.name)))

    @property
    def tolerable(self) -> bool:
        """Whether the excess is within what the project promises."""
        distance = max(self.tip_below, self.tip_outside)
        return self.joint <= ALLOWED_ANGLE and distance <= ALLOWED_DISTANCE


class Arm(Protocol):
    """An arm with its limiter."""

    worst: Worst

    limiter: Limiter

    def start(self, position: Array) -> None:
        """Start again, at rest at `position` [6] rad."""

    def state(self) -> tuple[Array, Array]:
        """Return the true position [6] rad and velocity [6] rad/s."""

    def tick(self, command: Array) -> None:
        """Advance by one command, [4] N m."""

    def close(self) -> None:
        """Free the physics."""


def _remove_table(world: World) -> None:
    """Let nothing collide with the table, so that only the limiter holds the arm."""
    world._bullet.setCollisionFilterGroupMask(world._table, -1, 0, 0)


class _Watching(Limiter):
    """A limiter that shows every state it receives to an arm's `worst`."""

    def __init__(self, arm: TorqueArm) -> None:
        super().__init__()
        self._arm = arm

    def limit_effort(self, effort: Array, position: Array, velocity: Array, dt: float) -> Limited:
        self._arm.worst.see(position, velocity)
        return super().limit_effort(effort, position, velocity, dt)


class TorqueArm:
    """The simulator's arm; see `ergojr_sim.limiter_trial`."""

    def __init__(self) -> None:
        self.worst = Worst()
        self._world = World("torque")
        self.limiter: Limiter = _Watching(self)
        self._world.limiter = self.limiter

    def start(self, position: Array) -> None:
        """See `Arm`."""
        self._world.reset(position, _AWAY, 0.0)
        _remove_table(self._world)

    def state(self) -> tuple[Array, Array]:
        """See `Arm`."""
        state = self._world.joint_state()
        return state.position, state.velocity

    def tick(self, command: Array) -> None:
        """See `Arm`."""
        self._world.tick(command)

    def close(self) -> None:
        """See `Arm`."""
        self._world.close()


class ServoArm:
    """The robot's arm; see `ergojr_sim.limiter_trial`. Its motors turn as its joints do."""

    def __init__(self) -> None:
        self.worst = Worst()
        self._world = World("servo")
        self.limiter = Limiter(delay=CYCLE)
        self._cap = xl320.speed_to_raw(self.limiter.config.max_speed)

    def start(self, position: Array) -> None:
        """See `Arm`."""
        self._world.reset(position, _AWAY, 0.0)
        _remove_table(self._world)
        self.limiter.reset()
        self._steps = 0.0
        self._servos = [VirtualServo(motor) for motor in range(1, 7)]
        for servo, angle in zip(self._servos, position, strict=True):
            servo.angle = angle
            servo.write(xl320.TORQUE_LIMIT.address, bytes(2))
            servo.write(xl320.TORQUE_ENABLE.address, b"\1")
        self._order: tuple[Array, Array] = (position, np.zeros(4))

    def state(self) -> tuple[Array, Array]:
        """See `Arm`."""
        state = self._world.joint_state()
        return state.position, state.velocity

    def tick(self, command: Array) -> None:
        """See `Arm`."""
        for _ in range(CYCLES_PER_COMMAND):
            position, velocity = self._read()
            limited = self.limiter.limit_effort(command, position, velocity, CYCLE)
            # This is the limiter's answer to the last cycle's state, for it arrives a cycle late.
            self._write(*self._order)
            self._order = (position, limited.command)
            self._physics()

    def _read(self) -> tuple[Array, Array]:
        """Return positions [6] rad and velocities [6] rad/s as the registers have them."""
        positions = [servo.get(xl320.PRESENT_POSITION) for servo in self._servos]
        speeds = [servo.get(xl320.PRESENT_SPEED) for servo in self._servos]
        return (
            np.array([xl320.raw_to_position(value) for value in positions]),
            np.array([xl320.raw_to_speed(value) for value in speeds]),
        )

    def _write(self, position: Array, effort: Array) -> None:
        """Write the registers for an effort [4] N m as the driver does; m4 and m6 stay at zero."""
        torque: Array = np.full(6, MAX_EFFORT)
        goal: Array = np.zeros(6)
        torque[_ACTIVE] = np.abs(effort)
        goal[_ACTIVE] = position[_ACTIVE] + np.sign(effort) * GOAL_AHEAD
        goal = np.clip(goal, kinematics.JOINT_LOW, kinematics.JOINT_HIGH)
        for servo, angle, most in zip(self._servos, goal, torque, strict=True):
            words = (xl320.position_to_raw(angle), self._cap)
            data = b"".join(word.to_bytes(2, "little") for word in words)
            servo.write(xl320.GOAL.address, data)
            servo.write(xl320.TORQUE_LIMIT.address, xl320.torque_to_raw(most).to_bytes(2, "little"))

    def _physics(self) -> None:
        self._steps += CYCLE / SERVO_STEP
        while self._steps >= 1.0:
            self._steps -= 1.0
            position, velocity = self.state()
            self.worst.see(position, velocity)
            self._world.servo_step(
                [
                    servo.step(angle, speed, SERVO_STEP)
                    for servo, angle, speed in zip(self._servos, position, velocity, strict=True)
                ]
            )

    def close(self) -> None:
        """See `Arm`."""
        self._world.close()


ARMS: dict[str, Callable[[], Arm]] = {"torque": TorqueArm, "servo": ServoArm}
