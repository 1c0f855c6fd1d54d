"""The servos' bus over pypot's `Dxl320IO`: the only module that imports pypot.

Three faults of pypot 5.0.2 are mended here. Before each packet it discards what is still queued for
sending, which loses every third of two writes in a row (`flush`). A sync read in which one motor is
missing returns (), without a word of which (`read_state` says who answered). And it shares its port
with whoever opens it (`_open`).
Registers are read and written in contiguous blocks, one packet for all motors.
"""

from __future__ import annotations

import errno
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import serial
from ergojr_description.xl320 import Packet, Parser, Register
from pypot.dynamixel.io import Dxl320IO
from pypot.dynamixel.protocol import v2

from ergojr_description import xl320
from ergojr_driver.bus import BusError, MotorCommand, MotorHealth, MotorState, PortError, Reading

_STATUS_BYTES = 11  # of a status packet without data
_TAGS = 6
_WRITE_SECONDS = 0.25
_PORT_FAULTS = (OSError, termios.error)  # serial.SerialException is an OSError


class _Io(Dxl320IO):  # type: ignore[misc]
    """pypot's, with its faults mended, and with exchanges that tell who answered."""

    def _open(self, port: str, baudrate: int, timeout: float) -> None:
        """As pypot's, but for this process alone: another's goals would mix with ours."""
        # pyserial finds a write late even when only this process was: not the port's fault.
        self._serial = serial.Serial(
            port, baudrate, timeout=timeout, write_timeout=_WRITE_SECONDS, exclusive=True
        )

    def flush(self, _force_lock: bool = False) -> None:
        """Discard stale input; never what is still to be sent."""
        self._serial.reset_input_buffer()

    def send(self, packet: Any) -> None:
        """An instruction that nobody answers."""
        data = packet.to_string()
        if self._serial.write(data) != len(data):
            raise serial.SerialException("a packet was not sent as a whole")

    def exchange(self, packet: Any, replies: int, length: int) -> tuple[list[Packet], int]:
        """Send, and return the correct status packets with `length` bytes of data that came in
        time, and the number of corrupt ones."""
        self.flush()
        self.send(packet)
        parser = Parser()
        packets = parser.feed(self._serial.read(replies * (_STATUS_BYTES + length)))
        answers = [
            packet
            for packet in packets
            if packet.instruction == xl320.STATUS
            and len(packet.data) == length
            and not packet.error & ~xl320.ALERT
        ]
        return answers, parser.corrupt


class PypotBus:
    """A `Bus` on a serial port.

    Args:
        timeout: s for all answers to one packet.
        on_packet: is called before each packet that is sent.

    Raises:
        PortError: the port cannot be opened, or another process has it.
    """

    def __init__(
        self,
        port: str,
        baud_rate: int,
        timeout: float,
        on_packet: Callable[[], None] = lambda: None,
    ) -> None:
        self._port = port
        self._on_packet = on_packet
        self._tag = 0
        try:
            self._io = _Io(port, baudrate=baud_rate, timeout=timeout, convert=False)
        except (*_PORT_FAULTS, ValueError) as error:
            if getattr(error, "errno", None) == errno.EWOULDBLOCK:
                sentence = f"port {port} is taken: another driver or calibrate drives this arm"
                raise PortError(sentence) from error
            raise PortError(f"port {port} cannot be opened: {_reason(error)}") from error
        # FTDI adapters keep answers back for 16 ms otherwise; others do not know the call.
        with suppress(ValueError, *_PORT_FAULTS):
            self._io._serial.set_low_latency_mode(True)

    def read_state(self, motors: Sequence[int]) -> Reading:
        # A late answer must not pass for a fresh one, and packets have no numbers: so reads in a
        # row differ in their length, and what answers an older one is dropped by that.
        self._tag = (self._tag + 1) % _TAGS
        length = xl320.STATE.length + self._tag
        packet = v2.DxlSyncReadPacket(list(motors), xl320.STATE.address, length)
        answers, corrupt = self._exchange(packet, len(motors), length)
        states = {}
        for answer in answers:
            if answer.id in motors:
                limit, position, speed, load = struct.unpack_from("<4H", answer.data)
                states[answer.id] = MotorState(
                    xl320.raw_to_position(position),
                    xl320.raw_to_speed(speed),
                    xl320.raw_to_load(load),
                    limit,
                    bool(answer.error & xl320.ALERT),
                )
        return Reading(states, corrupt)

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        # Goal and torque limit are not neighbours: 34 is no register.
        goals: list[int] = []
        limits: list[int] = []
        for motor, command in commands.items():
            position = xl320.position_to_raw(command.position)
            speed = xl320.speed_to_raw(command.speed)
            goals += [motor, *struct.pack("<2H", position, speed)]
            limits += [motor, *struct.pack("<H", xl320.torque_to_raw(command.torque))]
        self._send(v2.DxlSyncWritePacket(*xl320.GOAL, goals))
        self._send(v2.DxlSyncWritePacket(*xl320.TORQUE_LIMIT, limits))

    def read_health(self, motor: int) -> MotorHealth:
        data = self._read(motor, xl320.HEALTH)
        return MotorHealth(data[0] / 10.0, float(data[1]), data[5])

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        values = [byte for motor in motors for byte in (motor, int(on))]
        self._send(v2.DxlSyncWritePacket(*xl320.TORQUE_ENABLE, values))

    def torque_off(self, motors: Sequence[int]) -> None:
        register = xl320.TORQUE_ENABLE
        self._send(v2.DxlWriteDataPacket(xl320.BROADCAST, register.address, [0]))
        self.set_torque(motors, False)

    def ping(self, motor: int) -> int | None:
        answers, _ = self._exchange(v2.DxlPingPacket(motor), 1, 3)
        models = [int.from_bytes(a.data[:2], "little") for a in answers if a.id == motor]
        return models[0] if models else None

    def read(self, motor: int, register: Register) -> int:
        return int.from_bytes(self._read(motor, register), "little")

    def write(self, motor: int, register: Register, value: int) -> None:
        data = list(value.to_bytes(register.length, "little"))
        packet = v2.DxlWriteDataPacket(motor, register.address, data)
        answers, _ = self._exchange(packet, 1, 0)
        if not any(answer.id == motor for answer in answers):
            raise BusError(f"motor {motor} did not confirm a write to register {register.address}")

    def reboot(self, motor: int) -> None:
        self._send(v2.DxlInstructionPacket(motor, xl320.REBOOT, ()))

    def close(self) -> None:
        with suppress(*_PORT_FAULTS):
            self._io.close()

    def _read(self, motor: int, register: Register) -> bytes:
        packet = v2.DxlReadDataPacket(motor, *register)
        answers, _ = self._exchange(packet, 1, register.length)
        for answer in answers:
            if answer.id == motor:
                return answer.data
        raise BusError(f"motor {motor} did not answer a read of register {register.address}")

    def _exchange(self, packet: Any, replies: int, length: int) -> tuple[list[Packet], int]:
        self._on_packet()
        try:
            return self._io.exchange(packet, replies, length)
        except _PORT_FAULTS as error:
            raise PortError(f"port {self._port} is lost: {_reason(error)}") from error

    def _send(self, packet: Any) -> None:
        self._on_packet()
        try:
            self._io.send(packet)
        except _PORT_FAULTS as error:
            raise PortError(f"port {self._port} is lost: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
