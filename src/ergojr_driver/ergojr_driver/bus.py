"""The interface of a servo bus, in SI units (rad, rad/s, N m, °C, V) about the motors' own axes.

`ergojr_driver.pypot_bus` implements it for a serial port; the tests have an implementation of
their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ergojr_description import xl320
from ergojr_description.xl320 import Register


class BusError(Exception):
    """A motor did not answer, or its answer is wrong; one sentence."""


class PortError(BusError):
    """The serial port is lost or cannot be opened; one sentence."""


class MotorRefusedError(BusError):
    """A motor answers with an error byte instead of the requested data; one sentence.

    An XL-320 does this while a hardware error is latched. Such a motor can be restarted.

    Attributes:
        motor: the motor's id.
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
    """A motor's state, as it is read in every cycle.

    Attributes:
        position: rad.
        speed: rad/s.
        load: N m, which the firmware infers from its own output and does not measure.
        torque_limit: the raw register; the firmware sets it to 0 when it shuts the motor down.
        alert: whether the error byte says that the hardware error register is not zero.
    """

    position: float
    speed: float
    load: float
    torque_limit: int
    alert: bool = False


@dataclass(frozen=True)
class MotorHealth:
    """A motor's health, which is read less often than its state.

    Attributes:
        voltage: V of the supply.
        temperature: °C.
        hardware_error: the bits that `xl320.hardware_error_text` explains.
        torque_on: whether the motor's torque is enabled.
        p_gain: the P gain of the position controller, see `xl320.GAINS_DELIVERED`.
    """

    voltage: float
    temperature: float
    hardware_error: int
    torque_on: bool = True
    p_gain: int = xl320.GAINS_DELIVERED[xl320.P_GAIN]


@dataclass(frozen=True)
class MotorCommand:
    """Tells a motor to move to `position` with at most `speed` and at most `torque`.

    Attributes:
        position: rad.
        speed: rad/s, positive.
        torque: N m, not negative.
    """

    position: float
    speed: float
    torque: float


@dataclass(frozen=True)
class Reading:
    """The answers that arrived to one read of several motors.

    Attributes:
        motors: the states by motor.
        corrupt: number of answers with a wrong CRC, or that report one in the question.
        refused: error byte by motor that refuses to be read, see `MotorRefusedError`.
    """

    motors: Mapping[int, MotorState] = field(default_factory=dict)
    corrupt: int = 0
    refused: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundMotor:
    """A motor that answers a ping."""

    id: int
    model: int
    baud_rate: int


@dataclass(frozen=True)
class Scan:
    """The motors on the bus at any baud rate.

    Attributes:
        found: the motors that answered.
        garbled: baud rates at which bytes came that are no answer.
        doubled: those of the ids 1 to 6 whose answers are garbled because two motors have them.
    """

    found: list[FoundMotor] = field(default_factory=list)
    garbled: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()


class Bus(Protocol):
    """A bus with servos on it. It is not thread-safe.

    All methods raise PortError when the port fails. `read_health`, `read` and `write` raise
    BusError when no correct answer comes, and its subclass MotorRefusedError when the answer is an
    error byte.
    """

    def read_state(self, motors: Sequence[int]) -> Reading:
        """Read all motors at once.

        Motors that do not answer in time or not correctly are left out of the reading. It names
        the motors that refuse to be read.
        """

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        """Command several motors at once; they do not answer, so that a command may be lost."""

    def read_health(self, motor: int) -> MotorHealth:
        """Read one motor's health."""

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        """Switch the torque of several motors; they do not answer, so that it may be lost."""

    def torque_off(self, motors: Sequence[int]) -> None:
        """Switch off the torque of these motors and of all others on the bus."""

    def ping(self, motor: int) -> int | None:
        """Return the motor's model number, or None without an answer."""

    def scan(self) -> Scan:
        """Find the motors at all baud rates; this takes up to two seconds.

        The motors must not have torque.
        """

    def read(self, motor: int, register: Register) -> int:
        """Read a register's value."""

    def write(self, motor: int, register: Register, value: int) -> None:
        """Write a register's value; the motor confirms it."""

    def reboot(self, motor: int) -> None:
        """Restart a motor, which clears a latched hardware error.

        The motor does not confirm it, and does not answer for a while.
        """

    def close(self) -> None:
        """Close the port."""
