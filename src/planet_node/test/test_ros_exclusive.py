"""A second publisher or server of what one node alone may publish or serve."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from planet_core.report import Level
from planet_node.exclusive import Exclusive
from planet_node.qos import LATCHED
from planet_node.testing import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    return response


def test_a_second_one_is_an_error_until_it_is_gone(bench: Bench) -> None:
    told: dict[str, tuple[Level, str]] = {}

    def report(name: str, level: Level, message: str, **_: object) -> None:
        told[name] = level, message

    node, other = bench.node, bench.beside("other")
    publisher = node.create_publisher(Empty, "/weights", LATCHED)
    service = node.create_service(Trigger, "/add", answer)
    Exclusive(node, report, publisher, service, patience=0.0)
    second = other.create_publisher(Empty, "/weights", LATCHED)
    rival = other.create_service(Trigger, "/add", answer)
    bench.until(lambda: len(told) == 2, "two errors")
    assert {level for level, _ in told.values()} == {"error"}
    assert told["/weights"][1].startswith("2 nodes publish /weights, but only one may")
    assert told["/add"][1].startswith("2 nodes serve /add, but only one may")
    other.destroy_publisher(second)
    other.destroy_service(rival)
    bench.until(lambda: {level for level, _ in told.values()} == {"ok"}, "the way back")


def test_one_that_died_is_no_second_one_until_it_is_surely_gone(bench: Bench) -> None:
    told: list[str] = []
    topic = bench.node.create_publisher(Empty, "/weights", LATCHED)
    bench.beside("other").create_publisher(Empty, "/weights", LATCHED)
    seen: list[int] = []
    Exclusive(bench.node, lambda name, *_, **__: told.append(name), topic)
    bench.node.create_timer(1.0, lambda: seen.append(bench.node.count_publishers("/weights")))
    bench.until(lambda: seen.count(2) >= 3, "three looks")
    assert told == []
