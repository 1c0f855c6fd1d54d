"""Weights as bytes: a safetensors file whose names, shapes and types must fit the model exactly.

On a topic they are float32 (:func:`to_bytes`, :func:`load`), and the message says of which model.
A file of them is half as large, for it is rounded to bfloat16, and stands alone: its metadata hold
the configuration (:func:`to_file`, :func:`from_file`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from planet_model.config import ModelConfig
from planet_model.world_model import WorldModel

FORMAT = "robo_planet.weights.2"
"""Changes whenever the same configuration means other tensors."""


_DECODERS = ("decoders.", "state_decoder.")


class WeightsError(ValueError):
    """Weights that do not belong to the model, or are broken; one sentence says why."""


def architecture_hash(config: ModelConfig) -> str:
    """16 hexadecimal digits that two models share if and only if they can share weights."""
    text = json.dumps([FORMAT, config.to_dict()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_bytes(model: WorldModel, with_decoder: bool = True) -> bytes:
    """The model's weights as float32 safetensors; the roller needs no decoder to act."""
    if with_decoder and model.decoders is None:
        raise WeightsError("weights: the model has no decoder to write")
    state = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
        if with_decoder or not name.startswith(_DECODERS)
    }
    metadata = {"format": FORMAT, "architecture_hash": architecture_hash(model.config)}
    return safetensors.torch.save(state, metadata)


def load(data: bytes, config: ModelConfig) -> WorldModel:
    """The model with the weights in `data`, on the CPU, with decoders if `data` holds them.

    Raises :class:`WeightsError` when a tensor is missing, unknown, of another shape or type, or
    not finite, and when the bytes are no safetensors file.
    """
    try:
        state = safetensors.torch.load(data)
    except SafetensorError as error:
        raise WeightsError(f"weights: not a safetensors file: {error}") from None
    return of_state(state, config)


def of_state(state: Mapping[str, torch.Tensor], config: ModelConfig) -> WorldModel:
    """The model with the weights `state`; see :func:`load`."""
    model = WorldModel(config, with_decoder=any(name.startswith(_DECODERS) for name in state))
    expected = model.state_dict()
    odd = sorted(set(state) ^ set(expected))
    if odd:
        kind = "missing" if odd[0] in expected else "unknown"
        raise WeightsError(f"weights: '{odd[0]}' is {kind}, so they are of another architecture")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise WeightsError(
                f"weights: '{name}' is {tensor.dtype} {list(tensor.shape)},"
                f" expected {expected[name].dtype} {list(expected[name].shape)}"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"weights: '{name}' has a value that is not finite")
    model.load_state_dict(state)
    return model


def to_file(model: WorldModel, config_json: str, update: int) -> bytes:
    """The model's weights as a file that stands alone.

    `config_json` is that of planet_msgs/Weights, `update` the number of updates they are from.
    """
    state = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "architecture_hash": architecture_hash(model.config),
        "config_json": config_json,
        "update": str(update),
    }
    return safetensors.torch.save(state, metadata)


def from_file(path: Path) -> tuple[WorldModel, str, int]:
    """What :func:`to_file` was given, its weights rounded, from the file `path`.

    Raises :class:`WeightsError` when it is no such file, and when it is of another release.
    """
    try:
        with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from None
    try:
        config_json, update = metadata["config_json"], int(metadata["update"])
        config = ModelConfig.from_dict(json.loads(config_json)["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} does not say of which model its weights are: {error}") from None
    if metadata.get("architecture_hash") != architecture_hash(config):
        raise WeightsError(
            f"{path} is of another release: its format is {metadata.get('format')}, not {FORMAT}"
        )
    rounded = {n: x.float() if x.dtype == torch.bfloat16 else x for n, x in state.items()}
    return of_state(rounded, config), config_json, update
