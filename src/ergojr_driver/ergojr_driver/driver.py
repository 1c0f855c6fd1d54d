"""The driver without ROS (under way)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi
from typing import Any

from ergojr_driver.servo import Calibration


def _value(doc: str, default: Any, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True)
class DriverConfig:
    """One arm: where it is plugged in, how it is built, when its driver lets go.

    Raises:
        ValueError: where a list has not six values, or values that cannot be.
    """

    port: str = _value("Serial port, e.g. /dev/serial/by-id/...", "/dev/ttyACM0")
    baud_rate: int = _value("Of the bus.", 1_000_000, 9600, 1_000_000)
    direction: tuple[float, ...] = _value(
        "Of m1 to m6: 1.0, or -1.0 where a positive joint angle turns the motor back.", (1.0,) * 6
    )
    offset: tuple[float, ...] = _value(
        "What the motors m1 to m6 read at the zero pose, in rad.", (0.0,) * 6
    )
    effort_scale: tuple[float, ...] = _value(
        "Of m1 to m6: measured torque over that which the register promises.", (1.0,) * 6
    )
    rest_pose: tuple[float, ...] = _value(
        "Joint angles that an episode starts from, in rad; m4 and m6 stay there.", (0.0,) * 6
    )
    reset_noise: float = _value(
        "Half the width of the uniform noise on the rest pose of m1 m2 m3 m5, in rad.",
        18.0 * pi / 180.0,
        0.0,
        0.5,
    )
    reset_speed: float = _value("Greatest joint speed of a reset, in rad/s.", 0.8, 0.05, 1.5)
    cameras: tuple[str, ...] = _value(
        "Cameras of this robot, as in robot_spec.", ("camera_front", "camera_side")
    )
    control_period: float = _value("One tick of the control loop, in s.", 0.05, 0.02, 1.0)
    max_steps: int = _value("Length of an episode, in ticks.", 100, 1)
    max_observation_age: float = _value(
        "A command that answers an observation older than this is ignored, in s.", 0.5, 0.05, 5.0
    )
    command_watchdog: float = _value(
        "Control periods without a command during an episode until the torque goes off.",
        2.5,
        1.0,
        10.0,
    )
    bus_rate: float = _value("Bus cycles per second.", 100.0, 50.0, 250.0)
    reply_timeout: float = _value("Time for the motors to answer a read, in s.", 0.012, 0.002, 0.1)
    read_watchdog: float = _value(
        "Time without a reading of all motors until the torque goes off, in s.", 0.1, 0.03, 0.15
    )
    max_error_rate: float = _value(
        "Share of lost or corrupt answers over half a second that makes it let go.", 0.25, 0.05, 0.5
    )
    derate_temperature: float = _value(
        "From here to max_temperature the effort falls to nothing, in °C.", 50.0, 30.0, 60.0
    )
    max_temperature: float = _value("Torque off, in °C.", 60.0, 35.0, 65.0)
    min_voltage: float = _value("No torque below this supply voltage, in V.", 6.0, 5.0, 8.0)

    def __post_init__(self) -> None:
        Calibration(self.direction, self.offset, self.effort_scale)
        if len(self.rest_pose) != len(self.direction):
            raise ValueError(f"rest_pose is {list(self.rest_pose)}, expected six angles in rad")
        if self.derate_temperature >= self.max_temperature:
            raise ValueError("derate_temperature must be below max_temperature")
