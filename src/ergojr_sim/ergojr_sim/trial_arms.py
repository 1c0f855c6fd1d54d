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

ALLOWED_ANGLE = 1.0  # degrees
ALLOWED_DISTANCE = 5.0  # mm
CYCLE = 0.01  # s, of the driver's bus
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
    """The greatest excess seen over each limit; negative: what was left."""

    joint: float = -np.inf  # degrees
    tip_below: float = -np.inf  # mm
    part_below: float = -np.inf  # mm, of any critical point
    tip_outside: float = -np.inf  # mm
    speed: float = 0.0  # rad/s, of any joint

    def see(self, position: Array, velocity: Array) -> None:
        """Take a state into account."""
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
        """The worse of both."""
        for item in fields(self):
            setattr(self, item.name, max(getattr(self, item.name), getattr(other, item.name)))

    @property
    def tolerable(self) -> bool:
        """Within what the project promises."""
        distance = max(self.tip_below, self.tip_outside)
        return self.joint <= ALLOWED_ANGLE and distance <= ALLOWED_DISTANCE


class Arm(Protocol):
    """An arm with its limiter."""

    worst: Worst

    limiter: Limiter

    def start(self, position: Array) -> None:
        """Begin anew, at rest at [6] rad."""

    def state(self) -> tuple[Array, Array]:
        """True position [6] rad and velocity [6] rad/s."""

    def tick(self, command: Array) -> None:
        """Go on for one command, [4] N m."""

    def close(self) -> None: ...


def _remove_table(world: World) -> None:
    """Nothing collides with it any more, so that only the limiter is left to hold the arm."""
    world._bullet.setCollisionFilterGroupMask(world._table, -1, 0, 0)


class _Watching(Limiter):
    """Shows every state it is given."""

    def __init__(self, arm: TorqueArm) -> None:
        super().__init__()
        self._arm = arm

    def limit_effort(self, effort: Array, position: Array, velocity: Array, dt: float) -> Limited:
        self._arm.worst.see(position, velocity)
        return super().limit_effort(effort, position, velocity, dt)


class TorqueArm:
    """The simulator's arm."""

    def __init__(self) -> None:
        self.worst = Worst()
        self._world = World("torque")
        self.limiter: Limiter = _Watching(self)
        self._world.limiter = self.limiter

    def start(self, position: Array) -> None:
        self._world.reset(position, _AWAY, 0.0)
        _remove_table(self._world)

    def state(self) -> tuple[Array, Array]:
        state = self._world.joint_state()
        return state.position, state.velocity

    def tick(self, command: Array) -> None:
        self._world.tick(command)

    def close(self) -> None:
        self._world.close()


class ServoArm:
    """The robot's arm: see the module. Motors and joints turn the same way here."""

    def __init__(self) -> None:
        self.worst = Worst()
        self._world = World("servo")
        self.limiter = Limiter(delay=CYCLE)
        self._cap = xl320.speed_to_raw(self.limiter.config.max_speed)

    def start(self, position: Array) -> None:
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
        state = self._world.joint_state()
        return state.position, state.velocity

    def tick(self, command: Array) -> None:
        for _ in range(CYCLES_PER_COMMAND):
            position, velocity = self._read()
            limited = self.limiter.limit_effort(command, position, velocity, CYCLE)
            # The limiter's answer to the last cycle's state: this one is still under way.
            self._write(*self._order)
            self._order = (position, limited.command)
            self._physics()

    def _read(self) -> tuple[Array, Array]:
        """As the registers say."""
        positions = [servo.get(xl320.PRESENT_POSITION) for servo in self._servos]
        speeds = [servo.get(xl320.PRESENT_SPEED) for servo in self._servos]
        return (
            np.array([xl320.raw_to_position(value) for value in positions]),
            np.array([xl320.raw_to_speed(value) for value in speeds]),
        )

    def _write(self, position: Array, effort: Array) -> None:
        """m1 m2 m3 m5 as the driver turns an effort into registers; m4 and m6 stay at zero."""
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
        self._world.close()


ARMS: dict[str, Callable[[], Arm]] = {"torque": TorqueArm, "servo": ServoArm}
