"""The Robotis XL-320: its registers and units, and the packets of Dynamixel protocol 2.

The sources are the e-manuals of the XL-320 (control table, units) and of the protocol (CRC-16 with
polynomial 0x8005, byte stuffing). Driver and virtual bus both use this module.

A packet is FF FF FD 00, id, length (2), instruction, parameters and CRC (2), little-endian; the
length counts from the instruction on. A status packet has the instruction 0x55, and its first
parameter is the error byte. After the length, each FF FF FD is followed by a stuffed FD.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import pi
from typing import NamedTuple

MODEL = 350
BAUD_RATE = 1_000_000
BROADCAST = 254
BAUD_RATES = (9600, 57_600, 115_200, 1_000_000)
"""The baud rates by BAUD_RATE_CODE."""


class Register(NamedTuple):
    """A place in the control table: `address`, and `length` in bytes."""

    address: int
    length: int


# The EEPROM can be written only while the torque is off, and wears out.
MODEL_NUMBER = Register(0, 2)
FIRMWARE = Register(2, 1)
ID = Register(3, 1)
BAUD_RATE_CODE = Register(4, 1)  # an index into BAUD_RATES
RETURN_DELAY = Register(5, 1)  # in units of 2 us
ANGLE_LOW = Register(6, 2)
ANGLE_HIGH = Register(8, 2)
CONTROL_MODE = Register(11, 1)
TEMPERATURE_LIMIT = Register(12, 1)
VOLTAGE_LOW = Register(13, 1)
VOLTAGE_HIGH = Register(14, 1)
MAX_TORQUE = Register(15, 2)
STATUS_LEVEL = Register(17, 1)  # 0: ping only, 1: reads, 2: everything is answered
SHUTDOWN = Register(18, 1)
# RAM
TORQUE_ENABLE = Register(24, 1)
LED = Register(25, 1)
D_GAIN = Register(27, 1)
I_GAIN = Register(28, 1)
P_GAIN = Register(29, 1)
GOAL_POSITION = Register(30, 2)
MOVING_SPEED = Register(32, 2)  # in joint mode the greatest speed; 0 stands for no bound
TORQUE_LIMIT = Register(35, 2)  # the firmware sets it to 0 on an overload
PRESENT_POSITION = Register(37, 2)
PRESENT_SPEED = Register(39, 2)
PRESENT_LOAD = Register(41, 2)
PRESENT_VOLTAGE = Register(45, 1)
PRESENT_TEMPERATURE = Register(46, 1)
MOVING = Register(49, 1)
HARDWARE_ERROR = Register(50, 1)
PUNCH = Register(51, 2)
TABLE_SIZE = 53

GOAL = Register(30, 4)  # position and speed; 34 is not a register, so the torque limit goes apart
STATE = Register(35, 8)  # torque limit, position, speed, load
HEALTH = Register(24, 27)  # torque enable, gains, ..., voltage, temperature, ..., hardware error

WHEEL_MODE, JOINT_MODE = 1, 2
BAUD_RATE_1M = 3
GAINS_DELIVERED = {D_GAIN: 0, I_GAIN: 0, P_GAIN: 32}  # in the RAM after switching on
VOLTAGES = (6.0, 8.4)  # V, the least and the greatest supply

OVERLOAD, OVERHEATING, INPUT_VOLTAGE = 1, 2, 4  # bits of HARDWARE_ERROR
_HARDWARE_ERRORS = {OVERLOAD: "overload", OVERHEATING: "overheating", INPUT_VOLTAGE: "voltage"}

# Instructions
PING, READ, WRITE, REBOOT, STATUS = 0x01, 0x02, 0x03, 0x08, 0x55
FACTORY_RESET, SYNC_READ, SYNC_WRITE = 0x06, 0x82, 0x83

# The error byte of a status packet is a number, and the alert bit while HARDWARE_ERROR is not 0.
ERROR_INSTRUCTION, ERROR_CRC, ERROR_RANGE, ERROR_LENGTH = 2, 3, 4, 5
ERROR_LIMIT, ERROR_ACCESS = 6, 7
ALERT = 0x80
_REFUSALS = {
    ERROR_RANGE: "a value out of range",
    ERROR_LENGTH: "a wrong length",
    ERROR_LIMIT: "a value beyond a limit",
    ERROR_ACCESS: "a register that cannot be written now",
}

STALL_TORQUE = 0.39  # N m at 7.4 V
RESOLUTION = 300 * pi / 180 / 1023  # rad per unit; 0 to 1023 over 300 degrees, 0 rad in the middle
SPEED_UNIT = 0.111 * 2 * pi / 60  # rad/s
TORQUE_UNIT = STALL_TORQUE / 1023  # N m per unit of torque limit and of load
MAX_POSITION = 511.5 * RESOLUTION  # rad


# Units are those of the motor's own axis, positive counter-clockwise as seen at the horn.


def position_to_raw(radians: float) -> int:
    """Return the register's value, 0 to 1023, for an angle; the nearest end beyond the range."""
    return min(max(round(radians / RESOLUTION + 511.5), 0), 1023)


