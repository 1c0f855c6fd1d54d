"""`ros2 node`: the nodes."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_command(commands: Any) -> None:
    """Add `node` to the commands."""
    parser = commands.add_parser("node", help="List nodes")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)
    verb = verbs.add_parser("list", help="Output a list of available nodes")
    verb.add_argument("-a", "--all", action="store_true", help="Hidden ones too")
    verb.add_argument("-c", "--count-nodes", action="store_true", help="Only their number")
    verb.set_defaults(main=show)


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
