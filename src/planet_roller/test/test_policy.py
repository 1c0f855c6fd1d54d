from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch

from planet_core.weights import Weights
from planet_model.config import ModelConfig, PlannerConfig
from planet_model.weights import architecture_hash, to_bytes
from planet_model.world_model import WorldModel
from planet_roller.policy import (
    PlannerPolicy,
    PolicyError,
    RandomPolicy,
    WeightsRefusedError,
    load_agent,
)

IMAGES = np.zeros((64, 128, 3), np.uint8)
ZERO = np.zeros(2, np.float32)
PLANNER = PlannerConfig(horizon=2, iterations=1, candidates=4, elites=2)
MODEL = ModelConfig(
    cameras=("camera_front", "camera_side"),
    action_size=2,
    deterministic_size=4,
    stochastic_size=2,
    hidden_size=4,
    embedding_size=32,
    conv_depth=1,
)


def make_weights(
    config: ModelConfig = MODEL, with_decoder: bool = True, **changes: object
) -> Weights:
    weights = Weights(
        run_id="r",
        version=3,
        replay_sequence=9,
        architecture_hash=architecture_hash(config),
        config_json='{"model": ' + config.to_json() + ', "objective": {}}',
        data=to_bytes(WorldModel(config), with_decoder),
    )
    return replace(weights, **changes)


def sequence(policy: RandomPolicy, length: int) -> np.ndarray:
    return np.stack([policy.act(IMAGES, ZERO, None) for _ in range(length)])


def test_random_actions_fill_the_range_and_are_reproducible():
    policy, again = (RandomPolicy(2, (1,), np.random.default_rng(0)) for _ in range(2))
    actions = sequence(policy, 500)
    assert actions.dtype == np.float32
    assert -1.0 <= actions.min() < -0.9
    assert 0.9 < actions.max() <= 1.0
    assert (sequence(again, 500) == actions).all()


def test_random_actions_are_held_as_long_as_asked():
    actions = sequence(RandomPolicy(2, (2, 5), np.random.default_rng(0)), 700)[:, 0]
    changes = np.flatnonzero(np.diff(actions)) + 1
    assert set(np.diff(changes).tolist()) == {2, 5}


def test_an_episode_does_not_begin_with_an_action_held_over():
    policy = RandomPolicy(2, (5,), np.random.default_rng(0))
    before = policy.act(IMAGES, ZERO, None)
    policy.reset()
    assert (policy.act(IMAGES, ZERO, None) != before).all()


def test_an_action_that_is_not_finite_never_leaves_the_policy():
    agent = SimpleNamespace(act=lambda *_: np.array([0.0, np.nan], np.float32))
    policy = PlannerPolicy(agent, 3, 0.3, evaluation=False)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="not finite with weights 3"):
        policy.act(IMAGES, ZERO, None)


def test_a_world_model_that_predicts_only_nan_ends_in_a_policy_error(spec):
    agent = load_agent(make_weights(), spec, PLANNER, "cpu", 0)
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(PolicyError):
        PlannerPolicy(agent, 3, 0.3, evaluation=False).act(IMAGES, ZERO, None)


def test_good_weights_act_within_the_range(spec):
    policy = PlannerPolicy(
        load_agent(make_weights(), spec, PLANNER, "cpu", 0), 3, 5.0, evaluation=False
    )
    policy.reset()
    action = policy.act(IMAGES, ZERO, None)
    assert action.shape == (2,)
    assert np.abs(action).max() <= 1.0
    assert (policy.kind, policy.weights_version) == ("planner", 3)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (make_weights(architecture_hash="0" * 16), "architecture 0000000000000000, but"),
        (make_weights(replace(MODEL, cameras=("camera_front",))), "trained on cameras camera_fr"),
        (make_weights(replace(MODEL, action_size=3)), "trained on 3 actions, but ergojr has 2"),
        (
            make_weights(replace(MODEL, observation="state", state_size=8)),
            "positions and velocities of 4 joints, but ergojr has 3",
        ),
        (make_weights(config_json="{"), "configuration cannot be read"),
        (make_weights(config_json="{}"), "configuration cannot be read"),
        (make_weights(config_json="[]"), "configuration cannot be read"),
        (make_weights(data=b"rubbish" * 9), "not a safetensors file"),
        (make_weights(data=make_weights().data[:-4]), "not a safetensors file"),
        (make_weights(data=make_weights(replace(MODEL, hidden_size=8)).data), "expected torch"),
    ],
    ids=[
        "hash",
        "cameras",
        "actions",
        "joints",
        "json",
        "empty",
        "list",
        "rubbish",
        "short",
        "shapes",
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_sentence(spec, weights, sentence):
    with pytest.raises(WeightsRefusedError, match=sentence) as raised:
        load_agent(weights, spec, PLANNER, "cpu", 0)
    assert str(raised.value).startswith("weights 3 of run r: ")
    assert "\n" not in str(raised.value)


def test_new_weights_of_the_same_model_are_adopted_in_place(spec):
    agent = load_agent(make_weights(), spec, PLANNER, "cpu", 0)
    torch.manual_seed(1)
    weights = make_weights()
    assert load_agent(weights, spec, PLANNER, "cpu", 0, agent) is agent
    there = safetensors.torch.load(weights.data)
    for name, value in agent.model.state_dict().items():
        assert torch.equal(value, there[name])


def test_weights_with_decoders_and_without_are_of_different_agents(spec):
    bare = load_agent(make_weights(with_decoder=False), spec, PLANNER, "cpu", 0)
    full = load_agent(make_weights(), spec, PLANNER, "cpu", 0, bare)
    assert full is not bare
    assert full.model.decoders is not None
    assert load_agent(make_weights(with_decoder=False), spec, PLANNER, "cpu", 0, full) is not full


def test_an_agent_whose_next_weights_are_refused_is_as_it_was(spec):
    agent = load_agent(make_weights(), spec, PLANNER, "cpu", 0)
    before = {name: value.clone() for name, value in agent.model.state_dict().items()}
    torch.manual_seed(1)
    with pytest.raises(WeightsRefusedError):
        load_agent(make_weights(architecture_hash="0" * 16), spec, PLANNER, "cpu", 0, agent)
    for name, value in agent.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_that_observes_the_joints_acts_on_their_state_and_not_without(spec):
    config = replace(MODEL, observation="images_and_state", state_size=6)
    policy = PlannerPolicy(
        load_agent(make_weights(config), spec, PLANNER, "cpu", 0), 3, 0.0, evaluation=False
    )
    assert policy.act(IMAGES, ZERO, np.zeros(6, np.float32)).shape == (2,)
    with pytest.raises(PolicyError, match="no joint state"):
        policy.act(IMAGES, ZERO, None)


def test_a_bonus_for_a_model_without_termination_head_is_refused(spec):
    with pytest.raises(WeightsRefusedError, match="termination"):
        load_agent(make_weights(), spec, replace(PLANNER, termination_bonus=1.0), "cpu", 0)
