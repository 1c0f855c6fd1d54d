"""A virtual XL-320: its control table, its motor, what it refuses and when it shuts down.

Torque against goal error, in joint mode (the servo refuses wheel mode):

    share_P  = (P / 8) (goal - angle) / FULL_ERROR         P: the register's value, 32 as delivered
    share_v  = (cap -+ speed) / GOVERNOR                   the governor of `moving speed`, see below
    share    = share_P, brought within +-min(torque limit, max torque) and by the governor
    torque   = STALL_TORQUE share U / SUPPLY               U: the supply; the world adds the
                                                           gear's friction

The firmware's control law is not published. FULL_ERROR is that of larger Dynamixel servos, which
with the same gain of 32/8 = 4 give full torque 22.5 degrees from the goal. So a goal that is d
degrees ahead gives the torque limit, as signed efforts need it, if the limit's share is below
d / 22.5; for 41 % (0.16 N m), d must be 9.2 degrees. Nearer to the goal, the servo is a spring of
1 N m/rad, which the joint's viscous friction damps. `moving speed` caps the speed. Within GOVERNOR
below the cap, the torque in the direction of motion falls to that which holds the cap against
friction. Above the cap it brakes, so that a load which drags the joint is braked but not stopped. 0
stands for no cap.

The winding heats with the square of the share and cools towards AMBIENT. At the temperature limit,
and after OVERLOAD_TIME at more than OVERLOAD_SHARE of stall, the servo sets a bit in its hardware
error status and the alert bit in each answer. If the register `shutdown` has this bit, too, the
torque limit becomes 0. Writing a torque limit gives the torque back, as with the real servo, so a
driver must latch the fault. The bit stays while the torque is enabled; without torque it shows the
present errors. A supply beyond the voltage limits also sets a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from ergojr_description import xl320
from ergojr_description.xl320 import Register
from ergojr_sim.world import COULOMB_FRICTION, VISCOUS_FRICTION

FULL_ERROR = 1.5708  # rad; divided by the gain (4), the error that gives full torque
GOVERNOR = 1.2  # rad/s between no torque and stall; a smaller value is unstable at 480 Hz

OVERLOAD_SHARE = 0.8
OVERLOAD_TIME = 1.5  # s
AMBIENT = 30.0  # degrees Celsius
HEATING = 400.0  # degrees above ambient in the long run at stall; 16 at 20 % of stall
THERMAL_TIME = 300.0  # s
SUPPLY = 7.4  # V
SAG = 0.8  # V at stall

_RAM = 24  # the first address that is not in the EEPROM
_READ_ONLY = (range(3), range(xl320.PRESENT_POSITION.address, xl320.PUNCH.address))
_DELIVERED = {
    xl320.MODEL_NUMBER: xl320.MODEL,
    xl320.FIRMWARE: 29,
    xl320.BAUD_RATE_CODE: xl320.BAUD_RATE_1M,
    xl320.RETURN_DELAY: 0,  # as poppy-configure leaves it; 250 (0.5 ms) when new
    xl320.ANGLE_HIGH: 1023,
    xl320.CONTROL_MODE: xl320.JOINT_MODE,
    xl320.TEMPERATURE_LIMIT: 65,
    xl320.VOLTAGE_LOW: 60,
    xl320.VOLTAGE_HIGH: 90,
    xl320.MAX_TORQUE: 1023,
    xl320.STATUS_LEVEL: 2,
    xl320.SHUTDOWN: xl320.OVERLOAD | xl320.OVERHEATING,
}
_GREATEST = {
    xl320.ID: 252,
    xl320.BAUD_RATE_CODE: xl320.BAUD_RATE_1M,
    xl320.RETURN_DELAY: 254,
    xl320.ANGLE_LOW: 1023,
    xl320.ANGLE_HIGH: 1023,
    xl320.MAX_TORQUE: 1023,
    xl320.STATUS_LEVEL: 2,
    xl320.TORQUE_ENABLE: 1,
    **dict.fromkeys(xl320.GAINS_DELIVERED, 254),
    xl320.GOAL_POSITION: 1023,
    xl320.MOVING_SPEED: 2047,
    xl320.TORQUE_LIMIT: 1023,
}


@dataclass(frozen=True)
class ServoFault:
    """The faults of one servo.

    Attributes:
        errors: bits of the hardware error.
        temperature: degrees Celsius in place of the winding's temperature; None for no fault.
        supply: V.
        no_speed: whether the register of the present speed is always 0.
    """

    errors: int = 0
    temperature: float | None = None
    supply: float = SUPPLY
    no_speed: bool = False


class ServoError(Exception):
    """The servo refuses an instruction.

    Attributes:
        code: the error number of the status packet.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"status error {code}")
        self.code = code


