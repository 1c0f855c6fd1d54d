"""`ros2 interface`: what messages and services consist of."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory


def add_command(commands: Any) -> None:
    """Add `interface` to the commands."""
    parser = commands.add_parser("interface", help="Show messages and services")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)
    verb = verbs.add_parser("show", help="Output the interface definition")
    comments = verb.add_mutually_exclusive_group()
    comments.add_argument("--all-comments", action="store_true", help="Those of nested ones, too")
    comments.add_argument("--no-comments", action="store_true", help="No comments or whitespace")
    verb.add_argument(
        "type", help="e.g. 'std_msgs/msg/String'; '-' reads it from the standard input"
    )
    verb.set_defaults(main=show)


def show(options: argparse.Namespace) -> None:
    """Print an interface and, indented, those that it is made of.

    :raises RuntimeError: there is no such interface.
    """
    name = sys.stdin.readline().strip() if options.type == "-" else options.type
    if len(name.split("/")) != 3:
        raise RuntimeError(f"Invalid name '{name}'. Expected three parts separated by '/'")
    _show(name, "", comments=not options.no_comments, nested_comments=options.all_comments)


def _show(name: str, indent: str, *, comments: bool, nested_comments: bool) -> None:
    package, kind, last = name.split("/")
    try:
        path = Path(get_package_share_directory(package), kind, f"{last}.{kind}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (PackageNotFoundError, ValueError):
        raise RuntimeError(f"Unknown package '{package}'") from None
    except FileNotFoundError:
        raise RuntimeError(f"Could not find the interface '{name}'") from None
    for line in lines:
        # A constant's text may hold a #.
        code = line if re.match(r"\s*\w+\s+\w+\s*=\s*['\"]", line) else line.partition("#")[0]
        shown = line.rstrip() if comments else code.strip()
        if shown or comments:
            print(f"{indent}{shown}" if shown else "")
        # The name of a message begins with a capital, with or without its package.
        nested = re.match(r"\s*(?:(\w+)/)?([A-Z]\w*)[\s\[]", code)
        if nested:
            _show(
                f"{nested[1] or package}/msg/{nested[2]}",
                f"{indent}\t",
                comments=nested_comments,
                nested_comments=nested_comments,
            )
