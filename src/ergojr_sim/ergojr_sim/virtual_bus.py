"""Virtual servos on a bus with Dynamixel protocol 2, behind a pseudo-terminal.

`VirtualBus` implements the protocol: what the servos answer to a host's bytes, and how long this
takes on the wire. `Line` is the wire: a pseudo-terminal behind a symbolic link, so that its name
stays the same when it is unplugged and plugged in. The baud rate is the one that the host has set
on its end; a servo with another baud rate does not receive anything.

A servo answers an instruction with a wrong CRC by a status error, unless it is for all servos. The
answers to a sync read come in the order of its ids, and a silent servo leaves a gap. Servos with
the same id answer at the same time and garble each other's answers.
"""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress, zip_longest
from pathlib import Path

import numpy as np

from ergojr_description import xl320
from ergojr_description.xl320 import Packet
from ergojr_sim.virtual_servo import ServoError, VirtualServo

BITS = 10  # bits of a byte on the wire: start, 8, stop
RETURN_DELAY_UNIT = 2e-6  # s
POLL = 0.05  # s until an idle line notices that it is to be unplugged or closed

_RATES = {getattr(termios, f"B{rate}"): rate for rate in xl320.BAUD_RATES}
_SPEED = 5  # index of the speed in the attributes of a terminal
_HEARD = {xl320.READ, xl320.WRITE, xl320.PING, xl320.REBOOT, xl320.SYNC_READ, xl320.SYNC_WRITE}


@dataclass(frozen=True)
class BusFault:
    """The faults between host and servos.

    Attributes:
        dropped: share of the packets, in both directions, that lose a byte.
        corrupt: share of the packets, in both directions, whose CRC is wrong.
        noisy: the servos that these two affect; with all of them, the host's packets suffer too.
        silent: servos that receive and obey, but whose answers are lost.
        delay: s by which every answer is late.
    """

    dropped: float = 0.0
    corrupt: float = 0.0
    noisy: frozenset[int] = frozenset()
    silent: frozenset[int] = frozenset()
    delay: float = 0.0


