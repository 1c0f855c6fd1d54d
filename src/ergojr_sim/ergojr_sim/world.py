"""The Ergo Jr, a table and a cube in PyBullet, without task or reward.

There are three ways to drive the arm (`control`):

`torque`    takes efforts in N m for m1 m2 m3 m5 at 20 Hz. Physics runs at 480 Hz, and the limiter
            at 120 Hz on fresh joint state. Each servo has a rotor inertia of 1e-3 kg m^2, Coulomb
            friction of 0.05 N m and viscous friction of 0.08 N m s/rad. PyBullet integrates the
            latter explicitly, which is stable because b dt |M^-1| is about 0.5 (a test holds that).
`position`  takes joint targets in rad for m1 m2 m3 m5, as in the paper's gym-ergojr. Physics runs
            at 60 Hz, three steps per 20 Hz tick, with 0.8 rad/s and 0.8 N m at most. The limiter
            bounds the speeds at 60 Hz.
`servo`     takes efforts in N m for all six joints, 480 times a second (`servo_step`), from a model
            of the servos. Each joint has the inertia and friction of `torque`. There is no limiter,
            for on the rig the robot's driver has one.

m4 and m6 are held at zero except with `servo`. The world's frame is the arm's base frame: z points
up, and the arm points along +y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from ergojr_description import kinematics
from ergojr_description.config import MAX_EFFORT, LimiterConfig
from ergojr_description.kinematics import ACTIVE_JOINTS, Array
from ergojr_description.limiter import Limited, Limiter
from ergojr_description.xl320 import STALL_TORQUE
from ergojr_sim.bullet import Bullet
from ergojr_sim.rendering import Renderer

CONTROLS = ("torque", "position")
"""Kinds of control of the simulator; the rig of virtual hardware has "servo"."""

ROTOR_INERTIA = 1e-3  # kg m^2
COULOMB_FRICTION = 0.05  # N m
VISCOUS_FRICTION = 0.08  # N m s/rad
HOLDING_EFFORT = STALL_TORQUE
SERVO_STEP = 1 / 480  # s, a step of physics with torques
POSITION_SPEED = 0.8  # rad/s, of the paper
POSITION_EFFORT = 0.8  # N m, of the paper
POSITION_GAIN = 0.1  # share of the error that PyBullet's position motor removes per step
POSITION_TARGET = pi / 2  # rad, the greatest joint target of the paper


@dataclass(frozen=True)
class JointState:
    """The state of some joints.

    Attributes:
        position: [n] rad or m.
        velocity: [n] rad/s or m/s.
        effort: [n] N m or N, as applied.
    """

    position: Array
    velocity: Array
    effort: Array


@dataclass(frozen=True)
class Tick:
    """What happened in one control period.

    Attributes:
        touched: whether a finger touched the cube.
        acted: names of the limits that changed the command (see `limiter.Limited`).
        fault: the limiter's fault; empty if there was none.
    """

    touched: bool
    acted: frozenset[str]
    fault: str


def command_bounds(control: str) -> tuple[Array, Array]:
    """Return the bounds [4] of the commands for m1 m2 m3 m5 in N m (torque) or rad (position)."""
    bound = np.full(4, MAX_EFFORT if control == "torque" else POSITION_TARGET)
    return -bound, bound


class World:
    """One PyBullet world of its own. It is not thread-safe.

    Args:
        control: `torque`, `position` or `servo`.
        limiter: limits that are tighter than the hard ones.

    Raises:
        ValueError: if `control` is unknown.
        ImportError: if PyBullet is missing or was built without numpy.
    """

    def __init__(self, control: str = "torque", limiter: LimiterConfig | None = None) -> None:
        controls = (*CONTROLS, "servo")
        if control not in controls:
            raise ValueError(f"control is {control!r}, expected one of {', '.join(controls)}")
        self.control = control
        self.limiter = Limiter(limiter)
        self._bullet = Bullet()
        if control == "position":
            self._dt, self._steps_per_cycle, self._cycles = 1 / 60, 1, 3
        else:
            self._dt, self._steps_per_cycle, self._cycles = SERVO_STEP, 4, 6
        self._build()

    def _build(self) -> None:
        bullet = self._bullet
        bullet.setGravity(0.0, 0.0, -kinematics.GRAVITY)
        bullet.setTimeStep(self._dt)
        path = kinematics.urdf_path
        self._table = bullet.loadURDF(str(path("floor")), useFixedBase=True)
        inertia_from_file = bullet.URDF_USE_INERTIA_FROM_FILE
        self._arm = bullet.loadURDF(str(path("arm")), useFixedBase=True, flags=inertia_from_file)
        self._cube = bullet.loadURDF(str(path("cube")), [0.0, 0.135, 0.015])
        names = {
            bullet.getJointInfo(self._arm, index)[1].decode(): index
            for index in range(bullet.getNumJoints(self._arm))
        }
        self._joints = [names[name] for name in kinematics.JOINT_NAMES]
        self._active = [self._joints[index] for index in ACTIVE_JOINTS]
        self._held = [self._joints[index] for index in range(6) if index not in ACTIVE_JOINTS]
        self._tip = names["tip"]
        self.renderer = Renderer(bullet, self._table, self._arm, self._joints, self._cube)
        self._fingers = (names["m5"], names["m6"])
        for link in self._joints:
            bullet.changeDynamics(
                self._arm, link, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0
            )
        for link in self._joints if self.control == "servo" else self._active:
            # PyBullet has no rotor inertia, so it is added to the link's tensor.
            diagonal = np.add(bullet.getDynamicsInfo(self._arm, link)[2], ROTOR_INERTIA)
            bullet.changeDynamics(self._arm, link, localInertiaDiagonal=diagonal.tolist())
            if self.control != "position":
                bullet.changeDynamics(self._arm, link, jointDamping=VISCOUS_FRICTION)
        self._effort: Array = np.zeros(4)
        self._drive = "loose"

    def reset(self, position: Array, cube: tuple[float, float], yaw: float) -> None:
        """Put the arm at rest at `position` [6] rad and the cube on the table at (x, y) m."""
        bullet = self._bullet
        # The world is built again (4 ms), for a restored state has traces of earlier contacts.
        bullet.resetSimulation()
        self._build()
        for joint, angle in zip(self._joints, position, strict=True):
            bullet.resetJointState(self._arm, joint, float(angle), 0.0)
        orientation = bullet.getQuaternionFromEuler([0.0, 0.0, yaw])
        bullet.resetBasePositionAndOrientation(self._cube, [*cube, 0.015], orientation)
        bullet.resetBaseVelocity(self._cube, [0.0] * 3, [0.0] * 3)
        self.limiter.reset()
        self._loosen()

    def tick(self, command: Array | None) -> Tick:
        """Advance by one control period under `command` [4], in N m or rad by `control`.

        None switches the torque of all six servos off; only friction is left.
        """
        if command is None:
            self._loosen()
        elif self._drive != "driven":
            self._take()
        touched = False
        acted: frozenset[str] = frozenset()
        fault = ""
        for _ in range(self._cycles):
            if command is None:
                self._step()
            else:
                limited = self._drive_cycle(command)
                acted |= limited.acted
                fault = fault or limited.fault
            touched = touched or self.touching()
        return Tick(touched, acted, fault)

    def hold(self, position: Array) -> None:
        """Advance by one control period while all six servos hold `position` [6] rad."""
        self._drive = "held"
        self._bullet.setJointMotorControlArray(
            self._arm,
            self._joints,
            self._bullet.POSITION_CONTROL,
            targetPositions=list(position),
            forces=[HOLDING_EFFORT] * 6,
        )
        for _ in range(self._cycles):
            self._step()

    def servo_step(self, effort: Sequence[float]) -> None:
        """Advance by one step of physics (`SERVO_STEP`) under `effort` [6] N m and friction."""
        self._bullet.setJointMotorControlArray(
            self._arm, self._joints, self._bullet.TORQUE_CONTROL, forces=effort
        )
        self._bullet.stepSimulation()

    def place_cube(self, x: float, y: float, yaw: float) -> bool:
        """Put the cube on the table, as a hand would; returns False if the arm is in the way."""
        bullet = self._bullet
        before = self.cube_pose()
        orientation = bullet.getQuaternionFromEuler([0.0, 0.0, yaw])
        bullet.resetBasePositionAndOrientation(self._cube, [x, y, 0.015], orientation)
        free = not bullet.getClosestPoints(self._arm, self._cube, 0.0)
        if not free:
            bullet.resetBasePositionAndOrientation(self._cube, before[:3], before[3:])
        bullet.resetBaseVelocity(self._cube, [0.0] * 3, [0.0] * 3)
        return free

    def show(self, position: Sequence[float], cube: Sequence[float]) -> None:
        """Set arm [6] rad and cube [7] (`cube_pose`) to the poses that another world has."""
        for joint, angle in zip(self._joints, position, strict=True):
            self._bullet.resetJointState(self._arm, joint, angle, 0.0)
        self._bullet.resetBasePositionAndOrientation(self._cube, cube[:3], cube[3:])

    def _loosen(self) -> None:
        """Switch all servos off; the gears' friction stays."""
        self._drive = "loose"
        self._effort = np.zeros(4)
        self._friction(self._joints)

    def _take(self) -> None:
        """Hold m4 and m6 at zero, and free the active joints for commands."""
        self._drive = "driven"
        self._effort = np.zeros(4)
        self._friction(self._active)
        self._bullet.setJointMotorControlArray(
            self._arm,
            self._held,
            self._bullet.POSITION_CONTROL,
            targetPositions=[0.0] * len(self._held),
            forces=[HOLDING_EFFORT] * len(self._held),
        )

    def _friction(self, joints: list[int]) -> None:
        """Set Coulomb friction, which is PyBullet's velocity motor with target 0."""
        self._bullet.setJointMotorControlArray(
            self._arm,
            joints,
            self._bullet.VELOCITY_CONTROL,
            targetVelocities=[0.0] * len(joints),
            forces=[COULOMB_FRICTION] * len(joints),
        )

    def _step(self) -> None:
        for _ in range(self._steps_per_cycle):
            self._bullet.stepSimulation()

    def _drive_cycle(self, command: Array) -> Limited:
        """Limit the command by the present state, and advance physics by a cycle of the limiter."""
        state = self.joint_state()
        if self.control == "position":
            return self._drive_position(command, state.position)
        limited = self.limiter.limit_effort(
            command, state.position, state.velocity, self._dt * self._steps_per_cycle
        )
        self._drive_torque(limited.command)
        return limited

    def _drive_torque(self, effort: Array) -> None:
        bullet = self._bullet
        self._effort = effort
        forces = effort.tolist()
        for _ in range(self._steps_per_cycle):
            # PyBullet forgets a torque after each step.
            bullet.setJointMotorControlArray(
                self._arm, self._active, bullet.TORQUE_CONTROL, forces=forces
            )
            bullet.stepSimulation()

    def _drive_position(self, target: Array, position: Array) -> Limited:
        bullet = self._bullet
        here = position[list(ACTIVE_JOINTS)]
        # The speed that PyBullet's position motor will have is limited and becomes a target again.
        gain = POSITION_GAIN / self._dt
        speed = np.clip(gain * (target - here), -POSITION_SPEED, POSITION_SPEED)
        limited = self.limiter.limit_velocity(speed, position, self._dt)
        targets = here + limited.command / gain if limited.acted or limited.fault else target
        for joint, angle in zip(self._active, targets, strict=True):
            bullet.setJointMotorControl2(
                self._arm,
                joint,
                bullet.POSITION_CONTROL,
                targetPosition=float(angle),
                force=POSITION_EFFORT,
                maxVelocity=POSITION_SPEED,
                positionGain=POSITION_GAIN,
            )
        self._step()
        return limited

    def joint_state(self) -> JointState:
        """Return the present state of m1 to m6."""
        states = self._bullet.getJointStates(self._arm, self._joints)
        effort = np.array([state[3] for state in states])
        if self._drive == "loose":
            effort[:] = 0.0  # PyBullet reports the friction
        elif self._drive == "driven" and self.control == "torque":
            effort[list(ACTIVE_JOINTS)] = self._effort
        return JointState(
            np.array([state[0] for state in states]),
            np.array([state[1] for state in states]),
            effort,
        )

    def tip(self) -> Array:
        """Return the place of the pick-up point between the fingers, [3] m."""
        state = self._bullet.getLinkState(self._arm, self._tip, computeForwardKinematics=True)
        return np.array(state[4])

    def cube(self) -> Array:
        """Return the place of the cube's centre, [3] m."""
        return np.array(self._bullet.getBasePositionAndOrientation(self._cube)[0])

    def cube_pose(self) -> list[float]:
        """Return the cube's centre in m and its orientation, a quaternion x y z w, together [7]."""
        centre, orientation = self._bullet.getBasePositionAndOrientation(self._cube)
        return [*centre, *orientation]

    def cube_state(self) -> JointState:
        """Return the cube's state as two prismatic joints along x and y: [2] m, m/s, no effort."""
        velocity = self._bullet.getBaseVelocity(self._cube)[0]
        return JointState(self.cube()[:2], np.array(velocity[:2]), np.zeros(2))

    def motion(self) -> tuple[list[float], list[float]]:
        """Return [6] rad and [6] rad/s as plain numbers, which is fast enough for 480 Hz."""
        states = self._bullet.getJointStates(self._arm, self._joints)
        return [state[0] for state in states], [state[1] for state in states]

    def distance(self) -> float:
        """Return the distance in m between the tip and the cube's centre."""
        return float(np.linalg.norm(self.tip() - self.cube()))

    def touching(self) -> bool:
        """Return whether hand or finger touches the cube (in the last step of physics)."""
        contacts = self._bullet.getContactPoints(self._arm, self._cube)
        return any(contact[3] in self._fingers and contact[8] <= 0.0 for contact in contacts)

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self._bullet.isConnected():
            self._bullet.disconnect()
