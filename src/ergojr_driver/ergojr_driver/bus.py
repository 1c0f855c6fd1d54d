"""What the driver needs of a servo bus, in the motors' own units of SI (rad, rad/s, N m, °C, V).

One implementation is `ergojr_driver.pypot_bus`; the tests have another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ergojr_description import xl320
from ergojr_description.xl320 import Register


class BusError(Exception):
    """A motor did not answer, or not as it should; one sentence."""


class PortError(BusError):
    """The port itself is gone or cannot be opened; one sentence."""


class RefusedError(BusError):
    """A motor answers with an error byte and without what was asked for; one sentence.

    It is there, so it can be restarted: XL-320s do this while a hardware error is latched.

    Attributes:
        motor: its id.
        error: the error byte.
    """

    def __init__(self, motor: int, error: int, written: bool = False) -> None:
        says = xl320.refusal_text(error, written)
        done = "written to" if written else "read"
        super().__init__(f"m{motor} refuses to be {done}: its error byte 0x{error:02x} says {says}")
        self.motor = motor
        self.error = error


@dataclass(frozen=True)
class MotorState:
    """What a motor says of itself.

    Attributes:
        torque_limit: raw; the firmware sets it to 0 when it shuts the motor down.
        load: N m, inferred by the firmware from its own output, not measured.
        alert: whether the hardware error register is not zero, as the error byte tells.
    """

    position: float
    speed: float
    load: float
    torque_limit: int
    alert: bool = False


@dataclass(frozen=True)
class MotorHealth:
    """What a motor says of itself more rarely.

    Attributes:
        hardware_error: bits, see `xl320.hardware_error_text`.
        torque_on: whether its torque is enabled.
        p_gain: of its position controller, see `xl320.GAINS_DELIVERED`.
    """

    voltage: float
    temperature: float
    hardware_error: int
    torque_on: bool = True
    p_gain: int = xl320.GAINS_DELIVERED[xl320.P_GAIN]


@dataclass(frozen=True)
class MotorCommand:
    """Go to `position`, not faster than `speed`, with no more than `torque` (N m, not negative)."""

    position: float
    speed: float
    torque: float


@dataclass(frozen=True)
class Reading:
    """The answers to one read of several motors: those that came.

    Attributes:
        corrupt: how many came with a wrong CRC, or say that the question did.
        refused: error byte of each motor that refuses to be read, see `RefusedError`.
    """

    motors: Mapping[int, MotorState] = field(default_factory=dict)
    corrupt: int = 0
    refused: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """A motor that answers a ping."""

    id: int
    model: int
    baud_rate: int


@dataclass(frozen=True)
class Scan:
    """Who is on the bus, whatever the speed.

    Attributes:
        garbled: baud rates at which something came that is no answer.
        doubled: ids (of 1 to 6) whose answer is garbled: two motors have it.
    """

    found: list[Found] = field(default_factory=list)
    garbled: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()


class Bus(Protocol):
    """All methods raise PortError when the port fails. Not thread-safe.

    `read_health`, `read` and `write` raise BusError when no correct answer comes, and its
    RefusedError when the answer is an error byte.
    """

    def read_state(self, motors: Sequence[int]) -> Reading:
        """One read of all; who does not answer in time, or not correctly, is left out, and who
        refuses is named."""

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        """To all motors at once; nobody answers, so it may be lost."""

    def read_health(self, motor: int) -> MotorHealth: ...

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        """To all motors at once; nobody answers, so it may be lost."""

    def torque_off(self, motors: Sequence[int]) -> None:
        """As `set_torque`, and to whoever else is on the bus."""

    def ping(self, motor: int) -> int | None:
        """The motor's model number, or None without an answer."""

    def scan(self) -> Scan:
        """Who answers at any baud rate; takes up to two seconds. Asks for motors without torque."""

    def read(self, motor: int, register: Register) -> int: ...

    def write(self, motor: int, register: Register, value: int) -> None: ...

    def reboot(self, motor: int) -> None:
        """Clears a latched hardware error; the motor is deaf for a while. Nobody answers."""

    def close(self) -> None: ...
