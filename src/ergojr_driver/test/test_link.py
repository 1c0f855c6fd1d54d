"""Records between bus process and node, and the page that they share with the guard."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from ergojr_driver.link import CommandRecord, JointsRecord, Link
from ergojr_driver.page import Page
from ergojr_driver.servo import Joints

FULL = 100_000  # records; more than any socket holds


@pytest.fixture
def ends() -> tuple[Link, Link]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Link(here), Link(there)


def test_records_arrive_as_they_were_sent(ends: tuple[Link, Link]) -> None:
    here, there = ends
    joints = Joints(np.arange(6.0), -np.arange(6.0), np.full(6, 0.1))
    here.send_joints(joints, 123)
    here.send_command(np.array([0.1, -0.1, 0.0, 0.16]), 456, 7.5)
    here.send({"do": "reset", "id": 3, "seed": -1})
    reading, command, words = there.receive()
    assert isinstance(reading, JointsRecord)
    assert reading.stamp == 123
    assert (reading.joints.position == joints.position).all()
    assert (reading.joints.velocity == joints.velocity).all()
    assert (reading.joints.load == joints.load).all()
    assert isinstance(command, CommandRecord)
    assert (command.stamp, command.arrival) == (456, 7.5)
    assert command.efforts.tolist() == [0.1, -0.1, 0.0, 0.16]
    assert words == {"do": "reset", "id": 3, "seed": -1}
    assert there.receive() == []


def test_a_reader_that_hangs_stops_nobody_and_words_are_kept_for_it(
    ends: tuple[Link, Link],
) -> None:
    here, there = ends
    joints = Joints(np.zeros(6), np.zeros(6), np.zeros(6))
    for stamp in range(FULL):
        here.send_joints(joints, stamp)
    here.send({"say": "status", "state": "fault"})
    heard = there.receive()
    assert 0 < len(heard) < FULL
    here.flush()
    assert there.receive() == [{"say": "status", "state": "fault"}]


def test_what_a_dead_end_has_left_unread_does_not_hide_what_it_said(
    ends: tuple[Link, Link],
) -> None:
    here, there = ends
    there.send({"do": "never read"})
    here.send({"say": "last word"})
    here._end.close()
    assert there.receive() == [{"say": "last word"}]
    assert not there.wait(0.0)  # and it is not waited for any more
    there.send({"do": "nothing"})


def test_the_page_is_one_for_all_who_have_it() -> None:
    guard = Page.create()
    bus = Page(guard.handle)
    bus.name_port("/dev/ergojr", 1_000_000)
    bus.beat(True)
    assert (guard.port, guard.beats, guard.armed) == (("/dev/ergojr", 1_000_000), 1, True)
    guard.take()
    assert bus.taken
    bus.accept()
    assert not guard.taken
    bus.stop(True)
    assert guard.stopped
