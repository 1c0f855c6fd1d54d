"""A bus on which nothing moves the arm that the guard has let go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ergojr_description.xl320 import Register
from ergojr_driver.bus import Bus, BusError, MotorCommand, MotorHealth, Reading, Scan
from ergojr_driver.page import Page


class TakenError(BusError):
    """The guard has let the arm go, because this process stood still; one sentence."""


class GuardedBus:
    """Wraps `bus`: before and after each packet that could move the arm it looks at the page.

    A packet that was under way when the process froze may reach the motors after the guard's
    torque-off. The look after it finds that, and says torque-off again.

    Args:
        cause: why the guard has let go, once it has.
    """

    def __init__(self, bus: Bus, page: Page, cause: Callable[[], str]) -> None:
        self._bus = bus
        self._page = page
        self._cause = cause

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        self._look()
        self._bus.write_command(commands)
        self._look()

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        if on:
            self._look()
        self._bus.set_torque(motors, on)
        if on:
            self._look()

    def _look(self) -> None:
        if self._page.taken:
            self._bus.torque_off(range(1, 7))
            raise TakenError(self._cause())

    # What moves nothing

    def read_state(self, motors: Sequence[int]) -> Reading:
        return self._bus.read_state(motors)

    def read_health(self, motor: int) -> MotorHealth:
        return self._bus.read_health(motor)

    def torque_off(self, motors: Sequence[int]) -> None:
        self._bus.torque_off(motors)

    def ping(self, motor: int) -> int | None:
        return self._bus.ping(motor)

    def read(self, motor: int, register: Register) -> int:
        return self._bus.read(motor, register)

    def write(self, motor: int, register: Register, value: int) -> None:
        self._bus.write(motor, register, value)

    def reboot(self, motor: int) -> None:
        self._bus.reboot(motor)

    def scan(self) -> Scan:
        return self._bus.scan()

    def close(self) -> None:
        self._bus.close()
