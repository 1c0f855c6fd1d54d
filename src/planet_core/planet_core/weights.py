"""A version of what a learner has learnt, as data that any process can read and check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """What a roller needs to act, and where it comes from."""

    architecture_hash: str
    """Equal for two models whose tensors have the same names, shapes and meaning."""
    config_json: str
    """JSON object with the configurations that the model is built from."""
    data: bytes
    """The tensors, as a safetensors file."""
    run_id: str = ""
    """The run that the weights were learnt in."""
    version: int = 0
    """Counts the publications of a run from 1 on."""
    update: int = 0
    """Gradient updates made."""
    replay_sequence: int = 0
    """Sequence of the newest episode trained on."""
