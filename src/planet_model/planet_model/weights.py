"""Weights as bytes: a safetensors file whose names, shapes and types must fit the model exactly.

They are float32, and whoever has them is told of which model they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError

from planet_core.weights import FORMAT, WeightsError
from planet_model.config import ModelConfig
from planet_model.world_model import WorldModel

_DECODERS = ("decoders.", "state_decoder.")


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
