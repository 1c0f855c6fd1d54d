from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from planet_model.config import ModelConfig
from planet_model.weights import (
    WeightsError,
    architecture_hash,
    from_file,
    load,
    to_bytes,
    to_file,
)
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


CONFIG_JSON = json.dumps({"model": CONFIG.to_dict(), "objective": {}})


def test_a_file_stands_alone_is_half_as_large_and_rounds_to_eight_bits(tmp_path: Path) -> None:
    model = WorldModel(CONFIG)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(to_file(model, CONFIG_JSON, update=7))
    again, config_json, update = from_file(path)
    assert (again.config, config_json, update) == (CONFIG, CONFIG_JSON, 7)
    for name, tensor in model.state_dict().items():
        read = again.state_dict()[name]
        assert read.dtype == torch.float32
        torch.testing.assert_close(read, tensor, rtol=2**-8, atol=0)
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    assert len(to_bytes(model)) - len(path.read_bytes()) > 1.5 * count


def test_rounding_what_is_rounded_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(to_file(WorldModel(CONFIG), CONFIG_JSON, update=7))
    first = from_file(path)[0].state_dict()
    path.write_bytes(to_file(*from_file(path)))
    again = from_file(path)[0].state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04pickle", "not a safetensors file"),
        (to_file(WorldModel(CONFIG), CONFIG_JSON, 7)[:-1], "not a safetensors file"),
        (to_bytes(WorldModel(CONFIG)), "does not say of which model"),
        (to_file(WorldModel(CONFIG), "{}", 7), "does not say of which model"),
        (
            to_file(
                WorldModel(CONFIG), CONFIG_JSON.replace('"hidden_size": 16', '"hidden_size": 17'), 7
            ),
            "another release",
        ),
    ],
)
def test_another_file_is_refused_in_one_sentence(
    data: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=sentence) as caught:
        from_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
