"""The bus process, turn by turn, on virtual servos, with the node's end in the test's hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ergojr_description import xl320
from ergojr_description.config import LimiterConfig
from ergojr_driver.bus import MotorCommand
from ergojr_driver.bus_process import BusProcess, open_port
from ergojr_driver.config import DriverConfig
from ergojr_driver.guarded_bus import GuardedBus, TakenError
from ergojr_driver.link import Link, Words
from ergojr_driver.page import Page

LIMITS = LimiterConfig().__dict__


class Pair:
    """A bus process whose clock stands still unless it is told to go on, and its node."""

    def __init__(self, wire: Any) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.wire = wire
        self.link = Link(here)
        self.page = Page.create()
        self.skipped = 0.0
        self.process = BusProcess(
            Link(there), self.page, open_port, "", steady=lambda: time.monotonic() + self.skipped
        )
        self.status: Words = {}
        self.answers: dict[int, Words] = {}
        self.config = DriverConfig(port=wire.port).to_dict()

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.process.turn()
        for words in self.link.receive():
            if isinstance(words, dict) and words["say"] == "status":
                self.status = words
            elif isinstance(words, dict) and words["say"] == "answer":
                self.answers[words["id"]] = words

    def ask(self, do: str, **words: Any) -> Words:
        number = len(self.answers) + 1
        self.page.node_beat()
        self.link.send({"do": do, "id": number, **words})
        self.turn(2)
        return self.answers[number]

    def hold(self) -> None:
        self.link.send({"do": "setup", "config": self.config, "limits": LIMITS})
        assert self.ask("configure")["ok"]
        assert self.ask("activate")["ok"]
        assert self.status["state"] == "holding"

    def torque(self) -> bool:
        return any(servo.get(xl320.TORQUE_ENABLE) for servo in self.wire.servos)


@pytest.fixture
def pair(wire: Any) -> Pair:
    return Pair(wire)


def test_nothing_is_done_before_there_is_a_configuration(pair: Pair) -> None:
    answer = pair.ask("activate")
    assert not answer["ok"]
    assert "no configuration" in answer["message"]


def test_a_node_that_comes_again_with_the_same_configuration_changes_nothing(pair: Pair) -> None:
    pair.hold()
    pair.link.send({"do": "setup", "config": pair.config, "limits": LIMITS})
    pair.turn()
    assert pair.torque()


def test_another_configuration_lets_go_first(pair: Pair) -> None:
    pair.hold()
    other = {**pair.config, "reset_speed": 0.5}
    pair.link.send({"do": "setup", "config": other, "limits": LIMITS})
    pair.turn(2)
    pair.wire.wait_for_no_torque()
    assert pair.status["state"] == "unconfigured"


def test_it_lets_go_when_the_node_is_silent(pair: Pair) -> None:
    pair.hold()
    pair.turn()
    pair.skipped += 1.1
    pair.turn(2)
    pair.wire.wait_for_no_torque()
    assert pair.status["state"] == "fault"
    assert "nobody would hear an emergency stop" in pair.status["cause"]


def test_a_node_that_asks_for_torque_is_alive_though_its_predecessor_was_silent(pair: Pair) -> None:
    pair.hold()
    pair.skipped += 1.1
    pair.turn(2)
    pair.link.send({"do": "activate"})  # before the new node's first beat
    pair.turn(3)
    assert pair.torque()


def test_the_page_stops_it_without_a_record(pair: Pair) -> None:
    pair.hold()
    pair.page.stop(True)
    pair.turn(2)
    pair.wire.wait_for_no_torque()
    assert pair.status["state"] == "stopped"
    pair.page.stop(False)
    pair.turn(2)
    assert pair.status["state"] == "inactive"
    assert not pair.torque()


def test_after_its_guard_has_let_go_it_moves_nothing_until_somebody_agrees(pair: Pair) -> None:
    pair.hold()
    pair.page.take()
    pair.turn(3)
    pair.wire.wait_for_no_torque()
    assert pair.status["state"] == "fault"
    assert "its guard let the arm go" in pair.status["cause"]
    pair.turn(3)
    assert not pair.torque()
    assert pair.ask("activate")["ok"]
    assert pair.torque()


def test_its_end_lets_go_and_is_told(pair: Pair) -> None:
    pair.hold()
    pair.process.ended = True
    pair.process.run()
    pair.wire.wait_for_no_torque()
    pair.link.receive()
    assert not pair.page.armed


class Motors:
    """A bus that logs what reaches the motors; the guard takes the arm before the n-th packet."""

    def __init__(self, page: Page, before: int) -> None:
        self.log: list[str] = []
        self._page = page
        self._before = before

    def _sent(self, what: str) -> None:
        if len(self.log) == self._before:
            self._page.take()
        self.log.append(what)

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        self._sent("command")

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        self._sent("on" if on else "off")

    def torque_off(self, motors: Sequence[int]) -> None:
        self.log.append("off")


def test_a_packet_that_was_under_way_is_followed_by_torque_off() -> None:
    page = Page.create()
    motors: Any = Motors(page, before=1)
    bus = GuardedBus(motors, page, lambda: "its guard let the arm go")
    bus.write_command({})
    with pytest.raises(TakenError, match="its guard let the arm go"):
        bus.set_torque([3], True)
    assert motors.log == ["command", "on", "off"]
    with pytest.raises(TakenError):
        bus.write_command({})
    assert motors.log[3:] == ["off"]  # and nothing else
    page.accept()
    bus.set_torque([3], True)
    assert motors.log[4:] == ["on"]
