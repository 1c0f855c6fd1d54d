from __future__ import annotations

import dataclasses

import pytest

from planet_core.config import Config
from planet_model.config import ModelConfig, NetworkConfig, ObjectiveConfig, PlannerConfig


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(cameras=("front", "side"), action_size=4, min_std=0.05),
        NetworkConfig(conv_depth=8),
        ObjectiveConfig(free_nats=0.0, decoded_fraction=0.4),
        PlannerConfig(planner="random", warm_start=True),
    ],
)
def test_json_round_trip(config: Config) -> None:
    assert type(config).from_json(config.to_json()) == config


def test_defaults_are_those_of_the_paper() -> None:
    planner = PlannerConfig()
    assert (planner.horizon, planner.iterations) == (12, 10)
    assert (planner.candidates, planner.elites) == (1000, 100)
    model = ModelConfig(cameras=("a",), action_size=1)
    assert (model.deterministic_size, model.stochastic_size, model.hidden_size) == (200, 30, 200)
    assert (model.embedding_size, model.bit_depth) == (1024, 5)
    assert ObjectiveConfig().free_nats == 3.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PlannerConfig(horizon=0), "horizon is 0, expected at least 1"),
        (lambda: PlannerConfig(planner="mppi"), "expected one of cem, random"),
        (lambda: PlannerConfig(candidates=5, elites=6), "at most the 5 candidates"),
        (lambda: PlannerConfig(horizon=1.5), "horizon is 1.5, expected int"),  # type: ignore[arg-type]
        (lambda: PlannerConfig(warm_start=1), "warm_start is 1, expected bool"),  # type: ignore[arg-type]
        (lambda: ObjectiveConfig(decoded_fraction=0.0), "above 0"),
        (lambda: ObjectiveConfig(decoded_fraction=1.5), "at most 1"),
        (lambda: ObjectiveConfig(free_nats=float("nan")), "finite"),
        (lambda: ModelConfig(cameras=(), action_size=1), "one or more distinct"),
        (lambda: ModelConfig(cameras=("a", "a"), action_size=1), "one or more distinct"),
        (lambda: ModelConfig.from_json('{"cameras": ["a"]}'), "lacks"),
        (lambda: ObjectiveConfig.from_json('{"beta": 1}'), "'beta'"),
        (lambda: PlannerConfig.from_json("[]"), "no object"),
        (lambda: PlannerConfig.from_json("{"), "property name"),
    ],
)
def test_a_wrong_value_gives_one_clear_sentence(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("kind", [ModelConfig, ObjectiveConfig, PlannerConfig])
def test_every_field_is_documented(kind: type[Config]) -> None:
    for field in dataclasses.fields(kind):
        assert field.metadata["doc"].endswith(".")


def test_a_model_is_a_network_for_a_robot() -> None:
    network = NetworkConfig(conv_depth=8, embedding_size=256, termination_head=True)
    model = ModelConfig.of(network, cameras=("front",), action_size=4, joints=6)
    assert model.conv_depth == 8
    assert model.termination_head
    assert (model.cameras, model.action_size) == (("front",), 4)
