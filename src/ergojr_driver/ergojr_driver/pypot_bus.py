"""The servos' bus over pypot's `Dxl320IO`: the only module that imports pypot.

Three faults of pypot 5.0.2 are mended here. Before each packet it discards what is still queued for
sending, which loses every third of two writes in a row (`flush`). A sync read in which one motor is
missing returns (), without a word of which (`read_state` says who answered). And it shares its port
with whoever opens it (`_open`).
Registers are read and written in contiguous blocks, one packet for all motors.
"""

from __future__ import annotations

import errno
import os
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import serial
from pypot.dynamixel.io import Dxl320IO
from pypot.dynamixel.protocol import v2

from ergojr_description import xl320
from ergojr_description.xl320 import Packet, Parser, Register
from ergojr_driver.bus import (
    BusError,
    FoundMotor,
    MotorCommand,
    MotorHealth,
    MotorRefusedError,
    MotorState,
    PortError,
    Reading,
    Scan,
)
from ergojr_driver.ports import which_ports

_STATUS_BYTES = 11  # of a status packet without data
_TAGS = 6
_WRITE_SECONDS = 0.25
_PING_DATA = 3  # bytes: model and firmware
_SLOT = 0.003  # s by which each id answers later to a ping of all
_SLOTS = 30  # ids that are waited for
_USUAL_IDS = range(1, 7)  # are asked one by one as well
_PATIENCE = 0.025  # s
_NOISE = 2  # bytes that may come when a port's speed changes
_PORT_FAULTS = (OSError, termios.error)  # serial.SerialException is an OSError


