"""The operator's terminal: the stop key is read for as long as there is a terminal."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

import pytest

from ergojr_driver.terminal import Terminal


class Desk:
    """A terminal that is read, and the person's end of it."""

    def __init__(self) -> None:
        self.person, self._computer = os.openpty()
        self.lines: queue.Queue[str] = queue.Queue()
        self.gone = threading.Event()
        self.terminal = Terminal(os.ttyname(self._computer), self.lines.put, self.gone.set)

    def type(self, data: bytes) -> None:
        os.write(self.person, data)

    def stops(self) -> bool:
        self.type(b"s\n")
        return self.lines.get(timeout=10.0) == "s"

    def hang_up(self) -> None:
        os.close(self.person)
        self.person = -1

    def close(self) -> None:
        self.terminal.close()
        os.close(self._computer)
        if self.person >= 0:
            self.hang_up()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_ctrl_d_does_not_end_the_reading(desk: Desk) -> None:
    for _ in range(2):
        desk.type(b"\x04")
        assert desk.stops()


def test_a_byte_that_is_no_text_does_not_end_the_reading(desk: Desk) -> None:
    desk.type(b"\xff\n")
    assert desk.lines.get(timeout=10.0) == "\N{REPLACEMENT CHARACTER}"
    assert desk.stops()


def test_a_reader_that_is_killed_is_started_anew(desk: Desk) -> None:
    assert desk.stops()
    desk.terminal._reader.kill()
    desk.terminal._reader.wait()  # it would take along what is typed before
    assert desk.stops()


def test_a_terminal_that_is_gone_is_told(desk: Desk) -> None:
    desk.hang_up()
    assert desk.gone.wait(10.0)


def test_a_terminal_that_is_closed_is_not_gone() -> None:
    desk = Desk()
    desk.close()
    assert not desk.gone.is_set()
