"""The held-out errors are those of the evaluation episodes, and leave no trace in the training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from planet_core.episode import Episode
from planet_core.testing import make_episode as episode_of
from planet_learner.mirror import Mirror
from planet_model.batches import Batches
from planet_model.config import ModelConfig, ObjectiveConfig, TrainingConfig
from planet_model.held_out import CONTEXT, EPISODES, STEPS, held_out
from planet_model.objective import objective
from planet_model.trainer import PlanetTrainer
from planet_model.world_model import WorldModel

Make = Callable[..., Episode]


@pytest.fixture(scope="session")
def make_episode() -> Make:
    return lambda *args, **more: episode_of(*args, **{"seed": 0, "steps": 6} | more)


MODEL = ModelConfig(
    cameras=("camera_0",),
    action_size=2,
    deterministic_size=8,
    stochastic_size=4,
    hidden_size=8,
    embedding_size=16,
    conv_depth=2,
)
CONFIG = ObjectiveConfig(
    decoded_fraction=0.4, overshooting_distance=3, outcome_overshooting=True, reward_scale=10.0
)


def filled(*episodes: Episode) -> Mirror:
    mirror = Mirror(200, (64, 64, 3), 2)
    for number, episode in enumerate(episodes, 1):
        mirror.add(episode, number)
    return mirror


def errors(mirror: Mirror, model: WorldModel | None = None) -> dict[str, float]:
    torch.manual_seed(0)
    batches = Batches(mirror, torch.device("cpu"), copied=False)
    generator = torch.Generator().manual_seed(3)
    return held_out(model or WorldModel(MODEL), batches, CONFIG, generator)


def test_only_the_newest_evaluation_episodes_count(make_episode: Make) -> None:
    shown = [make_episode(f"v{n}", "evaluation", steps=8, seed=n) for n in range(EPISODES)]
    expected = errors(filled(*shown))
    assert list(expected) == [
        "held_out_image_loss",
        "held_out_reward_loss",
        "held_out_open_loop_error",
    ]
    older = make_episode("old", "evaluation", seed=77)
    assert errors(filled(older, *shown, make_episode("trained", seed=99))) == expected
    newer = make_episode("new", "evaluation", seed=77)
    assert errors(filled(*shown, newer)) != expected


def test_the_losses_are_the_objectives_with_every_frame_decoded(make_episode: Make) -> None:
    mirror = filled(make_episode("v", "evaluation", steps=8))
    torch.manual_seed(0)
    model = WorldModel(MODEL)
    batch = Batches(mirror, torch.device("cpu"), copied=False).evaluation(EPISODES, STEPS)
    plain = ObjectiveConfig(reward_scale=CONFIG.reward_scale)
    losses = objective(model, batch, plain, torch.Generator().manual_seed(3))
    found = errors(mirror, model)
    assert found["held_out_image_loss"] == losses.image_loss
    assert found["held_out_reward_loss"] == losses.reward_loss


def test_the_open_loop_error_is_that_of_the_steps_after_the_context(make_episode: Make) -> None:
    episode = make_episode("v", "evaluation", steps=8)
    torch.manual_seed(0)
    model = WorldModel(MODEL)
    found = errors(filled(episode, make_episode("short", "evaluation", steps=CONTEXT - 1)), model)
    images = torch.from_numpy(episode.images)[None]
    pictures = model.open_loop(images, torch.from_numpy(episode.action)[None], CONTEXT)
    assert pictures is not None
    difference = (pictures.numpy().astype(float) - images.numpy())[:, CONTEXT:] / 255
    expected = np.square(difference).mean()
    assert found["held_out_open_loop_error"] == pytest.approx(expected, rel=0.01)


def test_what_no_episode_shows_is_left_out(make_episode: Make) -> None:
    assert errors(filled(make_episode("trained"))) == {}
    short = make_episode("short", "evaluation", steps=CONTEXT - 1)
    assert list(errors(filled(short))) == ["held_out_image_loss", "held_out_reward_loss"]


def test_looking_changes_no_later_update(make_episode: Make) -> None:
    mirror = filled(make_episode("trained", steps=9), make_episode("v", "evaluation", seed=1))
    config = TrainingConfig(batch_size=2, chunk_length=5)
    looked, trained = (PlanetTrainer(MODEL, CONFIG, config) for _ in range(2))
    assert looked.held_out(mirror) == looked.held_out(mirror) != {}
    for _ in range(2):
        assert looked.update(mirror) == trained.update(mirror)
