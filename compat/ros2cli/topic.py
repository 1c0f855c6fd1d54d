"""`ros2 topic`: list topics, tell about them, show their messages and rates."""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from typing import Any

from .messages import TRUNCATE, load_type, to_yaml

WINDOW = 10000  # messages
POLICIES = ("reliability", "durability", "history")


def add_command(commands: Any) -> None:
    """Add `topic` to the commands."""
    parser = commands.add_parser("topic", help="List topics, show their messages and rates")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    verb = verbs.add_parser("list", help="Output a list of available topics")
    verb.add_argument("-t", "--show-types", action="store_true", help="With their types")
    verb.add_argument("-c", "--count-topics", action="store_true", help="Only their number")
    verb.add_argument("--include-hidden-topics", action="store_true", help="Hidden ones too")
    verb.set_defaults(main=show)

    verb = verbs.add_parser("info", help="Print information about a topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument("-v", "--verbose", action="store_true", help="With nodes and QoS")
    verb.set_defaults(main=info)

    verb = verbs.add_parser("echo", help="Output messages from a topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument("message_type", nargs="?", help="e.g. 'std_msgs/msg/String'")
    verb.add_argument("--qos-depth", type=int, metavar="N", help="Default: 5")
    verb.add_argument("--qos-reliability", help="reliable or best_effort; default: fits publishers")
    verb.add_argument("--qos-durability", help="volatile or transient_local; default: likewise")
    verb.add_argument("--qos-history", help="keep_last or keep_all")
    verb.add_argument("--field", help="Only this field; '.' selects within it")
    verb.add_argument("-f", "--full-length", action="store_true", help="Cut nothing")
    verb.add_argument("-l", "--truncate-length", type=int, default=TRUNCATE, metavar="N")
    verb.add_argument("--no-arr", action="store_true", help="Don't print array fields")
    verb.add_argument("--once", action="store_true", help="Exit after the first message")
    verb.add_argument("--timeout", type=float, metavar="N", help="Exit after N seconds")
    verb.set_defaults(main=echo)

    verb = verbs.add_parser("hz", help="Print the average publishing rate to screen")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument(
        "-w", "--window", type=int, default=WINDOW, help=f"Messages to average (default: {WINDOW})"
    )
    verb.set_defaults(main=hz)


def show(options: argparse.Namespace) -> None:
    """List the topics."""
    from . import graph

    with graph.settled_node() as node:
        names = [
            (name, types)
            for name, types in node.get_topic_names_and_types()
            if options.include_hidden_topics or not graph.is_hidden(name)
        ]
    if options.count_topics:
        print(len(names))
    else:
        graph.print_names(names, types=options.show_types)


def info(options: argparse.Namespace) -> str | None:
    """Tell a topic's type, publishers and subscriptions."""
    from . import graph

    name = graph.topic_name(options.topic_name)
    end = "\n\n" if options.verbose else "\n"
    with graph.settled_node() as node:
        types = graph.wait_for(node, lambda: graph.topic_types(node, name))
        if types is None:
            return f"Unknown topic '{name}'"
        print(f"Type: {types[0] if len(types) == 1 else types}", end=end)
        for kind, endpoints in (
            ("Publisher", node.get_publishers_info_by_topic(name)),
            ("Subscription", node.get_subscriptions_info_by_topic(name)),
        ):
            print(f"{kind} count: {len(endpoints)}", end=end)
            for endpoint in endpoints if options.verbose else ():
                print(endpoint, end=end)
    return None


def _type_of(node: Any, name: str, timeout: float) -> Any:
    from . import graph

    types = graph.wait_for(node, lambda: graph.topic_types(node, name), timeout)
    return None if types is None else load_type(types[0], "msg")


def fitting_qos(node: Any, topic: str, options: argparse.Namespace) -> Any:
    """Return the QoS with which all publishers are heard, or the one that the options ask for.

    :raises RuntimeError: an option names no such policy.
    """
    from rclpy import qos

    profile = qos.QoSProfile(
        depth=options.qos_depth or 5, reliability=qos.QoSReliabilityPolicy.BEST_EFFORT
    )
    chosen = {policy: getattr(options, f"qos_{policy}") for policy in POLICIES}
    if any(chosen.values()) or options.qos_depth:
        for policy, word in chosen.items():
            kind = getattr(qos, f"QoS{policy.capitalize()}Policy")
            if word and word not in kind.short_keys():
                raise RuntimeError(f"--qos-{policy} {word}: choose from {kind.short_keys()}")
            if word:
                setattr(profile, policy, kind.get_from_short_key(word))
        return profile
    offered = [end.qos_profile for end in node.get_publishers_info_by_topic(topic)]
    for policy, strict, lenient in (
        ("reliability", qos.QoSReliabilityPolicy.RELIABLE, qos.QoSReliabilityPolicy.BEST_EFFORT),
        ("durability", qos.QoSDurabilityPolicy.TRANSIENT_LOCAL, qos.QoSDurabilityPolicy.VOLATILE),
    ):
        strictly = [getattr(offer, policy) == strict for offer in offered]
        setattr(profile, policy, strict if strictly and all(strictly) else lenient)
        if any(strictly) and not all(strictly):
            print(
                f"Some, but not all, publishers are offering {strict}. Falling back to {lenient} "
                "as it will connect to all publishers"
            )
    return profile


def echo(options: argparse.Namespace) -> None:
    """Print messages as they come.

    :raises RuntimeError: the topic or its type is not known, or has no such field.
    """
    import rclpy
    from rclpy.task import Future

    from . import graph

    name = graph.topic_name(options.topic_name)
    limit = None if options.full_length else options.truncate_length
    fields = [part for part in (options.field or "").split(".") if part]
    with graph.graph_node() as node:
        if options.message_type is None:
            message_type = _type_of(node, name, graph.TIMEOUT)
        else:
            message_type = load_type(options.message_type, "msg")
        if message_type is None:
            raise RuntimeError("Could not determine the type for the passed topic")
        done = Future()

        def receive(message: Any) -> None:
            value = message
            for field in fields:
                if not hasattr(value, field):
                    raise RuntimeError(f"Invalid field '{options.field}': {value} has none")
                value = getattr(value, field)
            if value is message or hasattr(value, "get_fields_and_field_types"):
                print(to_yaml(value, limit=limit, arrays=not options.no_arr), end="---\n")
            else:
                print(value, end="\n---\n")
            if options.once:
                done.set_result(None)

        # A topic is seen before its publishers are.
        graph.wait_for(node, lambda: node.count_publishers(name) or None, 1.0)
        node.create_subscription(message_type, name, receive, fitting_qos(node, name, options))
        rclpy.spin_until_future_complete(node, done, timeout_sec=options.timeout)


def hz(options: argparse.Namespace) -> None:
    """Print the rate at which messages arrive, at most once a second."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data

    from . import graph

    name = graph.topic_name(options.topic_name)
    intervals: deque[float] = deque(maxlen=options.window)
    last: float | None = None
    printed: float | None = None

    def receive(_: bytes) -> None:
        nonlocal last, printed
        now = time.monotonic()
        if last is not None:
            intervals.append(now - last)
            printed = printed or now
        last = now
        if printed is not None and now > printed + 1.0:
            printed = now
            print_rate(intervals)

    with graph.graph_node() as node:
        message_type = _type_of(node, name, 0.5)
        if message_type is None:
            print(f"WARNING: topic [{name}] does not appear to be published yet")
            message_type = _type_of(node, name, math.inf)
        node.create_subscription(message_type, name, receive, qos_profile_sensor_data, raw=True)
        rclpy.spin(node)


def print_rate(intervals: deque[float]) -> None:
    """Print the rate (Hz) of messages that came `intervals` (s) after one another."""
    n = len(intervals)
    mean = sum(intervals) / n
    deviation = math.sqrt(sum((interval - mean) ** 2 for interval in intervals) / n)
    print(
        f"average rate: {1 / mean if mean else 0:.3f}\n"
        f"\tmin: {min(intervals):.3f}s max: {max(intervals):.3f}s "
        f"std dev: {deviation:.5f}s window: {n}"
    )
