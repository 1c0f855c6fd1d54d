"""The driver's configuration: one arm, and when its driver lets go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import pi
from typing import Any

from ergojr_driver.servo import Calibration
from planet_core.run_id import run_id_setting


def _value(doc: str, default: Any, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True)
class DriverConfig:
    """One arm: where it is plugged in, how it is built, when its driver lets go.

    Raises:
        ValueError: where a list has not six values, or values that cannot be.
    """

    run_id: str = run_id_setting()
    port: str = _value("Serial port of the servo bus, e.g. /dev/serial/by-id/...", "/dev/ttyACM0")
    baud_rate: int = _value("Baud rate of the servo bus.", 1_000_000, 9600, 1_000_000)
    direction: tuple[float, ...] = _value(
        "Direction of the motors m1 to m6: 1.0, or -1.0 where a positive joint angle turns the "
        "motor back.",
        (1.0,) * 6,
    )
    offset: tuple[float, ...] = _value(
        "Angles in rad that the motors m1 to m6 read when the arm is in its zero pose.", (0.0,) * 6
    )
    effort_scale: tuple[float, ...] = _value(
        "Measured torque of the joints m1 to m6 over the torque that the register promises.",
        (1.0,) * 6,
    )
    rest_pose: tuple[float, ...] = _value(
        "Joint angles in rad that an episode starts from; m4 and m6 stay there.", (0.0,) * 6
    )
    reset_noise: float = _value(
        "Half the width in rad of the uniform noise on the rest pose of m1 m2 m3 m5.",
        18.0 * pi / 180.0,
        0.0,
        0.5,
    )
    reset_speed: float = _value("Greatest joint speed of a reset in rad/s.", 0.8, 0.05, 1.5)
    cameras: tuple[str, ...] = _value(
        "Names of this robot's cameras, as robot_spec announces them.",
        ("camera_front", "camera_side"),
    )
    control_period: float = _value("Length of one control tick in s.", 0.05, 0.02, 1.0)
    max_steps: int = _value("Length of an episode in ticks.", 100, 1)
    max_observation_age: float = _value(
        "The torque goes off when the oldest image that the newest command answers is older than "
        "this during an episode, in s.",
        0.14,
        0.05,
        5.0,
    )
    command_watchdog: float = _value(
        "The torque goes off after so many control periods without a command during an episode.",
        2.5,
        1.0,
        10.0,
    )
    node_watchdog: float = _value(
        "The torque goes off when the driver node, which hears the emergency stop, has been silent "
        "for so long, in s.",
        1.0,
        0.3,
        5.0,
    )
    pace_seconds: float = _value(
        "After it has found the motors, the driver measures for so long whether this computer "
        "keeps the pace, in s; 0 measures nothing.",
        3.0,
        0.0,
        60.0,
    )
    bus_rate: float = _value("Bus cycles per second.", 100.0, 50.0, 250.0)
    reply_timeout: float = _value(
        "Time that the motors have to answer one read, in s.", 0.012, 0.002, 0.1
    )
    read_watchdog: float = _value(
        "The torque goes off after so long without a reading of all motors, in s.",
        0.1,
        0.03,
        0.15,
    )
    max_error_rate: float = _value(
        "The torque goes off when this share of the answers in half a second is lost or corrupt.",
        0.25,
        0.05,
        0.5,
    )
    derate_temperature: float = _value(
        "From this temperature to max_temperature the effort falls to nothing, in °C.",
        50.0,
        30.0,
        60.0,
    )
    max_temperature: float = _value(
        "The torque goes off when a motor is this hot, in °C.", 60.0, 35.0, 65.0
    )
    min_voltage: float = _value(
        "The torque goes off below this supply voltage, in V.", 6.0, 5.0, 8.0
    )
    max_voltage: float = _value(
        "The torque goes off above this supply voltage, in V.", 9.0, 7.0, 9.0
    )

    def __post_init__(self) -> None:
        Calibration(self.direction, self.offset, self.effort_scale)
        if len(self.rest_pose) != len(self.direction):
            raise ValueError(f"rest_pose is {list(self.rest_pose)}, expected six angles in rad")
        if self.derate_temperature >= self.max_temperature:
            raise ValueError("derate_temperature must be below max_temperature")

    def to_json(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DriverConfig:
        """The inverse of `to_json`, after a way through JSON, which knows no tuples."""
        tuples: dict[str, Any] = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **tuples})