class VirtualServo:
    """A servo with the id `motor`, at `angle` rad and `speed` rad/s of its own axis."""

    def __init__(self, motor: int) -> None:
        self.angle = 0.0
        self.speed = 0.0
        self.share = 0.0
        self.temperature = AMBIENT
        self.fault = ServoFault()
        self._overload = 0.0  # s
        self._errors = 0
        self.refusal = 0
        """The error byte that answers reads until the servo is restarted; 0 for none."""
        self._table = bytearray(xl320.TABLE_SIZE)
        for register, value in _DELIVERED.items():
            self._set(register, value)
        self._set(xl320.ID, motor)
        self.reboot()

    @property
    def motor(self) -> int:
        """The id on the bus."""
        return self._table[xl320.ID.address]

    @property
    def baud_rate(self) -> int:
        """The baud rate at which the servo receives and answers."""
        return xl320.BAUD_RATES[self._table[xl320.BAUD_RATE_CODE.address]]

    @property
    def alert(self) -> int:
        """The alert bit of a status packet."""
        return xl320.ALERT if self._errors else 0

    def get(self, register: Register) -> int:
        """Return a register's value."""
        return int.from_bytes(self.read(*register), "little")

    def reboot(self) -> None:
        """Reset the RAM as after switching on: no torque, and the goal at the servo's angle."""
        self._table[_RAM:] = bytes(len(self._table) - _RAM)
        for register, value in xl320.GAINS_DELIVERED.items():
            self._set(register, value)
        self._set(xl320.GOAL_POSITION, xl320.position_to_raw(self.angle))
        self._set(xl320.TORQUE_LIMIT, self._get(xl320.MAX_TORQUE))
        self._set(xl320.PUNCH, 32)
        self._errors = 0
        self.refusal = 0
        self._overload = 0.0
        self._adopt()

    def refuse(self, errors: int) -> None:
        """Latch a hardware error that only the error byte tells: no torque and no reads."""
        self.refusal = errors
        self._set(xl320.TORQUE_LIMIT, 0)
        self._adopt()

    def read(self, address: int, length: int) -> bytes:
        """Read a part of the control table.

        Raises:
            ServoError: if the table has no such part.
        """
        if not length or address + length > len(self._table):
            raise ServoError(xl320.ERROR_RANGE)
        if address + length > xl320.PRESENT_POSITION.address:
            self._measure()
        return bytes(self._table[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        """Write a part of the control table, all of it or nothing.

        Raises:
            ServoError: if the part cannot be written (now), or a value is out of its range.
        """
        end = address + len(data)
        if not data or end > len(self._table):
            raise ServoError(xl320.ERROR_RANGE)
        if any(address < part.stop and end > part.start for part in _READ_ONLY):
            raise ServoError(xl320.ERROR_ACCESS)
        if address < _RAM and self._enabled:
            raise ServoError(xl320.ERROR_ACCESS)
        before = bytes(self._table)
        self._table[address:end] = data
        try:
            self._check()
        except ServoError:
            self._table[:] = before
            raise
        self._adopt()

    def step(self, angle: float, speed: float, dt: float) -> float:
        """Advance by `dt` s at `angle` rad and `speed` rad/s, and return the torque in N m."""
        self.angle, self.speed = angle, speed
        self.share = self._drive() if self._enabled else 0.0
        self._warm(dt)
        return xl320.STALL_TORQUE * self.share * self.fault.supply / SUPPLY

    def _drive(self) -> float:
        low, high = -self._limit, self._limit
        if self._cap:
            hold = (COULOMB_FRICTION + VISCOUS_FRICTION * self._cap) / xl320.STALL_TORQUE
            high = max(low, min(high, hold + (self._cap - self.speed) / GOVERNOR))
            low = min(high, max(low, -hold - (self._cap + self.speed) / GOVERNOR))
        return min(max(self._stiffness * (self._goal - self.angle), low), high)

    def _warm(self, dt: float) -> None:
        target = AMBIENT + HEATING * self.share * self.share
        self.temperature += (target - self.temperature) * dt / THERMAL_TIME
        self._overload = self._overload + dt if abs(self.share) >= OVERLOAD_SHARE else 0.0
        errors = self.fault.errors
        if self._degrees() >= self._get(xl320.TEMPERATURE_LIMIT):
            errors |= xl320.OVERHEATING
        if self._overload > OVERLOAD_TIME:
            errors |= xl320.OVERLOAD
        low, high = self._get(xl320.VOLTAGE_LOW), self._get(xl320.VOLTAGE_HIGH)
        if not low <= self._decivolts() <= high:
            errors |= xl320.INPUT_VOLTAGE
        if errors & ~self._errors & self._get(xl320.SHUTDOWN):
            self._set(xl320.TORQUE_LIMIT, 0)
            self._adopt()
        self._errors = errors | (self._errors if self._enabled else 0)

    def _degrees(self) -> float:
        broken = self.fault.temperature
        return self.temperature if broken is None else broken

    def _decivolts(self) -> int:
        return round(10 * (self.fault.supply - SAG * abs(self.share)))

    def _measure(self) -> None:
        """Write the present values into their registers, in the registers' resolution."""
        self._set(xl320.PRESENT_POSITION, xl320.position_to_raw(self.angle))
        speed, unit = 0.0 if self.fault.no_speed else self.speed, xl320.SPEED_UNIT
        self._set(xl320.PRESENT_SPEED, xl320.signed_to_raw(speed, unit))
        torque, unit = self.share * xl320.STALL_TORQUE, xl320.TORQUE_UNIT
        self._set(xl320.PRESENT_LOAD, xl320.signed_to_raw(torque, unit))
        self._set(xl320.PRESENT_VOLTAGE, self._decivolts())
        self._set(xl320.PRESENT_TEMPERATURE, min(max(round(self._degrees()), 0), 255))
        self._set(xl320.MOVING, int(self._enabled and abs(self.speed) > 2 * xl320.SPEED_UNIT))
        self._set(xl320.HARDWARE_ERROR, self._errors)

    def _check(self) -> None:
        for register, greatest in _GREATEST.items():
            if self._get(register) > greatest:
                raise ServoError(xl320.ERROR_RANGE)
        if self._get(xl320.CONTROL_MODE) != xl320.JOINT_MODE:
            raise ServoError(xl320.ERROR_RANGE)
        goal = self._get(xl320.GOAL_POSITION)
        if not self._get(xl320.ANGLE_LOW) <= goal <= self._get(xl320.ANGLE_HIGH):
            raise ServoError(xl320.ERROR_LIMIT)

    def _adopt(self) -> None:
        """Set the motor's controller as the registers say."""
        self._enabled = bool(self._get(xl320.TORQUE_ENABLE))
        self._goal = xl320.raw_to_position(self._get(xl320.GOAL_POSITION))
        self._cap = (self._get(xl320.MOVING_SPEED) & 1023) * xl320.SPEED_UNIT
        self._limit = min(self._get(xl320.TORQUE_LIMIT), self._get(xl320.MAX_TORQUE)) / 1023
        self._stiffness = self._get(xl320.P_GAIN) / 8 / FULL_ERROR

    def _get(self, register: Register) -> int:
        address, length = register
        return int.from_bytes(self._table[address : address + length], "little")

    def _set(self, register: Register, value: int) -> None:
        address, length = register
        self._table[address : address + length] = value.to_bytes(length, "little")
