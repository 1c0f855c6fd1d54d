"""A node of the command line's own, and what it sees of the others."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException

POLL = 0.05  # s between looks at the graph
# s. Fast DDS repeats what it tells newcomers every 3 s, and they miss about half of it at first.
REPEATED = 3.2
QUIET = 0.5  # s without a change
TIMEOUT = 5.0  # s
_OWN = "_ros2cli_"  # what the names of commands' nodes begin with

T = TypeVar("T")
NamesAndTypes = list[tuple[str, list[str]]]


@contextlib.contextmanager
def graph_node() -> Iterator[Any]:
    """Give a hidden node that hears the others, for the time of a `with` block."""
    node = _newcomer()
    try:
        yield node
    except ExternalShutdownException:
        pass  # SIGINT or SIGTERM: the way in which `echo` and `hz` end
    finally:
        _leave(node)


def _newcomer() -> Any:
    """Return a node that hears of others, if there are any.

    One that starts at the very same moment as others can take a port for itself that is another's,
    and hears nothing then, however long it listens, or other newcomers alone. So one that hears of
    no node but those of commands makes room for another.
    """
    node = _join()
    try:
        found = wait_for(node, lambda: _has_company(node) or None, REPEATED)
    except KeyboardInterrupt:
        _leave(node)
        raise
    if found is None:
        _leave(node)
        node = _join()
    return node


def _join() -> Any:
    rclpy.init()
    return rclpy.create_node(f"{_OWN}{os.getpid()}", start_parameter_services=False)


def _has_company(node: Any) -> bool:
    """Return whether it has heard of a node that is no command's."""
    return any(not name.startswith(f"/{_OWN}") for name in node_names(node, hidden=True))


def _leave(node: Any) -> None:
    node.destroy_node()
    rclpy.try_shutdown()


def spin_for(node: Any, seconds: float) -> None:
    """Serve the node for some time."""
    end = time.monotonic() + seconds
    try:
        while (rest := end - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=rest)
    except ExternalShutdownException:
        raise KeyboardInterrupt from None


def wait_for(node: Any, look: Callable[[], T | None], timeout: float = TIMEOUT) -> T | None:
    """Return what `look` finds as soon as it finds something, None after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        found = look()
        if found is not None or time.monotonic() > end:
            return found
        spin_for(node, POLL)


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
        if quiet and (not has_unnamed(node) or waited > 2 * REPEATED):
            return
        spin_for(node, POLL)


def has_unnamed(node: Any) -> bool:
    """Return whether somebody publishes whose node's name has not arrived yet."""
    return any(
        end.node_name == "_NODE_NAME_UNKNOWN_"
        for topic, _ in node.get_topic_names_and_types()
        for end in node.get_publishers_info_by_topic(topic)
    )


def is_hidden(name: str) -> bool:
    """Return whether a part of a name starts with an underscore."""
    return any(part.startswith("_") for part in name.split("/"))


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
    full = "/" + name.lstrip("/")
    if not wait_for(node, lambda: full in node_names(node, hidden=True) or None):
        raise RuntimeError("Node not found")
    return full


def topic_types(node: Any, topic: str) -> list[str] | None:
    """Return the types of a topic, None if nobody publishes or subscribes it."""
    return dict(node.get_topic_names_and_types()).get(topic)


def topic_name(name: str) -> str:
    """Return the absolute name of a topic or service."""
    return name if name.startswith("/") else f"/{name}"


def print_names(names: NamesAndTypes, *, types: bool) -> None:
    """Print names, with their types if asked for."""
    for name, kinds in names:
        print(f"{name} [{', '.join(kinds)}]" if types else name)
