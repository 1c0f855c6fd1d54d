"""What the driver needs of a servo bus, in the motors' own units of SI (rad, rad/s, N m, °C, V).

One implementation is `ergojr_driver.pypot_bus`; the tests have another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ergojr_description.xl320 import Register


class BusError(Exception):
    """A motor did not answer, or not as it should; one sentence."""


class PortError(BusError):
    """The port itself is gone or cannot be opened; one sentence."""


@dataclass(frozen=True)
class MotorState:
    """What a motor says of itself.

    Attributes:
        torque_limit: raw; the firmware sets it to 0 when it shuts the motor down.
        load: N m, inferred by the firmware from its own output, not measured.
        alert: whether the hardware error register is not zero.
    """

    position: float
    speed: float
    load: float
    torque_limit: int
    alert: bool = False


@dataclass(frozen=True)
class MotorHealth:
    """Attributes:
    hardware_error: bits, see `xl320.hardware_error_text`.
    """

    voltage: float
    temperature: float
    hardware_error: int


@dataclass(frozen=True)
class MotorCommand:
    """Go to `position`, not faster than `speed`, with no more than `torque` (N m, not negative)."""

    position: float
    speed: float
    torque: float


@dataclass(frozen=True)
class Reading:
    """The answers to one read of several motors: those that came."""

    motors: Mapping[int, MotorState] = field(default_factory=dict)
    corrupt: int = 0


class Bus(Protocol):
    """All methods raise PortError when the port fails. Not thread-safe."""

    def read_state(self, motors: Sequence[int]) -> Reading:
        """One read of all; who does not answer in time, or not correctly, is left out."""

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        """To all motors at once; nobody answers, so it may be lost."""

    def read_health(self, motor: int) -> MotorHealth:
        """Raises BusError when there is no correct answer."""

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        """To all motors at once; nobody answers, so it may be lost."""

    def torque_off(self, motors: Sequence[int]) -> None:
        """As `set_torque`, and to whoever else is on the bus."""

    def ping(self, motor: int) -> int | None:
        """The motor's model number, or None without an answer."""

    def read(self, motor: int, register: Register) -> int:
        """Raises BusError when there is no correct answer."""

    def write(self, motor: int, register: Register, value: int) -> None:
        """Raises BusError unless the motor confirms it."""

    def reboot(self, motor: int) -> None:
        """Clears a latched hardware error; the motor is deaf for a while. Nobody answers."""

    def close(self) -> None: ...
