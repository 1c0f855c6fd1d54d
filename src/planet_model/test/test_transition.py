"""The three transition models, each against its equations written plainly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from planet_model.agent import Agent
from planet_model.config import ModelConfig, PlannerConfig
from planet_model.networks import NetworkInput
from planet_model.objective import kl_divergence
from planet_model.transition import RNN, SSM, Belief
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
OBSERVED = {"images": 0, "state": 4, "images_and_state": 4}
MODELS = [
    dataclasses.replace(CONFIG, transition=transition, observation=observation, state_size=size)
    for transition in ("rssm", "ssm", "rnn")
    for observation, size in OBSERVED.items()
]
every_model = pytest.mark.parametrize(
    "config", MODELS, ids=[f"{c.transition}-{c.observation}" for c in MODELS]
)


def make(config: ModelConfig) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(config)


def images(*lead: int) -> torch.Tensor:
    return torch.randint(0, 256, (*lead, 64, 128, 3), dtype=torch.uint8)


def at(observation: NetworkInput, t: int) -> NetworkInput:
    return NetworkInput(
        tuple(image[:, t] for image in observation.cameras), observation.state[:, t]
    )


def other_from(t: int, observation: NetworkInput) -> NetworkInput:
    """The same, but another one from step t on."""
    cameras, state = observation
    return NetworkInput(
        tuple(torch.cat([o[:, :t], -o[:, t:]], 1) for o in cameras),
        torch.cat([state[:, :t], -state[:, t:]], 1),
    )


@every_model
def test_the_agent_s_belief_equals_the_belief_while_training(config: ModelConfig) -> None:
    length = 12
    model = make(config)
    agent = Agent(model, PlannerConfig(planner="random"), seed=7)
    film, action = images(length), torch.rand(length, 3) * 2 - 1
    action[0] = 0
    state = torch.randn(length, 4)
    beliefs = []
    for t in range(length):
        joints = state[t].numpy() if config.state_size else None
        agent.observe(film[t].numpy(), action[t].numpy(), joints)
        beliefs.append(agent.belief)

    g = torch.Generator().manual_seed(7)  # the agent's draws, in its order
    seen, noise = [], []
    for t in range(length):
        seen.append(model.preprocess(film[t : t + 1], g, state[t : t + 1]))
        noise.append(torch.randn(1, 5, generator=g))
    observation = NetworkInput(
        tuple(torch.stack(o, 1) for o in zip(*(s.cameras for s in seen), strict=True)),
        torch.stack([s.state for s in seen], 1),
    )
    with torch.no_grad():
        trained = model.infer(action[None], observation, torch.stack(noise, 1)).belief
    for t, belief in enumerate(beliefs):
        for acting, training in zip(belief, trained, strict=True):
            torch.testing.assert_close(acting, training[:, t])


@every_model
def test_the_belief_looks_at_all_that_is_observed_now_and_at_nothing_later(
    config: ModelConfig,
) -> None:
    model = make(config)
    action, noise = torch.rand(1, 6, 3), torch.randn(1, 6, 5)
    observation = model.preprocess(images(1, 6), None, torch.randn(1, 6, 4))
    before = model.infer(action, observation, noise).belief.features
    whole = model.infer(action, other_from(4, observation), noise).belief.features
    torch.testing.assert_close(whole[:, :4], before[:, :4])
    parts = []
    if config.observed_cameras:
        for i in range(2):
            cameras = list(observation.cameras)
            cameras[i] = torch.cat([cameras[i][:, :4], -cameras[i][:, 4:]], 1)
            parts.append(observation._replace(cameras=tuple(cameras)))
    if config.state_size:
        state = torch.cat([observation.state[:, :4], -observation.state[:, 4:]], 1)
        parts.append(observation._replace(state=state))
    for part in parts:
        after = model.infer(action, part, noise).belief.features
        torch.testing.assert_close(after[:, :4], before[:, :4])
        assert not torch.allclose(after[:, 4], before[:, 4])
    later = torch.cat([action[:, :4], -action[:, 4:]], 1)  # a_3 and later
    moved = model.infer(later, observation, noise).belief.features
    torch.testing.assert_close(moved[:, :4], before[:, :4])
    assert not torch.allclose(moved[:, 4], before[:, 4])


@every_model
def test_sizes_are_those_of_the_configuration(config: ModelConfig) -> None:
    model = make(config)
    sizes = {"rssm": (12, 5), "ssm": (0, 5), "rnn": (12, 0)}[config.transition]
    belief = model.initial_belief(3)
    assert tuple(x.shape for x in belief) == ((3, sizes[0]), (3, sizes[1]))
    path = model.imagine(belief, torch.rand(3, 4, 3), torch.randn(3, 4, 5))
    assert tuple(x.shape for x in path) == ((3, 4, sizes[0]), (3, 4, sizes[1]))
    assert model.reward(path.features).shape == (3, 4)
    decoded = model.decode(path.features.flatten(0, 1))
    assert decoded is not None
    assert len(decoded.cameras) == len(config.observed_cameras)
    assert decoded.state.shape == (12, config.state_size)


def test_the_ssm_is_its_equations() -> None:
    model = make(dataclasses.replace(CONFIG, transition="ssm"))
    ssm = model.rssm
    assert isinstance(ssm, SSM)
    action, noise = torch.rand(2, 3, 3), torch.randn(2, 3, 5)
    observation = model.preprocess(images(2, 3))
    path = model.infer(action, observation, noise)
    s = torch.zeros(2, 5)
    for t in range(3):
        first, _, second = ssm.prior_net
        x = second(F.relu(first(torch.cat([s, action[:, t]], 1))))
        mean, std = x[:, :5], F.softplus(x[:, 5:]) + 0.1
        torch.testing.assert_close(path.prior.mean[:, t], mean)
        torch.testing.assert_close(path.prior.std[:, t], std)
        e = model.encode(at(observation, t))
        hidden = ssm.posterior_h(torch.cat([mean, std], 1)) + ssm.posterior_e(e)
        x = ssm.posterior_out(F.relu(hidden))
        mean, std = x[:, :5], F.softplus(x[:, 5:]) + 0.1
        torch.testing.assert_close(path.posterior.mean[:, t], mean)
        torch.testing.assert_close(path.posterior.std[:, t], std)
        s = mean + std * noise[:, t]
        torch.testing.assert_close(path.belief.stochastic[:, t], s)
    assert path.explaining == path.belief


def test_the_rnn_is_its_equations_and_explains_a_step_before_looking() -> None:
    model = make(dataclasses.replace(CONFIG, transition="rnn"))
    rnn = model.rssm
    assert isinstance(rnn, RNN)
    action = torch.rand(2, 3, 3)
    observation = model.preprocess(images(2, 3))
    path = model.infer(action, observation, None)
    h = torch.zeros(2, 12)
    for t in range(3):
        expected = rnn.cell(F.relu(rnn.input(action[:, t])), h)
        torch.testing.assert_close(path.explaining.features[:, t], expected)
        e = model.encode(at(observation, t))
        h = rnn.posterior_cell(F.relu(rnn.posterior_e(e)), expected)
        torch.testing.assert_close(path.belief.features[:, t], h)
    assert not kl_divergence(path.posterior, path.prior).any()


@pytest.mark.parametrize("transition", ["rssm", "ssm", "rnn"])
def test_the_first_imagined_step_is_the_prior_of_the_next_one(transition: str) -> None:
    model = make(dataclasses.replace(CONFIG, transition=transition))
    action, noise = torch.rand(2, 4, 3), torch.randn(2, 4, 5)
    path = model.infer(action, model.preprocess(images(2, 4)), noise)
    imagined = model.imagine(Belief(*(x[:, 2] for x in path.belief)), action[:, 3:], None)
    if transition == "rnn":
        expected = path.explaining.features[:, 3:]
    else:
        expected = Belief(path.belief.deterministic[:, 3:], path.prior.mean[:, 3:]).features
    torch.testing.assert_close(imagined.features, expected)


def test_the_state_is_seen_in_tenths_of_a_radian_and_radians_per_second() -> None:
    model = make(dataclasses.replace(CONFIG, observation="state", state_size=4))
    seen = model.preprocess(images(1), None, torch.tensor([[0.2, -0.3, 4.0, -5.0]])).state
    torch.testing.assert_close(seen, torch.tensor([[2.0, -3.0, 4.0, -5.0]]))


def test_a_state_that_is_missing_or_of_another_size_is_refused() -> None:
    model = make(dataclasses.replace(CONFIG, observation="state", state_size=4))
    for state in (None, torch.zeros(2, 6)):
        with pytest.raises(ValueError, match="expected 4"):
            model.preprocess(images(2), None, state)
    agent = Agent(model, PlannerConfig(planner="random"), 0)
    for joints in (None, np.zeros(6, np.float32)):
        with pytest.raises(ValueError, match="joint state"):
            agent.observe(images().numpy(), np.zeros(3, np.float32), joints)


# Open loop.


@every_model
def test_open_loop_shows_the_context_and_then_what_is_imagined(config: ModelConfig) -> None:
    model = make(config)
    film, action, state = images(2, 7), torch.rand(2, 7, 3), torch.randn(2, 7, 4)
    pictures = model.open_loop(film, action, 3, torch.Generator().manual_seed(1), state)
    if not config.observed_cameras:
        assert pictures is None
        return
    assert pictures is not None
    assert (pictures.shape, pictures.dtype) == ((2, 7, 64, 128, 3), torch.uint8)
    g = torch.Generator().manual_seed(1)
    observation = model.preprocess(film[:, :3], g, state[:, :3])
    with torch.no_grad():
        belief, features = model.initial_belief(2), []
        for t in range(7):
            context = model.rssm.transition(belief, action[:, t])
            if t < 3:
                seen = model.rssm.posterior_e(model.encode(at(observation, t)))
                belief, _ = model.rssm.observe(context, seen, None)
                features.append(model.rssm.explaining(context, belief).features)
            else:
                belief, _ = model.rssm.imagine(context, None)
                features.append(belief.features)
            decoded = model.decode(features[-1])
            assert decoded is not None
            expected = (torch.cat(decoded.cameras, 2) + 0.5) * 255
            torch.testing.assert_close(
                pictures[:, t].float(), expected.clamp(0, 255), atol=0.51, rtol=0
            )


def test_open_loop_looks_at_no_more_than_the_context() -> None:
    model = make(CONFIG)
    film, action = images(1, 8), torch.rand(1, 8, 3)
    first = model.open_loop(film, action, 5, torch.Generator().manual_seed(1))
    film[:, 5:] = 0
    second = model.open_loop(film, action, 5, torch.Generator().manual_seed(1))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)
    for context in (0, 8):
        with pytest.raises(ValueError, match="expected 1 to 7"):
            model.open_loop(film, action, context)
