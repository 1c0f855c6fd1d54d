"""`ros2 node`: the nodes."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

from .names import is_hidden


def add_command(commands: Any) -> None:
    """Add `node` to the commands."""
    parser = commands.add_parser("node", help="List nodes, tell about them")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    verb = verbs.add_parser("list", help="Output a list of available nodes")
    verb.add_argument("-a", "--all", action="store_true", help="Hidden ones too")
    verb.add_argument("-c", "--count-nodes", action="store_true", help="Only their number")
    verb.set_defaults(main=show)

    verb = verbs.add_parser("info", help="Output information about a node")
    verb.add_argument("node_name", help="Fully qualified node name to request information")
    verb.add_argument(
        "--include-hidden", action="store_true", help="Hidden topics and services too"
    )
    verb.set_defaults(main=info)


def show(options: argparse.Namespace) -> None:
    """List the nodes."""
    from . import graph

    with graph.settled_node() as node:
        names = sorted(graph.node_names(node, hidden=options.all))
    if options.count_nodes:
        print(len(names))
        return
    if len(set(names)) < len(names):
        print(
            "WARNING: Be aware that there are nodes in the graph that share an exact name, "
            "which can have unintended side effects.",
            file=sys.stderr,
        )
    for name in names:
        print(name)


def info(options: argparse.Namespace) -> str | None:
    """Tell a node's topics, services and actions."""
    from rclpy.action import (
        get_action_client_names_and_types_by_node,
        get_action_server_names_and_types_by_node,
    )

    from . import graph

    full = options.node_name
    with graph.settled_node() as node:
        count = Counter(graph.node_names(node, hidden=True))[full]
        if count == 0:
            return f"Unable to find node '{full}'"
        if count > 1:
            print(
                f'There are {count} nodes in the graph with the exact name "{full}". You are '
                "seeing information about only one of them.",
                file=sys.stderr,
            )
        namespace, _, name = full.rpartition("/")
        print(full)
        for title, ask, *before in (
            ("Subscribers", node.get_subscriber_names_and_types_by_node),
            ("Publishers", node.get_publisher_names_and_types_by_node),
            ("Service Servers", node.get_service_names_and_types_by_node),
            ("Service Clients", node.get_client_names_and_types_by_node),
            ("Action Servers", get_action_server_names_and_types_by_node, node),
            ("Action Clients", get_action_client_names_and_types_by_node, node),
        ):
            print(f"  {title}:")
            lines = [
                f"    {one}: {', '.join(types)}"
                for one, types in ask(*before, name, namespace or "/")
                if options.include_hidden or not is_hidden(one)
            ]
            print(*lines, sep="\n")
    return None