class VirtualBus:
    """Servos on one wire. It is not thread-safe.

    Args:
        servos: the servos on the wire.
        seed: seed of the noise.
    """

    def __init__(self, servos: Sequence[VirtualServo], seed: int = 0) -> None:
        self.connect(servos)
        self._random = np.random.default_rng(seed)
        self._parser = xl320.Parser()
        self._rate = xl320.BAUD_RATE
        self._silence = 0.0  # s, the sum of the answers' return delays
        self.fault = BusFault()

    def connect(self, servos: Sequence[VirtualServo]) -> None:
        """Replace the servos on the wire."""
        self._servos = list(servos)

    def answer(self, data: bytes, rate: int = xl320.BAUD_RATE) -> tuple[bytes, float]:
        """Answer the bytes that a host has sent.

        Args:
            data: the bytes.
            rate: the host's baud rate.

        Returns:
            The servos' answers, and the s for which this exchange occupies the wire.
        """
        if rate != self._rate:
            self._rate = rate
            self._parser.clear()
        if rate not in xl320.BAUD_RATES:
            return b"", 0.0
        corrupt, self._silence = self._parser.corrupt, 0.0
        packets = self._parser.feed(data)
        replies = [reply for packet in packets for reply in self._hear(packet)]
        if self._parser.corrupt > corrupt and len(data) > 4:
            # A host writes a packet in one piece, so the id is at its place.
            replies += self._complain(data[4])
        wire = BITS / rate * (len(data) + sum(map(len, replies))) + self._silence
        return b"".join(replies), wire

    def _hear(self, packet: Packet) -> Iterator[bytes]:
        """Answer one instruction, with the faults of the wire."""
        everybody = len(self.fault.noisy) == len(self._servos)
        concerned = everybody or packet.id in self.fault.noisy
        if concerned and self._happens(self.fault.dropped):
            return
        if concerned and self._happens(self.fault.corrupt):
            yield from self._complain(packet.id)
            return
        yield from self._obey(packet)

    def _complain(self, motor: int) -> Iterator[bytes]:
        yield _together([self._say(servo, xl320.ERROR_CRC) for servo in self._addressed(motor)])

    def _obey(self, packet: Packet) -> Iterator[bytes]:
        if packet.instruction in (xl320.SYNC_READ, xl320.SYNC_WRITE):
            if len(packet.parameters) >= 4:
                yield from self._sync(packet.instruction, packet.parameters)
            return
        everybody = packet.id == xl320.BROADCAST
        level = {xl320.PING: 0, xl320.READ: 1}.get(packet.instruction, 2)
        for motor in sorted({servo.motor for servo in self._servos}) if everybody else [packet.id]:
            servos = self._addressed(motor)
            replies = [self._unicast(servo, packet) for servo in servos]
            spoken = [servo.get(xl320.STATUS_LEVEL) >= level for servo in servos]
            if not (everybody and level):  # of instructions to all, only a ping is answered
                yield _together(compress(replies, spoken))

    def _sync(self, instruction: int, parameters: bytes) -> Iterator[bytes]:
        address, length = _words(parameters[:4])
        if instruction == xl320.SYNC_READ:
            for motor in parameters[4:]:
                yield _together(
                    [
                        self._execute(servo, xl320.READ, address, length, b"")
                        for servo in self._addressed(motor)
                    ]
                )
            return
        for start in range(4, len(parameters) - length, length + 1):
            for servo in self._addressed(parameters[start]):
                with suppress(ServoError):
                    servo.write(address, parameters[start + 1 : start + 1 + length])

    def _unicast(self, servo: VirtualServo, packet: Packet) -> bytes:
        parameters = packet.parameters
        needed = {xl320.READ: 4, xl320.WRITE: 3}.get(packet.instruction, 0)
        if packet.instruction not in _HEARD:
            return self._say(servo, xl320.ERROR_INSTRUCTION)
        if len(parameters) < needed:
            return self._say(servo, xl320.ERROR_LENGTH)
        if packet.instruction == xl320.READ:
            address, length = _words(parameters[:4])
            return self._execute(servo, xl320.READ, address, length, b"")
        if packet.instruction == xl320.WRITE:
            (address,) = _words(parameters[:2])
            return self._execute(servo, xl320.WRITE, address, 0, parameters[2:])
        if packet.instruction == xl320.REBOOT:
            servo.reboot()
            return self._say(servo)
        return self._say(servo, 0, servo.read(0, 3))  # ping: model and firmware

    def _execute(
        self, servo: VirtualServo, instruction: int, address: int, length: int, data: bytes
    ) -> bytes:
        try:
            if instruction == xl320.READ:
                if servo.refusal:
                    return self._say(servo, servo.refusal)
                return self._say(servo, 0, servo.read(address, length))
            servo.write(address, data)
        except ServoError as error:
            return self._say(servo, error.code)
        return self._say(servo)

    def _say(self, servo: VirtualServo, error: int = 0, data: bytes = b"") -> bytes:
        """Return a status packet as it arrives at the host; empty if it is lost."""
        motor, fault = servo.motor, self.fault
        self._silence += RETURN_DELAY_UNIT * servo.get(xl320.RETURN_DELAY)
        if motor in fault.silent:
            return b""
        packet = xl320.status(motor, error | servo.alert, data).encode()
        if motor in fault.noisy and self._happens(fault.corrupt):
            packet = packet[:-1] + bytes([packet[-1] ^ 0x55])
        if motor in fault.noisy and self._happens(fault.dropped):
            lost = int(self._random.integers(len(packet)))
            packet = packet[:lost] + packet[lost + 1 :]
        return packet

    def _addressed(self, motor: int) -> list[VirtualServo]:
        return [s for s in self._servos if s.motor == motor and s.baud_rate == self._rate]

    def _happens(self, share: float) -> bool:
        return share > 0.0 and self._random.random() < share


