"""Episodes for tests and benchmarks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from planet_core.episode import Episode
from planet_core.episode_format import IMAGE_SIZE


def make_episode(
    name: str = "e",
    policy: str = "random",
    steps: int = 3,
    *,
    cameras: int = 1,
    actions: int = 2,
    joints: int = 2,
    seed: int | None = None,
    **changes: Any,
) -> Episode:
    """Return an episode of T = `steps` decisions that ends by running out of time.

    Without a seed every row can be told by its values: row t's image is all t mod 256, its reward
    t, its action t / T, and joint j is at t + j / 10 rad. With one, all of that is random.

    Args:
        changes: fields of the episode that are replaced.
    """
    row = np.arange(steps + 1)
    shape = (steps + 1, IMAGE_SIZE, IMAGE_SIZE * cameras, 3)
    if seed is None:
        images = np.broadcast_to((row % 256).astype(np.uint8)[:, None, None, None], shape).copy()
        action = np.repeat((row / steps).astype(np.float32)[:, None], actions, 1)
        reward: npt.NDArray[np.float32] = row.astype(np.float32)
        position = (row[:, None] + np.arange(joints) / 10).astype(np.float32)
    else:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, shape, np.uint8)
        action = rng.uniform(-1, 1, (steps + 1, actions)).astype(np.float32)
        action[0] = 0.0
        reward = np.asarray(row / (steps + 1), np.float32)
        position = rng.uniform(0.5, 1, (steps + 1, joints)).astype(np.float32)
    no = np.zeros(steps + 1, np.bool_)
    episode = Episode(
        id=name,
        robot="robot",
        policy=policy,
        weights_version=0,
        images=images,
        action=action,
        reward=reward,
        reward_valid=row > 0,
        terminated=no,
        truncated=row == steps,
        touched=no,
        position=position,
        velocity=-position,
        applied_effort=position,
        stamp=row * np.int64(50_000_000),
        missed_ticks=np.zeros(steps + 1, np.uint16),
        metadata={
            "cameras": json.dumps([f"camera_{i}" for i in range(cameras)]),
            "action_names": json.dumps([f"m{i}" for i in range(actions)]),
            "state_names": json.dumps([f"m{i}" for i in range(joints)]),
            "control_period": "0.05",
            "action_repeat": "1",
            "seed": "0",
            "created": "0.0",
        },
    )
    return replace(episode, **changes)