def raw_to_position(raw: int) -> float:
    """Return the angle in rad for a register's value."""
    return (raw - 511.5) * RESOLUTION


def speed_to_raw(speed: float) -> int:
    """Return MOVING_SPEED for a bound in rad/s, 1 to 1023 (0 would stand for no bound)."""
    return min(max(round(abs(speed) / SPEED_UNIT), 1), 1023)


def raw_to_speed(raw: int) -> float:
    """Return the speed in rad/s for PRESENT_SPEED, whose bit 10 stands for clockwise."""
    return -(raw - 1024) * SPEED_UNIT if raw & 1024 else raw * SPEED_UNIT


def torque_to_raw(torque: float) -> int:
    """Return TORQUE_LIMIT, 0 to 1023, for the magnitude of a torque in N m."""
    return min(round(abs(torque) / TORQUE_UNIT), 1023)


def raw_to_load(raw: int) -> float:
    """Return the torque in N m for PRESENT_LOAD, which the firmware infers from its output."""
    return -(raw - 1024) * TORQUE_UNIT if raw & 1024 else raw * TORQUE_UNIT


def signed_to_raw(value: float, unit: float) -> int:
    """Invert `raw_to_speed` (with SPEED_UNIT) or `raw_to_load` (with TORQUE_UNIT)."""
    magnitude = min(round(abs(value) / unit), 1023)
    return magnitude + 1024 if value < 0 and magnitude else magnitude


def hardware_error_text(bits: int) -> str:
    """Return what HARDWARE_ERROR says, e.g. 'overload and overheating'; empty for 0."""
    names = [name for bit, name in _HARDWARE_ERRORS.items() if bits & bit]
    unknown = bits & ~sum(_HARDWARE_ERRORS)
    return " and ".join([*names, *([f"unknown (0x{unknown:02x})"] if unknown else [])])


def refusal_text(error: int, written: bool = False) -> str:
    """Return what an error byte says that came in place of an answer, e.g. 'overload'.

    While a hardware error is latched, an XL-320 may put its bits where the protocol has a number.
    A correct read has no other reason to be refused.

    Args:
        error: the error byte.
        written: whether it answers a write, which may be refused for other reasons as well.
    """
    number = error & ~ALERT
    if written and number in _REFUSALS:
        return _REFUSALS[number]
    return hardware_error_text(number) or "a hardware error"


# Packets

