"""Files of ROS parameters, read before any node starts: a mistake is told with its line.

A node refuses a parameter that it does not declare. What no node can see is here: a file that
cannot be read, and a section that names no node.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import yaml

PARAMETERS = "ros__parameters"


class ParameterFileError(RuntimeError):
    """A file is no file of ROS parameters; the message is one sentence with file and line."""


def check(path: str, nodes: Collection[str]) -> list[str]:
    """Return a sentence for each section of the file `path` that matches none of `nodes`.

    Args:
        nodes: their full names.

    Raises:
        ParameterFileError: `path` cannot be read as sections with parameters.
    """
    return [
        f"{path}, line {line}: section {section} names no node, so it sets nothing; "
        f"the nearest is {nearest(section, nodes)}."
        for section, line in sections(path)
        if not any(matches(section, node) for node in nodes)
    ]


def sections(path: str) -> list[tuple[str, int]]:
    """Return name and line (from 1) of each section of the file `path`, in its order.

    Raises:
        ParameterFileError: see `check`.
    """
    found: list[tuple[str, int]] = []
    try:
        with open(path, encoding="utf-8") as file:
            for document in yaml.compose_all(file, yaml.SafeLoader):
                if not isinstance(document, yaml.MappingNode):
                    raise ParameterFileError(
                        f"{path}, line {_line(document)}: it must have sections such as "
                        f"/**/driver, each with {PARAMETERS}."
                    )
                found += _sections(path, document, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ParameterFileError(f"{path}{line}: {error.problem or error.context}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise ParameterFileError(f"{path} cannot be read as YAML: {reason}.") from None
    return found


def _sections(path: str, mapping: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, int]]:
    for key, value in mapping.value:
        name = str(key.value)
        if name == PARAMETERS and prefix and isinstance(value, yaml.MappingNode):
            yield prefix, _line(key)
        elif name != PARAMETERS and isinstance(value, yaml.MappingNode) and value.value:
            yield from _sections(path, value, f"{prefix}/{name.strip('/')}")
        elif name == PARAMETERS:
            raise ParameterFileError(
                f"{path}, line {_line(key)}: {PARAMETERS} must have parameters below it "
                "and the name of a node above."
            )
        else:
            raise ParameterFileError(
                f"{path}, line {_line(key)}: '{name}' is neither a section with {PARAMETERS} "
                "below it nor a parameter within one."
            )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def matches(section: str, node: str) -> bool:
    """Whether ROS gives the parameters of `section` (/**/driver) to `node` (/ergojr/driver)."""
    parts = {"**": r"(/\w+)*", "*": r"/\w+"}
    pattern = "".join(parts.get(part, f"/{re.escape(part)}") for part in section[1:].split("/"))
    return re.fullmatch(pattern, node) is not None


def nearest(section: str, nodes: Collection[str]) -> str:
    """Return the section of that one of `nodes` whose name is most like that of `section`."""
    names = {node.rpartition("/")[2]: node for node in sorted(nodes)}
    name = get_close_matches(section.rpartition("/")[2], names, 1, cutoff=0.0)[0]
    return names[name] if names[name].count("/") == 1 else f"/**/{name}"


class _Loader(yaml.SafeLoader):
    """Reads numbers as ROS does: 1e-3 is one, which YAML 1.1 takes for a word."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+.0123456789"),
)


def values(paths: Iterable[str], node: str) -> dict[str, Any]:
    """Return what these files set of the node with this full name, by dotted parameter name.

    Of what several set, the last counts. The files are ones that `check` has read.
    """
    found: dict[str, Any] = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for document in yaml.load_all(file, _Loader):
                for section, parameters in _parameters(document, ""):
                    if matches(section, node):
                        found |= _dotted(parameters, "")
    return found


def _parameters(mapping: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in mapping.items():
        if key == PARAMETERS:
            yield prefix, value
        else:
            yield from _parameters(value, f"{prefix}/{key.strip('/')}")


def _dotted(mapping: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            found |= _dotted(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
