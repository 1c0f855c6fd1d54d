"""Joints and their XL-320s: calibration, and an effort with a sign for servos that have none.

The XL-320 has no current mode. In joint mode its position controller pushes with at most
`torque limit` towards the goal, so

    effort u    ->   torque limit |u|,  goal q + sign(u) 30 degrees,  moving speed as a cap

is a signed effort for as long as the controller saturates, which it does with the goal that far
ahead. When the computer or the cable is lost the goal is what bounds the motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import radians

import numpy as np

from ergojr_description import xl320
from ergojr_description.kinematics import ACTIVE_JOINTS, JOINT_HIGH, JOINT_LOW, JOINT_NAMES, Array
from ergojr_driver.bus import MotorCommand, MotorState

GOAL_AHEAD = radians(30.0)
MOTORS = tuple(range(1, len(JOINT_NAMES) + 1))
"""Ids of m1 to m6."""


@dataclass(frozen=True)
class Joints:
    """State of the six joints: rad, rad/s, N m; each [6]."""

    position: Array
    velocity: Array
    load: Array


class Calibration:
    """Between joints and motors: motor angle = direction · joint angle + offset.

    Args:
        direction: [6] +1 or -1.
        offset: [6] rad, what each motor reads at the zero pose.
        effort_scale: [6] N m that come out of the joint for each N m that its register says.

    Raises:
        ValueError: where one of them cannot be.
    """

    def __init__(
        self, direction: tuple[float, ...], offset: tuple[float, ...], scale: tuple[float, ...]
    ) -> None:
        for name, values, allowed, expected in (
            ("direction", direction, [v in (1.0, -1.0) for v in direction], "1.0 or -1.0"),
            ("offset", offset, [abs(v) < 1.0 for v in offset], "-1 to 1 rad"),
            ("effort_scale", scale, [0.2 <= v <= 5.0 for v in scale], "0.2 to 5"),
        ):
            if len(values) != len(MOTORS) or not all(allowed):
                raise ValueError(f"{name} is {list(values)}, expected six values, each {expected}")
        self.direction: Array = np.array(direction)
        self.offset: Array = np.array(offset)
        self.scale: Array = np.array(scale)
        ends = self.direction * np.array([JOINT_LOW, JOINT_HIGH]) + self.offset
        # Whole units inside of the joint's range: what the motor's own angle limits are set to.
        self.limits = tuple(
            (xl320.position_to_raw(low), xl320.position_to_raw(high))
            for low, high in zip(ends.min(axis=0), ends.max(axis=0), strict=True)
        )
        self._least = np.array([xl320.raw_to_position(low) for low, _ in self.limits])
        self._most = np.array([xl320.raw_to_position(high) for _, high in self.limits])

    def joints(self, motors: Mapping[int, MotorState]) -> Joints:
        """The joints' state from all six motors'."""
        states = [motors[motor] for motor in MOTORS]
        return Joints(
            self.direction * (np.array([s.position for s in states]) - self.offset),
            self.direction * np.array([s.speed for s in states]),
            self.direction * self.scale * np.array([s.load for s in states]),
        )

    def drive(self, effort: Array, position: Array, speed: float) -> dict[int, MotorCommand]:
        """Motor commands for a signed effort of each joint.

        Args:
            effort: [6] N m.
            position: [6] rad, fresh.
            speed: rad/s, not to be exceeded.
        """
        return self.go(position + np.sign(effort) * GOAL_AHEAD, np.abs(effort), speed)

    def go(self, goal: Array, torque: Array, speed: float) -> dict[int, MotorCommand]:
        """Motor commands for joint positions [6] rad with at most `torque` [6] N m."""
        angles = np.clip(self.direction * goal + self.offset, self._least, self._most)
        torques = np.abs(torque) / self.scale
        return {
            motor: MotorCommand(float(angle), speed, float(most))
            for motor, angle, most in zip(MOTORS, angles, torques, strict=True)
        }


ACTIVE = list(ACTIVE_JOINTS)
HELD = [index for index in range(len(JOINT_NAMES)) if index not in ACTIVE_JOINTS]
