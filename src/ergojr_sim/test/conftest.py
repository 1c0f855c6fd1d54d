"""A host on the servos' bus, for tests."""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ergojr_description import xl320
from ergojr_description.xl320 import Packet


class Host:
    """Opens the port as a driver does and speaks protocol 2."""

    def __init__(self, port: Path) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._open = True

    def ask(self, packet: Packet, answers: int = 1, timeout: float = 1.0) -> list[Packet]:
        """Send and return what comes back: as many `answers`, fewer after `timeout` s."""
        return self.send(packet.encode(), answers, timeout)

    def send(self, data: bytes, answers: int, timeout: float = 1.0) -> list[Packet]:
        os.write(self._fd, data)
        parser, packets = xl320.Parser(), list[Packet]()
        deadline = time.monotonic() + timeout
        while len(packets) < answers and (left := deadline - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                packets += parser.feed(os.read(self._fd, 4096))
        return packets

    def set_speed(self, speed: int) -> None:
        attributes = termios.tcgetattr(self._fd)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._fd)


@pytest.fixture
def connect() -> Iterator[Callable[[Path], Host]]:
    """Opens ports, and closes them in the end."""
    hosts: list[Host] = []

    def make(port: Path) -> Host:
        hosts.append(Host(port))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