class Line:
    """The host's end of the bus, a pseudo-terminal while the line is plugged in.

    This process keeps the host's end of the terminal open, too, so that hosts can come and go.

    Args:
        link: path of the symbolic link to the pseudo-terminal.
        answer: receives the host's bytes and its baud rate (0 for one that no servo has), and
            returns as `VirtualBus.answer`.
        delay: tells the s by which answers are late.

    Raises:
        OSError: if the link cannot be made.
    """

    def __init__(
        self,
        link: Path,
        answer: Callable[[bytes, int], tuple[bytes, float]],
        delay: Callable[[], float],
    ) -> None:
        self._link = link
        self._answer = answer
        self._delay = delay
        self._ends: tuple[int, int] | None = None
        self._late: deque[tuple[float, bytes]] = deque()
        self._free = 0.0  # when the wire will be free, s
        self._wanted = True
        self._stopped = threading.Event()
        self._settled = threading.Condition()
        self._plug()

    def run(self, meanwhile: Callable[[], float] = lambda: POLL) -> None:
        """Serve until `close`, in a thread of its own.

        Args:
            meanwhile: called after every packet, and after as many s as it has returned last.
        """
        try:
            while not self._stopped.is_set():
                self._turn(min(meanwhile(), POLL))
        finally:
            self._unplug()

    def want(self, plugged: bool) -> None:
        """Plug the line in, or unplug it, at the next opportunity."""
        self._wanted = plugged

    def settle(self, timeout: float = 2.0) -> bool:
        """Wait until `want` is fulfilled; returns False after `timeout` s."""
        with self._settled:
            return self._settled.wait_for(
                lambda: (self._ends is not None) == self._wanted or self._stopped.is_set(), timeout
            )

    def close(self) -> None:
        """End `run`."""
        self._stopped.set()

    def _turn(self, pause: float) -> None:
        """Wait for a packet, for `pause` s at most, and send the answers that are due by then."""
        if self._wanted != (self._ends is not None):
            with self._settled:
                if self._wanted:
                    self._plug()
                else:
                    self._unplug()
                self._settled.notify_all()
        if self._ends is None:
            self._stopped.wait(pause)
            return
        master = self._ends[0]
        if self._late:
            pause = min(pause, max(0.0, self._late[0][0] - time.monotonic()))
        if select.select([master], [], [], pause)[0]:
            arrived, data = time.monotonic(), os.read(master, 4096)
            # Both ends of a pseudo-terminal have the speed that the host has set.
            reply, wire = self._answer(data, _RATES.get(termios.tcgetattr(master)[_SPEED], 0))
            self._free = max(self._free, arrived) + wire
            if reply:
                self._late.append((self._free + self._delay(), reply))
        while self._late and self._late[0][0] <= time.monotonic():
            # A host that does not read loses what does not fit, as with any UART.
            with suppress(BlockingIOError):
                os.write(master, self._late.popleft()[1])

    def _plug(self) -> None:
        if self._link.exists() and not self._link.is_symlink():
            raise FileExistsError(f"{self._link} is there already and is no link to a port")
        self._link.parent.mkdir(parents=True, exist_ok=True)
        master, slave = os.openpty()
        tty.setraw(slave)
        attributes = termios.tcgetattr(slave)
        attributes[_SPEED] = termios.B1000000  # for hosts that set no speed
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        os.set_blocking(master, False)
        fresh = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self._link)
        self._ends = (master, slave)

    def _unplug(self) -> None:
        if self._ends is None:
            return
        self._link.unlink(missing_ok=True)
        for end in self._ends:
            os.close(end)
        self._ends = None
        self._late.clear()


def _together(replies: Iterable[bytes]) -> bytes:
    """Mix the answers of servos that answer at the same time: zeros win, and all begin late."""
    heard = b""
    for late, reply in enumerate(filter(None, replies)):
        shifted = b"\xff" * late + reply
        heard = bytes(a & b for a, b in zip_longest(heard, shifted, fillvalue=0xFF))
    return heard


def _words(data: Iterable[int]) -> list[int]:
    values = list(data)
    return [low + 256 * high for low, high in zip(values[::2], values[1::2], strict=True)]
