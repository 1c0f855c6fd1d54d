from __future__ import annotations

import numpy as np
import pytest
import torch

from planet_model import weights
from planet_model.agent import IMAGINED_STEPS, Agent
from planet_model.config import ModelConfig, PlannerConfig
from planet_model.planner import PlanningError
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
PLANNER = PlannerConfig(horizon=3, iterations=2, candidates=20, elites=5, warm_start=True)


def make_agent(seed: int = 0) -> Agent:
    torch.manual_seed(0)
    return Agent(WorldModel(CONFIG), PLANNER, seed)


def images(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, (64, 128, 3), dtype=np.uint8)


def run(agent: Agent, steps: int, noise: float = 0.3) -> list[np.ndarray]:  # type: ignore[type-arg]
    agent.reset()
    actions = [np.zeros(3, np.float32)]
    for t in range(steps):
        actions.append(agent.act(images(t), actions[-1], noise))
    return actions[1:]


def test_actions_are_float32_within_bounds_even_under_great_noise() -> None:
    for action in run(make_agent(), 5, noise=10.0):
        assert action.dtype == np.float32
        assert action.shape == (3,)
        assert np.abs(action).max() <= 1.0


def test_the_same_seed_acts_alike_and_another_does_not() -> None:
    first, again, other = (run(make_agent(seed), 4) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_exploration_noise_the_plan_itself_is_returned() -> None:
    agent = make_agent()
    agent.reset()
    action = agent.act(images(0), np.zeros(3, np.float32), 0.0)
    np.testing.assert_array_equal(action, agent.planner._last_mean[0])  # type: ignore[attr-defined]


def test_the_belief_is_that_of_the_world_model_with_the_same_noise() -> None:
    agent = make_agent(seed=7)
    previous = np.array([[0, 0, 0], [0.5, -1, 0.2]], np.float32)
    for t in range(2):
        agent.observe(images(t), previous[t])
    model, g = agent.model, torch.Generator().manual_seed(7)
    belief = model.initial_belief(1)
    with torch.no_grad():
        for t in range(2):
            observation = model.preprocess(torch.tensor(images(t))[None], g)
            noise = torch.randn(1, 5, generator=g)
            belief = model.filter(belief, torch.tensor(previous[t : t + 1]), observation, noise)
    torch.testing.assert_close(agent.belief, belief)


def test_reset_forgets_the_last_episode() -> None:
    agent = make_agent()
    run(agent, 3)
    agent.reset()
    assert not agent.belief.deterministic.any()
    assert agent.planner._last_mean is None  # type: ignore[attr-defined]
    assert agent.prediction() is None


@pytest.mark.parametrize("steps", [1, 3, IMAGINED_STEPS + 5])
def test_the_prediction_shows_seen_reconstructed_and_imagined(steps: int) -> None:
    agent = make_agent()
    agent.reset()
    beliefs, actions = [], []
    for t in range(steps):
        action = np.full(3, 0.1 * t, np.float32)
        agent.observe(images(t), action)
        beliefs.append(agent.belief)
        actions.append(action)
    picture = agent.prediction()
    assert picture is not None
    assert picture.shape == (192, 128, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:64], images(steps - 1))
    start = max(0, steps - 1 - IMAGINED_STEPS)
    with torch.no_grad():
        belief = beliefs[start]
        for action in actions[start + 1 :]:
            h = agent.model.rssm.transition(belief, torch.tensor(action)[None])
            belief = belief._replace(deterministic=h, stochastic=agent.model.rssm.prior(h).mean)
        for row, shown in ((1, agent.belief), (2, belief)):
            decoded = agent.model.decode(shown.features)
            assert decoded is not None
            expected = (torch.cat(decoded.cameras, 2)[0] + 0.5) * 255
            found = torch.tensor(picture[64 * row : 64 * (row + 1)]).float()
            torch.testing.assert_close(found, expected.clamp(0, 255), atol=0.51, rtol=0)


def test_weights_without_decoder_act_but_show_no_prediction() -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    whole = Agent(weights.load(weights.to_bytes(model), CONFIG), PLANNER, 3)
    bare = Agent(weights.load(weights.to_bytes(model, with_decoder=False), CONFIG), PLANNER, 3)
    np.testing.assert_array_equal(run(whole, 3), run(bare, 3))
    assert whole.prediction() is not None
    assert bare.prediction() is None


def test_images_or_actions_of_another_shape_are_refused() -> None:
    agent = make_agent()
    with pytest.raises(ValueError, match="images"):
        agent.act(images(0)[:32], np.zeros(3, np.float32), 0.0)
    with pytest.raises(ValueError, match="previous action"):
        agent.act(images(0), np.zeros(4, np.float32), 0.0)


def test_a_broken_belief_is_a_planning_error() -> None:
    agent = make_agent()
    with pytest.raises(PlanningError):
        agent.act(images(0), np.full(3, np.nan, np.float32), 0.0)


def test_an_agent_that_adopts_weights_acts_as_one_that_is_made_of_them() -> None:
    old, new = make_agent(seed=1), make_agent(seed=2)
    old.act(images(0), np.zeros(3, np.float32), 0.3)
    with torch.no_grad():
        for parameter in new.model.parameters():
            parameter.mul_(1.5)
    new.adopt(new.model, 5)
    old.adopt(new.model, 5)
    for _ in range(3):
        actions = [agent.act(images(1), np.zeros(3, np.float32), 0.3) for agent in (old, new)]
        np.testing.assert_array_equal(*actions)
