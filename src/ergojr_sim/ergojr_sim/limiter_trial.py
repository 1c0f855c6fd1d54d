"""The limiter on trial: a powered arm, a table that holds nothing, and commands that mean ill.

    python -m ergojr_sim.limiter_trial --commands 10000

Each command is held for a tick (50 ms). Half of them go to each of two arms:

`torque`  the simulator's: efforts act as they are, the limiter sees the exact state at 120 Hz.
`servo`   the robot's: six XL-320 (`virtual_servo`), written to as the driver does: an effort as
          torque limit, goal 30 degrees ahead and speed cap. The limiter sees positions and speeds
          in the registers' resolution at 100 Hz, and what it says arrives one whole cycle late.

Every other time the arm starts out tired, that is with its sustained effort used up. Printed, for
every way to attack, is the worst over all cycles: how far a joint was beyond its range, the tip and
the lowest critical point below the plane of the table, and the tip outside of the sphere. It ends
with 1 if a joint was more than 1 degree or the tip more than 5 mm beyond.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from math import radians
from typing import Protocol

import numpy as np

from ergojr_description import kinematics, xl320
from ergojr_description.kinematics import ACTIVE_JOINTS, CRITICAL_POINTS, Array
from ergojr_description.limiter import MAX_EFFORT, MAX_SPHERE_RADIUS, Limited, Limiter
from ergojr_sim.virtual_servo import VirtualServo
from ergojr_sim.world import SERVO_STEP, World

EPISODE = 60  # commands from one start
ALLOWED_ANGLE = 1.0  # degrees
ALLOWED_DISTANCE = 5.0  # mm

CYCLE = 0.01  # s, of the driver's bus
CYCLES_PER_COMMAND = 5
GOAL_AHEAD = radians(30.0)

_ACTIVE = list(ACTIVE_JOINTS)
_AWAY = (0.0, 5.0)  # a cube out of reach
_POINTS = kinematics.Points(
    tuple(point.link for point in CRITICAL_POINTS), np.array([p.offset for p in CRITICAL_POINTS])
)
_RADII = np.array([point.radius for point in CRITICAL_POINTS])
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
        points = _POINTS.positions(kinematics.forward(position))
        radius = float(np.linalg.norm(points[_TIP] - kinematics.SHOULDER))
        self.add(
            Worst(
                float(np.degrees(beyond[_ACTIVE].max())),
                -1e3 * float(points[_TIP, 2]),
                -1e3 * float((points[:, 2] - _RADII).min()),
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

Attack = Callable[[Array, Array, int], Array]
"""Position, velocity, number of the command -> command."""


def _towards(direction: Array) -> Array:
    return MAX_EFFORT * np.where(direction >= 0.0, 1.0, -1.0)


def _uniform(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.uniform(-MAX_EFFORT, MAX_EFFORT, 4)


def _bang_bang(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.choice([-MAX_EFFORT, MAX_EFFORT], 4)


def _absurd(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.normal(0.0, 1e3, 4)


def _held(random: np.random.Generator) -> Attack:
    corner = random.choice([-MAX_EFFORT, MAX_EFFORT], 4)
    return lambda position, velocity, tick: corner


def _flips(random: np.random.Generator) -> Attack:
    corner = random.choice([-MAX_EFFORT, MAX_EFFORT], 4)
    return lambda position, velocity, tick: corner * (-1.0) ** tick


def _swings(random: np.random.Generator) -> Attack:
    """Square waves of 0.1 to 1.5 s."""
    period, phase = random.uniform(2.0, 30.0, 4), random.uniform(0.0, 2 * np.pi, 4)
    return lambda position, velocity, tick: _towards(np.sin(2 * np.pi * tick / period + phase))


def _pumps(random: np.random.Generator) -> Attack:
    """Always with the motion, as at resonance."""
    return lambda position, velocity, tick: _towards(velocity[_ACTIVE])


def _ends(random: np.random.Generator) -> Attack:
    """Towards the nearer end of each joint's range."""
    middle = (kinematics.JOINT_LOW + kinematics.JOINT_HIGH)[_ACTIVE] / 2
    return lambda position, velocity, tick: _towards(position[_ACTIVE] - middle)


