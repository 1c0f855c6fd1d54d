"""Messages brought together by their stamps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from message_filters import ApproximateTimeSynchronizer, SimpleFilter, TimeSynchronizer


def message(name: str, milliseconds: int) -> Any:
    stamp = SimpleNamespace(sec=milliseconds // 1000, nanosec=milliseconds % 1000 * 10**6)
    return SimpleNamespace(name=name, header=SimpleNamespace(stamp=stamp))


def connect(synchronizer: SimpleFilter) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    synchronizer.registerCallback(lambda *messages: found.append(tuple(m.name for m in messages)))
    return found


def test_equal_stamps_meet_whatever_the_order() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    found = connect(TimeSynchronizer([left, right], 5))
    left.signalMessage(message("l1", 1000))
    right.signalMessage(message("r2", 1050))
    left.signalMessage(message("l2", 1050))
    right.signalMessage(message("r1", 1000))
    assert found == [("l2", "r2"), ("l1", "r1")]


def test_stamps_within_the_slop_meet_the_closest_first_and_once() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    found = connect(ApproximateTimeSynchronizer([left, right], 5, 0.02))
    right.signalMessage(message("far", 985))
    right.signalMessage(message("near", 1005))
    left.signalMessage(message("l", 1000))
    left.signalMessage(message("later", 1030))
    assert found == [("l", "near")]


def test_the_oldest_message_gives_way_when_the_queue_is_full() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    found = connect(TimeSynchronizer([left, right], 1))
    left.signalMessage(message("old", 1000))
    left.signalMessage(message("new", 1050))
    right.signalMessage(message("r", 1000))
    assert found == []


def test_three_inputs_are_within_the_slop_of_each_other() -> None:
    inputs = [SimpleFilter() for _ in range(3)]
    found = connect(ApproximateTimeSynchronizer(inputs, 5, 0.02))
    inputs[0].signalMessage(message("a", 1000))
    inputs[1].signalMessage(message("b", 1030))
    inputs[2].signalMessage(message("c", 1015))  # near to both, which are far from each other
    assert found == []
    inputs[0].signalMessage(message("d", 1020))
    assert found == [("d", "b", "c")]
