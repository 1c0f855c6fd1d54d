"""Diagnostics: changes are told at once, and each level finds its way into the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from planet_node.diagnostics import ERROR, OK, WARN, Diagnostics


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    node = Node("tested", namespace="/ergojr")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_every_change_of_level_is_published_with_its_values(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnostics = Diagnostics(node)
    published: list[DiagnosticArray] = []
    monkeypatch.setattr(diagnostics._publisher, "publish", published.append)
    for level in (OK, WARN, ERROR, OK):
        diagnostics.report("camera_front", level, "seen", age=0.5)
    levels = [message.status[0].level for message in published]
    assert levels == [b"\0", b"\1", b"\2", b"\0"]
    assert published[0].status[0].name == "/ergojr/tested: camera_front"
    assert published[0].status[0].values[0].value == "0.5"


def test_a_state_that_does_not_change_is_not_published_again_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnostics = Diagnostics(node)
    published: list[DiagnosticArray] = []
    monkeypatch.setattr(diagnostics._publisher, "publish", published.append)
    for _ in range(3):
        diagnostics.report("replay", WARN, "does not answer")
    assert len(published) == 1
