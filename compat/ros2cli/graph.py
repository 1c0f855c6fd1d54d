"""A node of the command line's own, and what it sees of the others."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException

from .names import absolute

POLL = 0.05  # s between looks at the graph
# s. Fast DDS announces a newcomer before it listens, so about half of the answers are lost; what
# is lost comes again with the next announcement: every second (config/transport.xml), or every
# three of those who run without that file.
REPEATED = 1.1
REPEATED_ELSEWHERE = 3.2
QUIET = 0.25  # s without a change
TIMEOUT = 5.0  # s
_OWN = "_ros2cli_"  # what the names of commands' nodes begin with

T = TypeVar("T")


@contextlib.contextmanager
def graph_node() -> Iterator[Any]:
    """Give a hidden node that hears the others, for the time of a `with` block.

    One that starts at the very same moment as others can take a port for itself that is another's,
    and hears nothing then, however long it listens, or other newcomers alone. So one that hears of
    no node but those of commands makes room for another.

    :raises KeyboardInterrupt: SIGINT or SIGTERM came within the block.
    """
    try:
        node = _join()
        if wait_for(node, lambda: _has_company(node) or None, REPEATED) is None:
            rclpy.shutdown()
            node = _join()
        yield node
    except ExternalShutdownException:
        raise KeyboardInterrupt from None
    finally:
        rclpy.try_shutdown()


def _join() -> Any:
    rclpy.init()
    return rclpy.create_node(f"{_OWN}{os.getpid()}", start_parameter_services=False)


def _has_company(node: Any) -> bool:
    """Return whether it has heard of a node that is no command's."""
    return any(not name.startswith(f"/{_OWN}") for name in node_names(node, hidden=True))


def wait_for(node: Any, look: Callable[[], T | None], timeout: float = TIMEOUT) -> T | None:
    """Return what `look` finds as soon as it finds something, None after `timeout` seconds."""
    end = time.monotonic() + timeout
    while (found := look()) is None and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=POLL)
    return found


@contextlib.contextmanager
def settled_node() -> Iterator[Any]:
    """Give a hidden node that has heard of all that runs."""
    with graph_node() as node:
        _settle(node)
        yield node


def _settle(node: Any) -> None:
    """Wait until all that runs must have been heard of: longer while something is amiss."""
    start = changed = time.monotonic()
    seen: Any = None
    while True:
        now = sorted(node_names(node, hidden=True)), node.get_topic_names_and_types()
        if now != seen:
            seen, changed = now, time.monotonic()
        waited = time.monotonic() - start
        quiet = waited > REPEATED and time.monotonic() > changed + QUIET
        if quiet and (not _has_unnamed(node) or waited > REPEATED_ELSEWHERE):
            return
        rclpy.spin_once(node, timeout_sec=POLL)


def _has_unnamed(node: Any) -> bool:
    """Return whether somebody publishes whose node's name has not arrived yet."""
    return any(
        end.node_name == "_NODE_NAME_UNKNOWN_"
        for topic, _ in node.get_topic_names_and_types()
        for end in node.get_publishers_info_by_topic(topic)
    )


def node_names(node: Any, *, hidden: bool = False) -> list[str]:
    """Return the full names of the nodes."""
    return [
        f"{namespace.rstrip('/')}/{name}"
        for name, namespace in node.get_node_names_and_namespaces()
        if hidden or not name.startswith("_")
    ]


def wait_for_node(node: Any, name: str) -> str:
    """Return the full name of a node.

    :raises RuntimeError: it does not appear.
    """
    full = absolute(name)
    if not wait_for(node, lambda: full in node_names(node, hidden=True) or None):
        raise RuntimeError("Node not found")
    return full


def wait_for_topic(node: Any, topic: str, timeout: float = TIMEOUT) -> list[str] | None:
    """Return the types of a topic, None if nobody publishes or subscribes to it."""
    return wait_for(node, lambda: dict(node.get_topic_names_and_types()).get(topic), timeout)
