from __future__ import annotations

import dataclasses

import pytest
import safetensors.torch
import torch

from planet_core.weights import WeightsError
from planet_model.config import ModelConfig
from planet_model.weights import architecture_hash, load, to_bytes
from planet_model.world_model import WorldModel

CONFIG = ModelConfig(
    cameras=("front", "side"),
    action_size=3,
    deterministic_size=12,
    stochastic_size=5,
    hidden_size=16,
    embedding_size=20,
    conv_depth=2,
)


def test_round_trip_keeps_every_weight() -> None:
    model = WorldModel(CONFIG)
    again = load(to_bytes(model), CONFIG)
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        dataclasses.replace(CONFIG, transition="ssm"),
        dataclasses.replace(CONFIG, transition="rnn"),
        dataclasses.replace(CONFIG, observation="state", state_size=4),
        dataclasses.replace(CONFIG, observation="images_and_state", state_size=4),
    ],
)
def test_without_decoder_only_the_decoder_is_missing(config: ModelConfig) -> None:
    model = WorldModel(config)
    assert load(to_bytes(model), config).decoders is not None
    bare = load(to_bytes(model, with_decoder=False), config)
    assert bare.decoders is None
    missing = set(model.state_dict()) - set(bare.state_dict())
    assert missing == {name for name in model.state_dict() if "decoder" in name}
    with pytest.raises(WeightsError, match="no decoder"):
        to_bytes(bare, with_decoder=True)


def test_a_weight_that_is_not_finite_is_refused_by_name() -> None:
    model = WorldModel(CONFIG)
    with torch.no_grad():
        model.rssm.cell.weight_hh[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"rssm\.cell\.weight_hh.*not finite"):
        load(to_bytes(model), CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 17},
        {"cameras": ("front",)},
        {"cameras": ("front", "side", "top")},
        {"termination_head": True},
        {"action_size": 4},
        {"transition": "ssm"},
        {"transition": "rnn"},
        {"observation": "images_and_state", "state_size": 4},
    ],
)
def test_weights_of_another_architecture_are_refused(change: dict[str, object]) -> None:
    other = ModelConfig.from_dict({**CONFIG.to_dict(), **change})
    with pytest.raises(WeightsError):
        load(to_bytes(WorldModel(CONFIG)), other)


def test_a_weight_of_another_type_is_refused() -> None:
    state = {name: x.double() for name, x in WorldModel(CONFIG).state_dict().items()}
    with pytest.raises(WeightsError, match="float64"):
        load(safetensors.torch.save(state), CONFIG)


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", to_bytes(WorldModel(CONFIG))[:-1]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WeightsError, match="safetensors"):
        load(data, CONFIG)


def test_the_hash_tells_any_two_architectures_apart_and_is_stable() -> None:
    changes = [
        {"deterministic_size": 13},
        {"cameras": ("side", "front")},
        {"min_std": 0.2},
        {"bit_depth": 6},
        {"termination_head": True},
        {"transition": "ssm"},
        {"transition": "rnn"},
        {"observation": "state", "state_size": 4},
        {"observation": "images_and_state", "state_size": 4},
    ]
    configs = [CONFIG, *(dataclasses.replace(CONFIG, **change) for change in changes)]
    assert len({architecture_hash(config) for config in configs}) == len(configs)
    assert architecture_hash(ModelConfig.from_json(CONFIG.to_json())) == architecture_hash(CONFIG)
    assert len(architecture_hash(CONFIG)) == 16
