"""A servo bus on which nothing moves an arm that the guard has taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ergojr_description.xl320 import Register
from ergojr_driver.bus import Bus, BusError, MotorCommand, MotorHealth, Reading, Scan
from ergojr_driver.page import Page


class TakenError(BusError):
    """The guard has taken the arm because this process stood still; one sentence."""


class GuardedBus:
    """A `Bus` that looks at the page before and after each packet that could move the arm.

    A packet that was under way when the process froze may reach the motors after the guard's
    torque-off. The look after the packet finds that and sends torque-off again.

    Args:
        bus: the bus that does the work.
        cause: tells why the guard has taken the arm.
    """

    def __init__(self, bus: Bus, page: Page, cause: Callable[[], str]) -> None:
        self._bus = bus
        self._page = page
        self._cause = cause

    # These could move the arm.

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        """See `Bus`; raises TakenError if the guard has taken the arm."""
        self._look()
        self._bus.write_command(commands)
        self._look()

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        """See `Bus`; raises TakenError if the guard has taken the arm."""
        if on:
            self._look()
        self._bus.set_torque(motors, on)
        if on:
            self._look()

    def _look(self) -> None:
        if self._page.taken:
            self._bus.torque_off(range(1, 7))
            raise TakenError(self._cause())

    # These move nothing.

    def read_state(self, motors: Sequence[int]) -> Reading:
        """See `Bus`."""
        return self._bus.read_state(motors)

    def read_health(self, motor: int) -> MotorHealth:
        """See `Bus`."""
        return self._bus.read_health(motor)

    def torque_off(self, motors: Sequence[int]) -> None:
        """See `Bus`."""
        self._bus.torque_off(motors)

    def ping(self, motor: int) -> int | None:
        """See `Bus`."""
        return self._bus.ping(motor)

    def read(self, motor: int, register: Register) -> int:
        """See `Bus`."""
        return self._bus.read(motor, register)

    def write(self, motor: int, register: Register, value: int) -> None:
        """See `Bus`."""
        self._bus.write(motor, register, value)

    def reboot(self, motor: int) -> None:
        """See `Bus`."""
        self._bus.reboot(motor)

    def scan(self) -> Scan:
        """See `Bus`."""
        return self._bus.scan()

    def close(self) -> None:
        """See `Bus`."""
        self._bus.close()
