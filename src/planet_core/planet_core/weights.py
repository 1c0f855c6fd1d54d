"""A version of what a learner has learnt, as data that any process can read and check.

On a topic the tensors are as they were learnt. A file of them is half as large, for float32 is
rounded to bfloat16, and stands alone: its metadata hold the configuration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from safetensors import SafetensorError

FORMAT = "robo_planet.weights.2"
"""Changes whenever the same configuration means other tensors."""


class WeightsError(ValueError):
    """Weights that do not belong to the method or the robot, or are broken; one sentence."""


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


def to_file(weights: Weights) -> bytes:
    """Return the weights as a file that stands alone."""
    tensors = {}
    for name, value in safetensors.numpy.load(weights.data).items():
        narrow = value.dtype == np.float32
        tensors[name] = {
            "dtype": "bfloat16" if narrow else str(value.dtype),
            "shape": list(value.shape),
            "data": (_rounded(value) if narrow else value).tobytes(),
        }
    metadata = {
        "format": FORMAT,
        "architecture_hash": weights.architecture_hash,
        "config_json": weights.config_json,
        "update": str(weights.update),
    }
    return bytes(safetensors.serialize(tensors, metadata))  # type: ignore[no-untyped-call]


def from_file(path: Path) -> Weights:
    """Return what :func:`to_file` was given, rounded.

    Raises WeightsError when it is no such file.
    """
    try:
        data = path.read_bytes()
        metadata = _metadata(data)
        held = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        tensors = {name: _tensor(found) for name, found in held}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from None
    try:
        return Weights(
            architecture_hash=metadata["architecture_hash"],
            config_json=metadata["config_json"],
            data=safetensors.numpy.save(tensors),
            update=int(metadata["update"]),
        )
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path} does not say of which model its weights are: {error}") from None


def _rounded(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The upper half of each float32, rounded to the nearest, ties to even; uint16."""
    bits = np.ascontiguousarray(value).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return found


def _tensor(found: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The array of a tensor as safetensors gives it, bfloat16 as float32."""
    shape, data = found["shape"], found["data"]
    if found["dtype"] == "BF16":
        bits = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    kinds = {
        "F32": np.float32,
        "F64": np.float64,
        "I64": np.int64,
        "U8": np.uint8,
        "BOOL": np.bool_,
    }
    if found["dtype"] not in kinds:
        raise ValueError(f"a tensor of type {found['dtype']}")
    return np.frombuffer(data, kinds[found["dtype"]]).reshape(shape)
