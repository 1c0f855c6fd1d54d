"""The calibration between joints and their XL-320s, and signed efforts for these servos.

The XL-320 has no current mode. In joint mode, its position controller moves towards the goal with
at most `torque limit`. So

    effort u    ->   torque limit |u|,  goal q + sign(u) 30 degrees,  moving speed as a cap

is a signed effort as long as the controller saturates, which it does with a goal that far ahead. If
the computer or the cable fails, the motion ends at the goal.
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
"""The ids of the motors m1 to m6."""


@dataclass(frozen=True)
class Joints:
    """The state of the six joints.

    Attributes:
        position: [6] rad.
        velocity: [6] rad/s.
        load: [6] N m, as the motors report it.
    """

    position: Array
    velocity: Array
    load: Array


class Calibration:
    """The conversion between joints and motors: motor angle = direction · joint angle + offset.

    Args:
        direction: [6] +1 or -1.
        offset: [6] rad, which the motors read at the zero pose.
        scale: [6] the joint's measured torque over the torque in the motor's register.

    Raises:
        ValueError: if a value is out of its range.
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
        # The motors' own angle limits are set to these units of their registers.
        self.limits = tuple(
            (xl320.position_to_raw(low), xl320.position_to_raw(high))
            for low, high in zip(ends.min(axis=0), ends.max(axis=0), strict=True)
        )
        self._least = np.array([xl320.raw_to_position(low) for low, _ in self.limits])
        self._most = np.array([xl320.raw_to_position(high) for _, high in self.limits])

    def joints(self, motors: Mapping[int, MotorState]) -> Joints:
        """Compute the joints' state from that of all six motors."""
        states = [motors[motor] for motor in MOTORS]
        return Joints(
            self.direction * (np.array([s.position for s in states]) - self.offset),
            self.direction * np.array([s.speed for s in states]),
            self.direction * self.scale * np.array([s.load for s in states]),
        )

    def drive(self, effort: Array, position: Array, speed: float) -> dict[int, MotorCommand]:
        """Compute the motor commands for a signed effort of each joint.

        Args:
            effort: [6] N m.
            position: [6] rad, read in this cycle.
            speed: the greatest speed of a joint in rad/s.
        """
        return self.go(position + np.sign(effort) * GOAL_AHEAD, np.abs(effort), speed)

    def go(self, goal: Array, torque: Array, speed: float) -> dict[int, MotorCommand]:
        """Compute the motor commands that move the joints to a goal.

        Args:
            goal: [6] rad.
            torque: [6] N m, the greatest effort.
            speed: the greatest speed of a joint in rad/s.
        """
        angles = np.clip(self.direction * goal + self.offset, self._least, self._most)
        torques = np.abs(torque) / self.scale
        return {
            motor: MotorCommand(float(angle), speed, float(most))
            for motor, angle, most in zip(MOTORS, angles, torques, strict=True)
        }


ACTIVE = list(ACTIVE_JOINTS)
HELD = [index for index in range(len(JOINT_NAMES)) if index not in ACTIVE_JOINTS]
