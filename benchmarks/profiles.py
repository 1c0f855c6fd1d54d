"""The profiles of launch/config, as configurations."""

from __future__ import annotations

from typing import Any

import yaml

from benchmarks.timing import ROOT
from planet_model.config import ModelConfig, NetworkConfig, PlannerConfig

CAMERAS = ("camera_front", "camera_side")
ACTIONS = 4
"""Of the Ergo Jr: the joints that move."""


def parameters(profile: str, node: str) -> dict[str, Any]:
    """What a profile sets of a node's parameters, nested as in the file."""
    files = yaml.safe_load((ROOT / "launch" / "config" / f"{profile}.yaml").read_text())
    found: dict[str, Any] = files[node]["ros__parameters"]
    return found


def planner(profile: str) -> PlannerConfig:
    """A profile's search."""
    return PlannerConfig(**parameters(profile, "/**/roller")["planner"])


def model(profile: str) -> ModelConfig:
    """A profile's model, for the Ergo Jr and its two cameras."""
    network = NetworkConfig(**parameters(profile, "/learner").get("model", {}))
    return ModelConfig.of(network, CAMERAS, ACTIONS, joints=6)
