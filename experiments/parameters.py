"""The parameters that each node declares, by the names that an experiment gives them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]

NODES = {
    "learner": "/learner",
    "progress": "/**/progress",
    "replay": "/replay",
    "roller": "/**/roller",
    "sim": "/**/sim",
}
"""Nodes that can be given parameters, under the names that the profiles use."""
DECLARED = {
    "learner": (
        ("", "src/planet_learner/planet_learner/config.py", "LearnerConfig"),
        ("model.", "src/planet_model/planet_model/config.py", "NetworkConfig"),
        ("objective.", "src/planet_model/planet_model/config.py", "ObjectiveConfig"),
    ),
    "progress": (("", "launch/planet_bringup/progress_node.py", "ProgressConfig"),),
    "replay": (("", "src/planet_replay/planet_replay/config.py", "ReplayConfig"),),
    "roller": (
        ("", "src/planet_roller/planet_roller/config.py", "RollerConfig"),
        ("planner.", "src/planet_model/planet_model/config.py", "PlannerConfig"),
    ),
    "sim": (("", "src/ergojr_sim/ergojr_sim/session.py", "SimConfig"),),
}
"""The dataclasses that a node declares as its parameters: prefix, file, class."""


@cache
def parameters_of(node: str) -> tuple[str, ...]:
    """The names of a node's parameters, such as `planner.horizon`.

    They are read in the source: to import the dataclasses would bring PyTorch and ROS into a runner
    that shall take nothing from what it measures.
    """
    names: list[str] = []
    for prefix, file, name in DECLARED[node]:
        classes = [
            item
            for item in ast.parse((_ROOT / file).read_text()).body
            if isinstance(item, ast.ClassDef)
        ]
        names += [
            prefix + item.target.id
            for item in next(found for found in classes if found.name == name).body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
    return tuple(names)


def unknown(node: str, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the first name in `values` that the node does not declare, and the nearest it does."""
    known = parameters_of(node)
    for name in _flat(values):
        if name not in known:
            (nearest,) = get_close_matches(name, known, 1, cutoff=0.0)
            return name, nearest
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names as ROS has them, nested ones joined by dots."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
