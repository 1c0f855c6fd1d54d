"""No information crosses an episode's boundary, from the mirror to the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from planet_core.episode import Episode
from planet_learner.mirror import Mirror
from planet_model.batches import Batches
from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.networks import Frames
from planet_model.objective import Batch, objective
from planet_model.world_model import WorldModel

LENGTHS = (3, 9, 5)  # decisions; chunks are longer than the first and the last
CHUNK = 7


def draw(make_episode: Callable[..., Episode], seeds: tuple[int, ...]) -> dict[int, Batch]:
    """The chunks of each episode, out of one draw from a mirror of three that stand in a row."""
    mirror = Mirror(100, (64, 64, 3), 2, 4)
    for number, (steps, seed) in enumerate(zip(LENGTHS, seeds, strict=True), 1):
        mirror.add(make_episode(f"e{number}", steps=steps, seed=seed), number)
    batch = drawn(mirror, 40)
    first = torch.tensor([span.start for span in mirror.spans])
    assert isinstance(batch.images, Frames)
    episode = torch.searchsorted(first, batch.images.rows[:, 0].contiguous(), right=True)
    return {number: of(batch, episode == number) for number in (1, 2, 3)}


def drawn(mirror: Mirror, size: int) -> Batch:
    batches = Batches(mirror, torch.device("cpu"), copied=False)
    return batches.draw(size, CHUNK, np.random.default_rng(0), True)


def of(batch: Batch, chosen: Tensor) -> Batch:
    """The chosen chunks, [B] bool, alone."""
    assert isinstance(batch.images, Frames)
    images = Frames(batch.images.store, batch.images.rows[chosen])
    return Batch(images, *(x[chosen] for x in batch[1:]))


def train(model: WorldModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    config = ObjectiveConfig(free_nats=0.0, overshooting_distance=3, outcome_overshooting=True)
    loss = objective(model, batch, config, torch.Generator().manual_seed(5)).loss
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("transition", ["rssm", "ssm", "rnn"])
def test_neighbouring_episodes_change_neither_loss_nor_gradient(
    make_episode: Callable[..., Episode], transition: str
) -> None:
    torch.manual_seed(0)
    model = WorldModel(
        ModelConfig(
            cameras=("camera_0",),
            action_size=2,
            state_size=4,
            observation="images_and_state",
            transition=transition,
            termination_head=True,
            deterministic_size=8,
            stochastic_size=4,
            hidden_size=8,
            embedding_size=16,
            conv_depth=2,
        )
    )
    before = draw(make_episode, (1, 2, 3))
    for seeds in ((7, 2, 9), (1, 8, 3)):
        after = draw(make_episode, seeds)
        for number in (1, 2, 3):
            (loss, gradient), (other, others) = (train(model, b[number]) for b in (before, after))
            if seeds[number - 1] == number:  # the same episode beside other ones
                assert loss == other
                assert all(torch.equal(gradient[name], others[name]) for name in gradient)
            else:
                assert loss != other


def test_an_episode_alone_gives_the_chunks_that_it_gives_among_others(
    make_episode: Callable[..., Episode],
) -> None:
    among = draw(make_episode, (1, 2, 3))[3]
    alone = Mirror(100, (64, 64, 3), 2, 4)
    alone.add(make_episode("e3", steps=LENGTHS[2], seed=3), 1)
    chunk = drawn(alone, 1)
    for one, other in zip(among[1:], chunk[1:], strict=True):
        for row in one:  # too short for more than one start
            assert torch.equal(row, other[0])
    assert isinstance(among.images, Frames)
    assert isinstance(chunk.images, Frames)
    for rows in among.images.rows:
        assert torch.equal(among.images.store[rows], chunk.images.store[chunk.images.rows[0]])