@dataclass
class _Answers:
    """What came in reply to a packet.

    Attributes:
        good: status packets with all of the data that was asked for.
        corrupt: answers with a wrong CRC, and those that say that the question had one.
        refused: error byte by motor, of those that sent it instead of what was asked for.
    """

    good: list[Packet] = field(default_factory=list)
    corrupt: int = 0
    refused: dict[int, int] = field(default_factory=dict)


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

    def exchange(self, packet: Any, replies: int, length: int) -> _Answers:
        """Send, and return what came in time."""
        self.flush()
        self.send(packet)
        parser = Parser()
        packets = parser.feed(self._serial.read(replies * (_STATUS_BYTES + length)))
        answers = _Answers()
        for status in packets:
            if status.instruction != xl320.STATUS:
                continue
            error = status.error & ~xl320.ALERT
            if len(status.data) == length and (length or not error):
                answers.good.append(status)
            elif error == xl320.ERROR_CRC:  # or overload and overheating at once, which is rarer
                parser.corrupt += 1
            elif not status.data and error:
                answers.refused[status.id] = status.error
        answers.corrupt = parser.corrupt
        return answers

    def ping(self, motor: int, seconds: float, most: int | None) -> tuple[list[FoundMotor], bool]:
        """Who answers in `seconds`, or until `most` bytes came, and whether it was garbled."""
        self.flush()
        self.send(v2.DxlPingPacket(motor))
        deadline = time.monotonic() + seconds
        heard = b""
        waited = self._serial.timeout
        try:
            while (left := deadline - time.monotonic()) > 0 and (most is None or len(heard) < most):
                self._serial.timeout = left
                heard += self._serial.read(1)
                heard += self._serial.read(self._serial.in_waiting)
        finally:
            self._serial.timeout = waited
        rate = self._serial.baudrate
        packets = [p for p in Parser().feed(heard) if p.instruction == xl320.STATUS]
        known = sum(len(packet.encode()) for packet in packets)
        found = [
            FoundMotor(packet.id, int.from_bytes(packet.data[:2], "little"), rate)
            for packet in packets
            if len(packet.data) == _PING_DATA
        ]
        return found, len(heard) - known > _NOISE


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
        self._baud_rate = baud_rate
        self._on_packet = on_packet
        self._tag = 0
        try:
            self._io = _Io(port, baudrate=baud_rate, timeout=timeout, convert=False)
        except (*_PORT_FAULTS, ValueError) as error:
            if getattr(error, "errno", None) == errno.EWOULDBLOCK:
                sentence = f"port {port} is taken: another driver or calibrate drives this arm"
                raise PortError(sentence) from error
            reason = _reason(error)
            if getattr(error, "errno", None) == errno.ENOENT:
                reason += f" ({which_ports()})"
            raise PortError(f"port {port} cannot be opened: {reason}") from error
        # FTDI adapters keep answers back for 16 ms otherwise; others do not know the call.
        with suppress(ValueError, *_PORT_FAULTS):
            self._io._serial.set_low_latency_mode(True)

    def read_state(self, motors: Sequence[int]) -> Reading:
        # A late answer must not pass for a fresh one, and packets have no numbers: so reads in a
        # row differ in their length, and what answers an older one is dropped by that.
        self._tag = (self._tag + 1) % _TAGS
        length = xl320.STATE.length + self._tag
        packet = v2.DxlSyncReadPacket(list(motors), xl320.STATE.address, length)
        answers = self._exchange(packet, len(motors), length)
        states = {}
        for answer in answers.good:
            if answer.id in motors:
                limit, position, speed, load = struct.unpack_from("<4H", answer.data)
                states[answer.id] = MotorState(
                    xl320.raw_to_position(position),
                    xl320.raw_to_speed(speed),
                    xl320.raw_to_load(load),
                    limit,
                    bool(answer.error),
                )
        return Reading(states, answers.corrupt, answers.refused)

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

        def value(register: Register) -> int:
            return data[register.address - xl320.HEALTH.address]

        return MotorHealth(
            voltage=value(xl320.PRESENT_VOLTAGE) / 10.0,
            temperature=float(value(xl320.PRESENT_TEMPERATURE)),
            hardware_error=value(xl320.HARDWARE_ERROR),
            torque_on=bool(value(xl320.TORQUE_ENABLE)),
            p_gain=value(xl320.P_GAIN),
        )

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        values = [byte for motor in motors for byte in (motor, int(on))]
        self._send(v2.DxlSyncWritePacket(*xl320.TORQUE_ENABLE, values))

    def torque_off(self, motors: Sequence[int]) -> None:
        register = xl320.TORQUE_ENABLE
        self._send(v2.DxlWriteDataPacket(xl320.BROADCAST, register.address, [0]))
        self.set_torque(motors, False)

    def ping(self, motor: int) -> int | None:
        answers = self._exchange(v2.DxlPingPacket(motor), 1, _PING_DATA)
        models = [int.from_bytes(a.data[:2], "little") for a in answers.good if a.id == motor]
        return models[0] if models else None

    def scan(self, patience: float = _PATIENCE, ids: int = _SLOTS) -> Scan:
        """As `Bus.scan`; with all 253 `ids` it takes some seconds more.

        Args:
            patience: s that an answer may take beyond its time on the wire.
            ids: how many are given the time to answer a ping of all.
        """
        found: dict[FoundMotor, None] = {}  # a set in the order of the answers
        garbled: list[tuple[int, int]] = []  # rate, and who was asked
        reply = _STATUS_BYTES + _PING_DATA
        try:
            for rate in reversed(xl320.BAUD_RATES):
                self._io._serial.baudrate = rate
                wire = 10 / rate * reply  # s of one answer
                everybody = patience + _SLOT * ids + wire * (1 + len(_USUAL_IDS))
                for motor in (xl320.BROADCAST, *_USUAL_IDS):
                    if motor == xl320.BROADCAST:
                        here, bad = self._ping_twice(motor, everybody, None)
                    else:
                        here, bad = self._ping_twice(motor, patience + 2 * wire, reply)
                    found |= dict.fromkeys(here)
                    garbled += [(rate, motor)] if bad else []
        except _PORT_FAULTS as error:
            raise PortError(f"port {self._port} is lost: {_reason(error)}") from error
        finally:
            with suppress(*_PORT_FAULTS):  # a port that is lost has no speed any more
                self._io._serial.baudrate = self._baud_rate
        rates = tuple(dict.fromkeys(rate for rate, _ in garbled))
        doubled = tuple(sorted({motor for _, motor in garbled if motor in _USUAL_IDS}))
        return Scan(list(found), rates, doubled)

    def read(self, motor: int, register: Register) -> int:
        return int.from_bytes(self._read(motor, register), "little")

    def write(self, motor: int, register: Register, value: int) -> None:
        data = list(value.to_bytes(register.length, "little"))
        packet = v2.DxlWriteDataPacket(motor, register.address, data)
        answers = self._exchange(packet, 1, 0)
        if motor in answers.refused:
            raise MotorRefusedError(motor, answers.refused[motor], written=True)
        if not any(answer.id == motor for answer in answers.good):
            raise BusError(f"motor {motor} did not confirm a write to register {register.address}")

    def reboot(self, motor: int) -> None:
        self._send(v2.DxlInstructionPacket(motor, xl320.REBOOT, ()))

    def close(self) -> None:
        with suppress(*_PORT_FAULTS):
            self._io.close()

    def _ping_twice(
        self, motor: int, seconds: float, most: int | None
    ) -> tuple[list[FoundMotor], bool]:
        """Once more where the answer is garbled: one that comes late, in two pieces, seems so."""
        found: list[FoundMotor] = []
        for _ in range(2):
            self._on_packet()
            here, garbled = self._io.ping(motor, seconds, most)
            found += here
            if not garbled:
                return found, False
        return found, True

    def _read(self, motor: int, register: Register) -> bytes:
        packet = v2.DxlReadDataPacket(motor, *register)
        answers = self._exchange(packet, 1, register.length)
        for answer in answers.good:
            if answer.id == motor:
                return answer.data
        if motor in answers.refused:
            raise MotorRefusedError(motor, answers.refused[motor])
        raise BusError(f"motor {motor} did not answer a read of register {register.address}")

    def _exchange(self, packet: Any, replies: int, length: int) -> _Answers:
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
    """Without the name of the port, which pyserial says twice."""
    number = getattr(error, "errno", None) or next(iter(error.args), None)
    return os.strerror(number) if isinstance(number, int) else str(error)