_HEADER = b"\xff\xff\xfd\x00"
_STUFFED = b"\xff\xff\xfd\xfd"
_UNSTUFFED = b"\xff\xff\xfd"
_LONGEST = 512  # bytes; a greater length is noise


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (0x8005 if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return table


_CRC = _crc_table()


def crc16(data: bytes | bytearray | memoryview) -> int:
    """Return the protocol's CRC of everything before the CRC."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC[crc >> 8 ^ byte]
    return crc


@dataclass(frozen=True)
class Packet:
    """An instruction or status packet, without stuffing.

    Attributes:
        id: the servo's id, or `BROADCAST`.
        instruction: the instruction; `STATUS` for a status packet.
        parameters: its parameters; in a status packet the error byte, then the data.
    """

    id: int
    instruction: int
    parameters: bytes = b""

    @property
    def error(self) -> int:
        """The error byte of a status packet."""
        return self.parameters[0]

    @property
    def data(self) -> bytes:
        """The data of a status packet."""
        return self.parameters[1:]

    def encode(self) -> bytes:
        """Return the packet's bytes on the wire."""
        body = (bytes([self.instruction]) + self.parameters).replace(_UNSTUFFED, _STUFFED)
        head = _HEADER + bytes([self.id]) + (len(body) + 2).to_bytes(2, "little") + body
        return head + crc16(head).to_bytes(2, "little")


def ping(motor: int) -> Packet:
    """Make the packet that asks a servo for its model and firmware."""
    return Packet(motor, PING)


def read(motor: int, register: Register) -> Packet:
    """Make the packet that reads a register."""
    return Packet(motor, READ, _words(*register))


def write(motor: int, register: Register, value: int) -> Packet:
    """Make the packet that writes a register."""
    data = value.to_bytes(register.length, "little")
    return Packet(motor, WRITE, _words(register.address) + data)


def sync_read(motors: Sequence[int], register: Register) -> Packet:
    """Make the packet that reads a register of several servos."""
    return Packet(BROADCAST, SYNC_READ, _words(*register) + bytes(motors))


def sync_write(register: Register, values: Iterable[tuple[int, bytes]]) -> Packet:
    """Make the packet that writes a register of several servos: (id, `register.length` bytes)."""
    data = b"".join(bytes([motor]) + value for motor, value in values)
    return Packet(BROADCAST, SYNC_WRITE, _words(*register) + data)


def status(motor: int, error: int, data: bytes = b"") -> Packet:
    """Make the packet with which a servo answers."""
    return Packet(motor, STATUS, bytes([error]) + data)


def torque_off(motors: Sequence[int]) -> bytes:
    """Return the bytes that switch the torque off, of all servos and then of each of `motors`."""
    everybody = write(BROADCAST, TORQUE_ENABLE, 0)
    return everybody.encode() + sync_write(TORQUE_ENABLE, [(m, b"\0") for m in motors]).encode()


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


class Parser:
    """Finds packets in a stream of bytes that may be cut, corrupt or noise.

    Attributes:
        corrupt: number of packets with a wrong CRC so far.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.corrupt = 0

    def clear(self) -> None:
        """Forget an unfinished packet."""
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that `data` completes, in their order."""
        buffer = self._buffer
        buffer += data
        packets: list[Packet] = []
        while True:
            start = buffer.find(_HEADER)
            if start < 0:
                del buffer[: max(0, len(buffer) - len(_HEADER) + 1)]  # a header may be cut
                return packets
            del buffer[:start]
            if len(buffer) < 7:
                return packets
            length = int.from_bytes(buffer[5:7], "little")
            if not 3 <= length <= _LONGEST:
                del buffer[:1]
                continue
            end = 7 + length
            if len(buffer) < end:
                # Bytes of this packet are lost if another header follows, for inside of a packet it
                # would be stuffed.
                following = buffer.find(_HEADER, 1)
                if following < 0:
                    return packets
                self.corrupt += 1
                del buffer[:following]
                continue
            if crc16(buffer[: end - 2]) != int.from_bytes(buffer[end - 2 : end], "little"):
                self.corrupt += 1
                del buffer[:1]
                continue
            body = bytes(buffer[7 : end - 2]).replace(_STUFFED, _UNSTUFFED)
            if body[0] != STATUS or len(body) > 1:
                packets.append(Packet(buffer[4], body[0], body[1:]))
            del buffer[:end]
