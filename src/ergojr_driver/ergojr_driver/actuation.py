"""Turns goals and efforts into motor commands, after the limiter has limited them."""

from __future__ import annotations

import numpy as np

from ergojr_description.kinematics import Array
from ergojr_description.limiter import Limiter
from ergojr_driver.bus import MotorCommand
from ergojr_driver.config import DriverConfig
from ergojr_driver.motors import FaultError, Motors
from ergojr_driver.servo import ACTIVE, HELD, MOTORS, Calibration, Joints


class Actuation:
    """Computes the motor commands of one bus cycle."""

    def __init__(
        self, config: DriverConfig, limiter: Limiter, calibration: Calibration, motors: Motors
    ) -> None:
        self._limiter = limiter
        self._calibration = calibration
        self._motors = motors
        self._period = 1.0 / config.bus_rate
        # The cap on the motors' speed matters for an arm that was held back. It is twice the speed
        # of a reset so that it does not slow a reset down.
        self._speed = min(2.0 * config.reset_speed, limiter.config.max_speed)

    def hold(self, goal: Array, load: Array, *, at_rest: bool) -> dict[int, MotorCommand]:
        """Compute commands that move the arm to `goal` or keep it there.

        Args:
            goal: [6] rad.
            load: [6] N m, the present torque of the joints.
            at_rest: whether the arm is to stand still, for which less effort is allowed.
        """
        self._limiter.remember(load[ACTIVE], self._period)
        most = self.most()
        if at_rest:
            most[ACTIVE] = np.minimum(most[ACTIVE], self._limiter.effort_cap())
        return self.go(goal, most)

    def push(self, effort: Array, joints: Joints, goal: Array) -> dict[int, MotorCommand]:
        """Compute commands that apply an effort to the active joints and hold the others.

        Args:
            effort: [4] N m for the active joints.
            joints: the state of all joints, read in this cycle.
            goal: [6] rad, of which the held joints' part is used.

        Raises:
            FaultError: if the limiter cannot use `effort` or `joints`.
        """
        most = self.most()
        held = self.go(goal, most)
        wanted = np.clip(effort, -most[ACTIVE], most[ACTIVE])
        # The limiter may brake a hot motor with full effort: to stop it matters more than its heat.
        limited = self._limiter.limit_effort(wanted, joints.position, joints.velocity, self._period)
        if limited.fault:
            raise FaultError(f"limiter: {limited.fault}")
        efforts = np.zeros(len(MOTORS))
        efforts[ACTIVE] = limited.command
        driven = self._calibration.drive(efforts, joints.position, self._limiter.config.max_speed)
        return {MOTORS[i]: (held if i in HELD else driven)[MOTORS[i]] for i in range(len(MOTORS))}

    def most(self) -> Array:
        """Return the greatest effort of each joint, [6] N m, which is less where a motor is hot."""
        return np.asarray(self._limiter.config.max_effort * self._motors.derating())

    def go(self, goal: Array, most: Array) -> dict[int, MotorCommand]:
        """Compute commands that move to `goal` [6] rad with at most `most` [6] N m."""
        return self._calibration.go(goal, most, self._speed)
