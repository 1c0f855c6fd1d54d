"""The parameters that each node declares, by the names that an experiment gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from ergojr_sim.config import SimConfig
from planet_bringup.config import ProgressConfig
from planet_learner.config import LearnerConfig
from planet_model.config import (
    ExplorationConfig,
    NetworkConfig,
    ObjectiveConfig,
    PlannerConfig,
    TrainingConfig,
)
from planet_replay.config import ReplayConfig
from planet_roller.config import RollerConfig

NODES = {
    "learner": "/learner",
    "progress": "/**/progress",
    "replay": "/replay",
    "roller": "/**/roller",
    "sim": "/**/sim",
}
"""Nodes that can be given parameters, under the names that the profiles use."""
DECLARED: dict[str, tuple[tuple[str, type], ...]] = {
    "learner": (
        ("", LearnerConfig),
        ("", TrainingConfig),
        ("model", NetworkConfig),
        ("objective", ObjectiveConfig),
    ),
    "progress": (("", ProgressConfig),),
    "replay": (("", ReplayConfig),),
    "roller": (("", RollerConfig), ("", ExplorationConfig), ("planner", PlannerConfig)),
    "sim": (("", SimConfig),),
}
"""The configurations that a node declares as its parameters, with the prefix of their names.

Importing them brings neither PyTorch nor ROS into a runner, which shall take nothing from what it
measures.
"""


def parameters_of(node: str) -> list[str]:
    """The names of a node's parameters, such as `planner.horizon`."""
    return [
        f"{prefix}.{field.name}".lstrip(".")
        for prefix, config in DECLARED[node]
        for field in fields(config)
    ]


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
