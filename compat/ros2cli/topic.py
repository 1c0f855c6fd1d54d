"""`ros2 topic`: list topics, tell about them, show and publish their messages."""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections import deque
from typing import Any

import yaml

from . import messages
from .names import absolute, add_list


def add_command(commands: Any) -> None:
    """Add `topic` to the commands."""
    parser = commands.add_parser("topic", help="List topics, show and publish their messages")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    add_list(verbs, "topics", lambda node: node.get_topic_names_and_types())

    verb = verbs.add_parser("info", help="Print information about a topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument("-v", "--verbose", action="store_true", help="With nodes and QoS")
    verb.set_defaults(main=info)

    verb = verbs.add_parser("type", help="Print a topic's type")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.set_defaults(main=show_type)

    verb = verbs.add_parser("echo", help="Output messages from a topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument("message_type", nargs="?", help="e.g. 'std_msgs/msg/String'")
    verb.add_argument("--field", default="", help="Only this field; '.' selects within it")
    verb.add_argument("-f", "--full-length", action="store_true", help="Cut nothing")
    verb.add_argument("--no-arr", action="store_true", help="Don't print array fields")
    verb.add_argument("--once", action="store_true", help="Exit after the first message")
    verb.set_defaults(main=echo)

    verb = verbs.add_parser("hz", help="Print the average publishing rate to screen")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    _add_window(verb, 10000)
    verb.set_defaults(main=hz)

    verb = verbs.add_parser("bw", help="Display bandwidth used by topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    _add_window(verb, 100)
    verb.set_defaults(main=bw)

    verb = verbs.add_parser("pub", help="Publish a message to a topic")
    verb.add_argument("topic_name", help="e.g. '/chatter'")
    verb.add_argument("message_type", help="e.g. 'std_msgs/msg/String'")
    verb.add_argument("values", nargs="?", default="{}", help="The message as YAML")
    verb.add_argument("-r", "--rate", type=_positive, default=1.0, metavar="N", help="In Hz")
    times = verb.add_mutually_exclusive_group()
    times.add_argument("-1", "--once", action="store_const", const=1, dest="times")
    times.add_argument("-t", "--times", type=int, default=0, help="Exit after so many (0: never)")
    verb.set_defaults(main=pub)


def _add_window(verb: Any, default: int) -> None:
    verb.add_argument(
        "-w", "--window", type=int, default=default, help=f"Messages to average ({default})"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise ValueError(f"{text} is not positive")
    return value


def info(options: argparse.Namespace) -> str | None:
    """Tell a topic's type, publishers and subscriptions."""
    from . import graph

    name = absolute(options.topic_name)
    end = "\n\n" if options.verbose else "\n"
    with graph.settled_node() as node:
        types = graph.wait_for_topic(node, name)
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


def show_type(options: argparse.Namespace) -> int:
    """Print a topic's type; return 1 where there is no such topic."""
    from . import graph

    with graph.graph_node() as node:
        types = graph.wait_for_topic(node, absolute(options.topic_name))
    for name in types or ():
        print(name)
    return 0 if types else 1


def _fitting_qos(node: Any, topic: str) -> Any:
    """Return the QoS with which all publishers of a topic are heard."""
    from rclpy import qos

    reliable, transient = (
        qos.QoSReliabilityPolicy.RELIABLE,
        qos.QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )
    offered = [end.qos_profile for end in node.get_publishers_info_by_topic(topic)]
    all_reliable = offered and all(offer.reliability == reliable for offer in offered)
    all_transient = offered and all(offer.durability == transient for offer in offered)
    return qos.QoSProfile(
        depth=5,
        reliability=reliable if all_reliable else qos.QoSReliabilityPolicy.BEST_EFFORT,
        durability=transient if all_transient else qos.QoSDurabilityPolicy.VOLATILE,
    )


def echo(options: argparse.Namespace) -> None:
    """Print messages as they come.

    :raises RuntimeError: the topic or its type is not known, or has no such field.
    """
    import rclpy
    from rclpy.task import Future

    from . import graph

    name = absolute(options.topic_name)
    limit = None if options.full_length else messages.TRUNCATE
    with graph.graph_node() as node:
        types = [options.message_type] if options.message_type else graph.wait_for_topic(node, name)
        if types is None:
            raise RuntimeError("Could not determine the type for the passed topic")
        message_type = messages.load_type(types[0], "msg")
        done = Future()

        def receive(message: Any) -> None:
            value = message
            for field in filter(None, options.field.split(".")):
                if not hasattr(value, field):
                    raise RuntimeError(f"Invalid field '{options.field}': {value} has none")
                value = getattr(value, field)
            if messages.is_message(value):
                print(messages.to_yaml(value, limit=limit, arrays=not options.no_arr), end="---\n")
            else:
                print(value, end="\n---\n")
            if options.once:
                done.set_result(None)

        # A topic is seen before its publishers are.
        graph.wait_for(node, lambda: node.count_publishers(name) or None, 1.0)
        node.create_subscription(message_type, name, receive, _fitting_qos(node, name))
        rclpy.spin_until_future_complete(node, done)


def _measure(options: argparse.Namespace, tell: Any) -> None:
    """Call `tell(window)` every second: arrival (s) and size (bytes) of the newest messages."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data

    from . import graph

    name = absolute(options.topic_name)
    window: deque[tuple[float, int]] = deque(maxlen=options.window)

    def receive(data: bytes) -> None:
        window.append((time.monotonic(), len(data)))

    def look() -> None:
        if len(window) > 1:
            tell(window)

    with graph.graph_node() as node:
        types = graph.wait_for_topic(node, name, 0.5)
        if types is None:
            print(f"WARNING: topic [{name}] does not appear to be published yet")
            types = graph.wait_for_topic(node, name, math.inf)
        assert types is not None, "it was waited for"
        message_type = messages.load_type(types[0], "msg")
        node.create_subscription(message_type, name, receive, qos_profile_sensor_data, raw=True)
        node.create_timer(1.0, look)
        rclpy.spin(node)


def hz(options: argparse.Namespace) -> None:
    """Print the rate at which messages arrive."""

    def tell(window: deque[tuple[float, int]]) -> None:
        times = [arrival for arrival, _ in window]
        intervals = [after - before for before, after in itertools.pairwise(times)]
        n = len(intervals)
        mean = sum(intervals) / n
        deviation = math.sqrt(sum((interval - mean) ** 2 for interval in intervals) / n)
        print(
            f"average rate: {1 / mean if mean else 0:.3f}\n"
            f"\tmin: {min(intervals):.3f}s max: {max(intervals):.3f}s "
            f"std dev: {deviation:.5f}s window: {n}"
        )

    _measure(options, tell)


def bw(options: argparse.Namespace) -> None:
    """Print how many bytes a second arrive."""

    def tell(window: deque[tuple[float, int]]) -> None:
        sizes = [size for _, size in window]
        rate = sum(sizes) / (time.monotonic() - window[0][0])
        scale, unit, digits = next(x for x in SCALES if rate < 1000 * x[0])
        shown = [
            f"{size / scale:.{digits}f} {unit}"
            for size in (rate, sum(sizes) / len(sizes), min(sizes), max(sizes))
        ]
        print(
            f"{shown[0]}/s from {len(sizes)} messages\n"
            f"\tMessage size mean: {shown[1]} min: {shown[2]} max: {shown[3]}"
        )

    print(f"Subscribed to [{absolute(options.topic_name)}]")
    _measure(options, tell)


SCALES = ((1.0, "B", 0), (1e3, "KB", 2), (math.inf, "MB", 2))


def pub(options: argparse.Namespace) -> str | None:
    """Publish a message again and again, or as often as was asked for.

    :raises RuntimeError: there is no such type.
    """
    from . import graph

    message = messages.load_type(options.message_type, "msg")()
    try:
        messages.set_fields(message, yaml.safe_load(options.values) or {})
    except (ValueError, yaml.YAMLError) as error:
        return f"Failed to populate field: {error}"
    with graph.graph_node() as node:
        publisher = node.create_publisher(type(message), options.topic_name, 10)
        if options.times:
            print("Waiting for at least 1 matching subscription(s)...")
            graph.wait_for(node, lambda: publisher.get_subscription_count() or None, math.inf)
        print("publisher: beginning loop")
        count = 0

        def publish() -> None:
            nonlocal count
            count += 1
            print(f"publishing #{count}: {message!r}\n")
            publisher.publish(message)

        publish()
        node.create_timer(1.0 / options.rate, publish)
        graph.wait_for(node, lambda: count == options.times or None, math.inf)
        publisher.wait_for_all_acked()
    return None
