"""Names of topics, services and nodes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

NamesAndTypes = list[tuple[str, list[str]]]


def is_hidden(name: str) -> bool:
    """Return whether a part of a name starts with an underscore."""
    return any(part.startswith("_") for part in name.split("/"))


def absolute(name: str) -> str:
    """Return the absolute name of a topic, service or node."""
    return name if name.startswith("/") else f"/{name}"


def add_list(verbs: Any, kind: str, names_and_types: Callable[[Any], NamesAndTypes]) -> None:
    """Add the verb `list` of the topics or services that `names_and_types` asks a node for."""
    verb = verbs.add_parser("list", help=f"Output a list of available {kind}")
    verb.add_argument("-t", "--show-types", action="store_true", help="With their types")
    verb.add_argument(
        "-c", f"--count-{kind}", action="store_true", dest="count", help="Only their number"
    )
    verb.add_argument(
        f"--include-hidden-{kind}", action="store_true", dest="hidden", help="Hidden ones too"
    )

    def show(options: argparse.Namespace) -> None:
        from . import graph

        with graph.settled_node() as node:
            found = [x for x in names_and_types(node) if options.hidden or not is_hidden(x[0])]
        if options.count:
            print(len(found))
            return
        for name, types in found:
            print(f"{name} [{', '.join(types)}]" if options.show_types else name)

    verb.set_defaults(main=show)
