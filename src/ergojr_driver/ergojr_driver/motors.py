"""The six motors: set up, taken hold of, let go of, and who may have torque against all orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import numpy as np

from ergojr_description import xl320
from ergojr_description.kinematics import JOINT_NAMES, Array
from ergojr_driver.bus import (
    Bus,
    BusError,
    MotorCommand,
    MotorHealth,
    MotorRefusedError,
    MotorState,
    PortError,
)
from ergojr_driver.config import DriverConfig
from ergojr_driver.scan import who_answers
from ergojr_driver.servo import MOTORS, Calibration, Joints
from ergojr_driver.speeds import Speeds

ATTEMPTS = 5
"""At an exchange outside of the cycle."""
_OFF_SECONDS = 0.08  # for the motors to confirm that their torque is off
_REBOOT_SECONDS = 0.5
_STOP_SECONDS = 0.02  # that a stop waits for an activation that waits for motors

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


class FaultError(Exception):
    """The torque must go off; one sentence."""


class Motors:
    """The motors behind a bus that may be absent.

    Args:
        max_effort: greatest effort of a joint, N m.
        go_on: raises FaultError where an activation that is under way is not wanted any more.
        doubtful: motors that may have torque already.
    """

    def __init__(
        self,
        config: DriverConfig,
        max_effort: float,
        calibration: Calibration,
        go_on: Callable[[], None],
        doubtful: Sequence[int] = (),
        *,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._max_effort = max_effort
        self._calibration = calibration
        self._go_on = go_on
        self._steady = steady
        self._sleep = sleep
        self._speeds = Speeds()
        self.bus: Bus | None = None
        self.health: dict[int, MotorHealth] = {}
        self.firmware: dict[int, int] = {}
        self.doubtful = list(doubtful)
        """Motors that should have no torque, and have not confirmed it."""
        self.armed = False
        """Whether a motor may have torque: from before the first gets it until all were told."""
        self.found_amiss = ""
        """What the set-up found in the motors and activation will mend; empty for nothing."""

    # With the port

    def open(self, open_bus: Callable[[], Bus]) -> None:
        """Open the port, let the motors go, check them and set them up.

        Raises:
            BusError: the port cannot be opened, or a motor is missing or of another kind.
        """
        self.bus = open_bus()
        self._speeds = Speeds()
        self.bus.torque_off(MOTORS)
        answering = {motor: self._ping(motor) for motor in MOTORS}
        missing = [motor for motor, model in answering.items() if model is None]
        if missing:
            who = who_answers(self.bus.scan(), missing)
            raise BusError(f"{names(missing)} {_verb(missing)} on {self._config.port}: {who}")
        for motor, model in answering.items():
            if model != xl320.MODEL:
                name = f"{names([motor])} (id {motor})"
                raise BusError(f"{name} is of model {model}, expected {xl320.MODEL} (XL-320)")
            try:
                self._set_up(motor)
            except MotorRefusedError:  # an error is latched, and only a restart clears it
                self._restart([motor])
                self._set_up(motor)
        self.off()
        self.found_amiss = self._amiss()

    def close(self) -> None:
        """Close the port; what the motors have not confirmed stays in doubt."""
        if self.bus is not None:
            self.bus.close()
        self.bus = None

    @property
    def doubt(self) -> str:
        """More words for a cause: who may still have torque."""
        if not self.doubtful:
            return ""
        if self.bus is None:
            return f"; {names(self.doubtful)} may still have torque: switch the supply off"
        return f"; {names(self.doubtful)} did not confirm that the torque is off"

    # Torque

    def off(self) -> None:
        """Say torque off several times, then until each motor confirms it.

        Raises:
            PortError: all motors that have not confirmed it are in doubt.
        """
        bus = self.bus
        if bus is None:
            return
        deadline = self._steady() + _OFF_SECONDS
        if self.armed:
            self.doubtful = list(MOTORS)
        left = list(MOTORS)
        for _ in range(2):
            bus.torque_off(MOTORS)
        while left and self._steady() < deadline:
            bus.torque_off(MOTORS)
            for motor in list(left):
                if self._steady() >= deadline:
                    break
                if self._confirms(bus, motor):
                    left.remove(motor)
        bus.torque_off(MOTORS)
        self.doubtful = left
        self.armed = False

    def off_again(self, heard: Mapping[int, MotorState]) -> bool:
        """Torque off for motors in doubt that are heard of now; returns whether a doubt is gone."""
        bus = self.bus
        if bus is None or not self.doubtful:
            return False
        bus.torque_off(MOTORS)
        before = len(self.doubtful)
        self.doubtful = [
            motor for motor in self.doubtful if motor not in heard or not self._confirms(bus, motor)
        ]
        return len(self.doubtful) < before

    def _confirms(self, bus: Bus, motor: int) -> bool:
        """Whether a motor says that it has no torque. Raises PortError."""
        try:
            return not bus.read(motor, xl320.TORQUE_ENABLE)
        except PortError:
            raise
        except BusError:
            return False

    def check(self) -> Joints:
        """Look at all motors, restart those that tripped, write their gains; where the arm is.

        Raises:
            FaultError, BusError: what stands against torque.
        """
        bus = self._there()
        tripped = [motor for motor in MOTORS if not self._healthy(bus, motor)]
        if tripped:  # the operator has agreed to go on; only a reboot clears it
            self._restart(tripped)
            for motor in tripped:
                self.health[motor] = retry(bus.read_health, motor)
        for motor in MOTORS:
            if trouble := self.trouble(motor, self.health[motor]):
                raise FaultError(trouble)
            for register, value in xl320.GAINS_DELIVERED.items():
                retry(bus.write, motor, register, value)
        self.found_amiss = ""
        motors: dict[int, MotorState] = {}
        for _ in range(ATTEMPTS):
            motors.update(bus.read_state(MOTORS).motors)
        if silent := [motor for motor in MOTORS if motor not in motors]:
            raise FaultError(f"{names(silent)} did not answer")
        return self.joints(motors, self._steady())

    def on(self, first: Mapping[int, MotorCommand]) -> None:
        """Write the motors' `first` command, and then give them torque one by one.

        Raises:
            FaultError, BusError: some may have torque then.
        """
        bus = self._there()
        for _ in range(2):
            bus.write_command(first)
        for motor in MOTORS:
            self._go_on()
            self.armed = True
            self._switch_on(bus, motor)
        self.doubtful = []

    def _switch_on(self, bus: Bus, motor: int) -> None:
        for _ in range(ATTEMPTS):
            bus.set_torque([motor], True)
            if retry(bus.read, motor, xl320.TORQUE_ENABLE):
                return
        raise FaultError(f"{names([motor])} does not switch its torque on")

    # State and health

    def joints(self, motors: Mapping[int, MotorState], now: float) -> Joints:
        """All six joints' state at `now` (s), with velocities that can be believed."""
        said = self._calibration.joints(motors)
        velocity = self._speeds.update(said.position, said.velocity, now)
        return Joints(said.position, velocity, said.load)

    @property
    def without_speed(self) -> list[int]:
        """Motors whose speed register is wrong."""
        return [MOTORS[index] for index in self._speeds.distrusted]

    def _healthy(self, bus: Bus, motor: int) -> bool:
        """Read one motor's health; whether it needs no restart."""
        try:
            self.health[motor] = retry(bus.read_health, motor)
        except MotorRefusedError:
            return False
        return not self.health[motor].hardware_error

    def trouble(self, motor: int, health: MotorHealth) -> str:
        """What of a motor's health stands against torque; empty for nothing."""
        name, config = names([motor]), self._config
        if health.temperature >= config.max_temperature:
            return f"{name} is at {health.temperature:.0f} °C, the most is {config.max_temperature}"
        if health.voltage < config.min_voltage:
            return f"{name} has {health.voltage:.1f} V, the least is {config.min_voltage}"
        if health.voltage > config.max_voltage:
            return (
                f"{name} has {health.voltage:.1f} V, the most is {config.max_voltage}: "
                "this supply is not the arm's"
            )
        if health.hardware_error:  # after what it may be about
            return f"{name} reports {xl320.hardware_error_text(health.hardware_error)}"
        return ""

    def derating(self) -> Array:
        """[6] 1 for a cool motor, 0 for one at max_temperature."""
        config = self._config
        heat = np.array([self.health[motor].temperature for motor in MOTORS])
        span = config.max_temperature - config.derate_temperature
        return np.clip((config.max_temperature - heat) / span, 0.0, 1.0)

    def _amiss(self) -> str:
        gain = xl320.GAINS_DELIVERED[xl320.P_GAIN]
        others = {m: h.p_gain for m, h in self.health.items() if h.p_gain != gain}
        said = [f"{names([motor])} has a P gain of {found}" for motor, found in others.items()]
        return f"{', '.join(said)} instead of {gain}: activation writes it" if said else ""

    # Setting up

    def _there(self) -> Bus:
        assert self.bus is not None, "whoever calls this has looked"
        return self.bus

    def _ping(self, motor: int) -> int | None:
        for _ in range(ATTEMPTS):
            if (model := self._there().ping(motor)) is not None:
                return model
        return None

    def _restart(self, motors: Sequence[int]) -> None:
        for motor in motors:
            self._there().reboot(motor)
        awake = self._steady() + _REBOOT_SECONDS
        while self._steady() < awake:
            self._go_on()
            self._sleep(_STOP_SECONDS)

    def _set_up(self, motor: int) -> None:
        bus = self._there()
        self.firmware[motor] = retry(bus.read, motor, xl320.FIRMWARE)
        low, high = self._calibration.limits[motor - 1]
        scale = float(self._calibration.scale[motor - 1])
        wanted = {
            xl320.CONTROL_MODE: xl320.JOINT_MODE,
            xl320.STATUS_LEVEL: 2,
            xl320.RETURN_DELAY: 50,  # 100 us: six answers take 2 ms less than as delivered
            xl320.ANGLE_LOW: low,
            xl320.ANGLE_HIGH: high,
            # Also the torque limit after a power cycle.
            xl320.MAX_TORQUE: xl320.torque_to_raw(self._max_effort / scale),
            xl320.SHUTDOWN: xl320.OVERLOAD | xl320.OVERHEATING,
        }
        for register, value in wanted.items():
            found = retry(bus.read, motor, register)
            if found != value:  # the EEPROM wears out
                retry(bus.write, motor, register, value)
        self.health[motor] = retry(bus.read_health, motor)


def names(motors: Sequence[int]) -> str:
    """'m1', 'm1 and m2', 'm1, m2 and m3'."""
    *others, last = [JOINT_NAMES[motor - 1] for motor in motors]
    return f"{', '.join(others)} and {last}" if others else last


def _verb(motors: Sequence[int]) -> str:
    return "does not answer" if len(motors) == 1 else "do not answer"


def retry(
    exchange: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Answer:
    """Try an exchange again while its answer is lost.

    Raises:
        PortError, MotorRefusedError: at once.
        BusError: the last one.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return exchange(*args, **kwargs)
        except (PortError, MotorRefusedError):
            raise
        except BusError:
            continue
    return exchange(*args, **kwargs)
