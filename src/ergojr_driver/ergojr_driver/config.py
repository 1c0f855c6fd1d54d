"""The configuration of the driver."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from ergojr_description import CONTROL_PERIOD
from ergojr_driver.servo import Calibration
from planet_core.config import Config, setting
from planet_core.run_id import run_id_setting


@dataclass(frozen=True)
class DriverConfig(Config):
    """How one arm is connected, built and reset, and when its driver switches the torque off.

    Raises:
        ValueError: if a value is out of its range, or a list does not have six values.
    """

    run_id: str = run_id_setting()
    port: str = setting(
        "/dev/ttyACM0", "Path of the servo bus's serial port, such as /dev/serial/by-id/..."
    )
    baud_rate: int = setting(1_000_000, "Baud rate of the servo bus.", low=9600, high=1_000_000)
    direction: tuple[float, ...] = setting(
        (1.0,) * 6,
        "Direction of each motor, m1 to m6: 1.0 if the motor's angle grows with the joint's angle, "
        "-1.0 if it falls.",
    )
    offset: tuple[float, ...] = setting(
        (0.0,) * 6,
        "Angle in rad that each motor, m1 to m6, reads while the arm is in its zero pose.",
    )
    effort_scale: tuple[float, ...] = setting(
        (1.0,) * 6,
        "Ratio of measured torque to the torque that the motor's register states, for m1 to m6.",
    )
    rest_pose: tuple[float, ...] = setting(
        (0.0,) * 6,
        "Joint angles in rad, m1 to m6, at the start of an episode; m4 and m6 stay there.",
    )
    reset_noise: float = setting(
        18.0 * pi / 180.0,
        "Greatest random deviation in rad of m1, m2, m3 and m5 from the rest pose at a reset.",
        low=0.0,
        high=0.5,
    )
    reset_speed: float = setting(
        0.8, "Greatest joint speed in rad/s during a reset.", low=0.05, high=1.5
    )
    cameras: tuple[str, ...] = setting(
        ("camera_front", "camera_side"),
        "Names of the robot's cameras, which the driver announces in robot_spec.",
    )
    control_period: float = setting(
        CONTROL_PERIOD, "Length of one control tick in seconds.", low=0.02, high=1.0
    )
    max_steps: int = setting(100, "Length of an episode in ticks.", low=1)
    max_observation_age: float = setting(
        0.14,
        "Greatest age in seconds of the image that the newest command answers; during an episode "
        "the driver switches the torque off beyond it.",
        low=0.05,
        high=5.0,
    )
    command_watchdog: float = setting(
        2.5,
        "Number of control periods without a command after which the driver switches the torque "
        "off during an episode.",
        low=1.0,
        high=10.0,
    )
    node_watchdog: float = setting(
        1.0,
        "Time in seconds without a sign of life from the driver node, which receives the emergency "
        "stop, after which the bus process switches the torque off.",
        low=0.3,
        high=5.0,
    )
    pace_seconds: float = setting(
        3.0,
        "Time in seconds for which the driver measures, once it has found the motors, whether this "
        "computer is fast enough; 0 skips the measurement.",
        low=0.0,
        high=60.0,
    )
    bus_rate: float = setting(100.0, "Cycles of the servo bus per second.", low=50.0, high=250.0)
    reply_timeout: float = setting(
        0.012, "Time in seconds that the motors have to answer one read.", low=0.002, high=0.1
    )
    read_watchdog: float = setting(
        0.1,
        "Time in seconds without a reading of all motors after which the torque goes off.",
        low=0.03,
        high=0.15,
    )
    max_error_rate: float = setting(
        0.25,
        "Greatest share of the motors' answers in half a second that may be lost or corrupt; "
        "beyond it the torque goes off.",
        low=0.05,
        high=0.5,
    )
    derate_temperature: float = setting(
        50.0,
        "Temperature of a motor in °C above which its effort is reduced; it reaches zero at "
        "max_temperature.",
        low=30.0,
        high=60.0,
    )
    max_temperature: float = setting(
        60.0, "Temperature of a motor in °C at which the torque goes off.", low=35.0, high=65.0
    )
    min_voltage: float = setting(
        6.0, "Supply voltage in V below which the torque goes off.", low=5.0, high=8.0
    )
    max_voltage: float = setting(
        9.0, "Supply voltage in V above which the torque goes off.", low=7.0, high=9.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        Calibration(self.direction, self.offset, self.effort_scale)
        if len(self.rest_pose) != len(self.direction):
            raise ValueError(f"rest_pose is {list(self.rest_pose)}, expected six angles in rad")
        if self.derate_temperature >= self.max_temperature:
            raise ValueError("derate_temperature must be below max_temperature")
