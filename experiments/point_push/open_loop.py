"""Open-loop prediction: from a few frames and the actions, the frames that follow."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.point_push.environment import PointPush
from experiments.point_push.rollout import play
from planet_core.episode import Episode
from planet_model.world_model import WorldModel
from planet_roller.policy import RandomPolicy

CONTEXT = 5
PREDICTED = 45
_FIRST_START = 500_000  # seeds of starts that are neither trained on nor evaluated on


def films(count: int) -> list[Episode]:
    """`count` episodes of CONTEXT + PREDICTED frames, pushed at random so that the point moves."""
    environment = PointPush(CONTEXT + PREDICTED - 1)
    policy = RandomPolicy(2, [2, 5, 10], np.random.default_rng(_FIRST_START))
    return [play(environment, policy, _FIRST_START + n, f"film-{n}") for n in range(count)]


@torch.inference_mode()
def predict(model: WorldModel, episode: Episode) -> NDArray[np.uint8]:
    """Frames CONTEXT, CONTEXT + 1, ... from the first CONTEXT and all actions, [n, 64, 64 N, 3].

    States are the means of posterior and prior, the frames those of the decoder.
    """
    pictures = model.open_loop(
        torch.from_numpy(episode.images)[None],
        torch.from_numpy(episode.action)[None],
        CONTEXT,
        torch.Generator().manual_seed(0),
    )
    if pictures is None:
        raise ValueError("open loop: the weights hold no decoder")
    return np.asarray(pictures[0, CONTEXT:], np.uint8)


def seen(model: WorldModel, episode: Episode) -> NDArray[np.uint8]:
    """All frames in the model's colours (the middle of each of its steps), [T + 1, 64, 64 N, 3]."""
    lost = 8 - model.config.bit_depth
    return np.asarray((episode.images >> lost << lost) + (1 << lost >> 1), np.uint8)


def prediction_errors(
    model: WorldModel, episodes: list[Episode]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean squared error of the colours, in [0, 1], at each of the PREDICTED frames: two arrays.

    The model's, and that of saying that the last frame of the context stays as it is.
    """
    ours, stays = [], []
    for episode in episodes:
        truth = seen(model, episode) / 255.0
        ours.append(np.square(predict(model, episode) / 255.0 - truth[CONTEXT:]).mean((1, 2, 3)))
        stays.append(np.square(truth[CONTEXT - 1] - truth[CONTEXT:]).mean((1, 2, 3)))
    return np.stack(ours).mean(0, np.float64), np.stack(stays).mean(0, np.float64)