def _gradient(position: Array, direction: Array) -> Array:
    return np.asarray(direction @ kinematics.tip_jacobian(position)[:, _ACTIVE])


def _outward(position: Array) -> Array:
    radial = kinematics.tip(position) - kinematics.SHOULDER
    return np.asarray(radial / np.linalg.norm(radial))


_DOWN = np.array([0.0, 0.0, -1.0])


def _dives(random: np.random.Generator) -> Attack:
    """Down with whatever is lowest."""

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        poses = kinematics.forward(position)
        points = _POINTS.positions(poses)
        lowest = int((points[:, 2] - _RADII).argmin())
        return _towards(-_POINTS.jacobian(poses, points)[lowest, 2, _ACTIVE])

    return attack


def _stretches(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: _towards(_gradient(position, _outward(position)))


def _corners(random: np.random.Generator) -> Attack:
    """To where sphere and floor meet, while m1 sweeps."""

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        command = _towards(_gradient(position, _outward(position) + _DOWN))
        command[0] = MAX_EFFORT * (-1.0) ** (tick // 8)
        return command

    return attack


def _flings(random: np.random.Generator) -> Attack:
    """Up and out with a swing, then down with it."""
    length = int(random.integers(3, 13))

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        sign = 1.0 if tick // length % 2 else -1.0
        return _towards(_gradient(position, sign * _DOWN + 0.3 * _outward(position)))

    return attack


ATTACKS: dict[str, Callable[[np.random.Generator], Attack]] = {
    "uniform": _uniform,
    "bang-bang": _bang_bang,
    "absurd": _absurd,
    "held extremes": _held,
    "sign flips": _flips,
    "swings": _swings,
    "resonance": _pumps,
    "joint ends": _ends,
    "dives": _dives,
    "stretches": _stretches,
    "corners": _corners,
    "flings": _flings,
}


def start_inside(random: np.random.Generator) -> Array:
    """[6] rad: a pose inside of the limits; m4 and m6 at zero."""
    limiter = Limiter()
    while True:
        position = np.zeros(6)
        position[_ACTIVE] = random.uniform(kinematics.JOINT_LOW, kinematics.JOINT_HIGH)[_ACTIVE]
        if not limiter.clear(position):
            return position


def attack(arm: Arm, name: str, commands: int, random: np.random.Generator) -> Worst:
    """The worst that `ATTACKS[name]` did to the arm."""
    arm.worst = Worst()
    for begin in range(0, commands, EPISODE):
        arm.start(start_inside(random))
        if begin // EPISODE % 2:
            arm.limiter.tire()
        command = ATTACKS[name](random)
        for tick in range(min(EPISODE, commands - begin)):
            arm.tick(command(*arm.state(), tick))
    return arm.worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=10_000, help="number of commands in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the attacks")
    options = parser.parse_args()
    share = -(-options.commands // (len(ARMS) * len(ATTACKS)))
    print(
        "arm     attack          joint/deg  tip below/mm  part below/mm  outside/mm  speed/(rad/s)"
    )
    tolerable = True
    for kind, make in ARMS.items():
        arm = make()
        everything = Worst()
        for number, name in enumerate(ATTACKS):
            random = np.random.default_rng((options.seed, number))
            worst = attack(arm, name, share, random)
            everything.add(worst)
            _print(kind, name, worst)
        _print(kind, "ALL", everything)
        tolerable = tolerable and everything.tolerable
        arm.close()
    return 0 if tolerable else 1


def _print(kind: str, name: str, worst: Worst) -> None:
    print(
        f"{kind:8}{name:16}{worst.joint:9.2f}{worst.tip_below:14.2f}{worst.part_below:15.2f}"
        f"{worst.tip_outside:12.2f}{worst.speed:15.2f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
