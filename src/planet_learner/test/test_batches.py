from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planet_core.episode import Episode
from planet_learner.mirror import Mirror
from planet_model.batches import Batches
from planet_model.config import ModelConfig
from planet_model.networks import Frames
from planet_model.objective import Batch
from planet_model.world_model import WorldModel


def frames(batch: Batch) -> NDArray[np.uint8]:
    """[B, L, 64, 64, 3], padding blackened."""
    assert isinstance(batch.images, Frames)
    images = batch.images.store[batch.images.rows]
    images[~batch.mask] = 0
    return images.numpy()


@pytest.mark.parametrize("clipped", [False, True])
def test_a_copied_mirror_draws_the_same_also_after_episodes_came_and_went(
    make_episode: Callable[..., Episode], clipped: bool
) -> None:
    mirror = Mirror(40, (64, 64, 3), 2, 4)
    here, there = (Batches(mirror, torch.device("cpu"), copied) for copied in (False, True))
    lengths = (3, 9, 5, 12, 7, 6, 11)  # a ring of 40 rows forgets the first ones
    for number, steps in enumerate(lengths, 1):
        policy = "random" if number % 3 else "evaluation"
        mirror.add(make_episode(f"e{number}", policy, steps, seed=number), number)
        of_mirror, of_copy = (
            (batches.draw(8, 6, np.random.default_rng(number), clipped), batches.evaluation(2, 6))
            for batches in (here, there)
        )
        for expected, found in zip(of_mirror, of_copy, strict=True):
            np.testing.assert_array_equal(frames(found), frames(expected))
            for name in found._fields[1:]:
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_mirror_that_was_cleared_is_copied_anew(make_episode: Callable[..., Episode]) -> None:
    mirror = Mirror(40, (64, 64, 3), 2, 4)
    held = Batches(mirror, torch.device("cpu"), copied=True)
    for seed in (1, 2):  # the same sequence, place and length
        mirror.clear()
        episode = make_episode("e", steps=9, seed=seed)
        mirror.add(episode, 1)
        found = held.draw(2, 6, np.random.default_rng(0), False)
        assert (frames(found)[0, 0] == episode.images).all((1, 2, 3)).any()


def test_rows_of_a_batch_are_the_episodes_and_padding_is_zero(
    make_episode: Callable[..., Episode],
) -> None:
    mirror = Mirror(40, (64, 64, 3), 2, 4)
    episode = make_episode("e", steps=3)
    mirror.add(episode, 1)
    batch = Batches(mirror, torch.device("cpu"), copied=False).draw(
        2, 6, np.random.default_rng(0), True
    )
    assert batch.mask.tolist() == [[True] * 4 + [False] * 2] * 2
    joints = np.hstack([episode.position, episode.velocity])
    for b in range(2):
        assert (frames(batch)[b, :4] == episode.images).all()
        for name in ("action", "reward", "reward_valid", "terminated"):
            assert (getattr(batch, name)[b, :4].numpy() == getattr(episode, name)).all()
            assert not getattr(batch, name)[b, 4:].any()
        assert (batch.state[b, :4].numpy() == joints).all()
        assert not batch.state[b, 4:].any()


def test_inference_compiles_as_one_graph_and_gives_the_same_beliefs() -> None:
    torch.manual_seed(0)
    model = WorldModel(
        ModelConfig(
            cameras=("front",),
            action_size=2,
            deterministic_size=8,
            stochastic_size=4,
            hidden_size=8,
            embedding_size=16,
            conv_depth=2,
        )
    )
    images = torch.randint(0, 256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    action, noise = torch.rand(2, 3, 2), torch.randn(2, 3, 4)
    observation = model.preprocess(images)
    compiled = torch.compile(model.infer, fullgraph=True, backend="aot_eager")
    found, expected = (f(action, observation, noise) for f in (compiled, model.infer))
    torch.testing.assert_close(found.belief.features, expected.belief.features)
    found.belief.features.sum().backward()
    assert all(p.grad is not None for p in model.encoders.parameters())
