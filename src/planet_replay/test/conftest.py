"""An episode to store: small, valid, and every row of it known by its image."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from planet_model.episode import Episode


def build(
    name: str = "e", steps: int = 3, policy: str = "random", cameras: int = 1, actions: int = 2
) -> Episode:
    """Row t's image is all t, its reward t, its action t / steps; joint j is at t + j / 10."""
    rows = np.arange(steps + 1)
    images = np.broadcast_to(
        rows.astype(np.uint8)[:, None, None, None], (steps + 1, 64, 64 * cameras, 3)
    )
    joints = (rows[:, None] + np.arange(6) / 10).astype(np.float32)
    return Episode(
        id=name,
        robot="ergojr",
        policy=policy,
        weights_version=7,
        metadata={
            "cameras": json.dumps([f"camera_{i}" for i in range(cameras)]),
            "action_names": json.dumps([f"m{i}" for i in range(actions)]),
            "state_names": json.dumps([f"m{i}" for i in range(6)]),
            "control_period": "0.05",
            "action_repeat": "1",
            "seed": "0",
            "created": "1700000000.0",
        },
        images=np.ascontiguousarray(images),
        action=np.repeat((rows / steps).astype(np.float32)[:, None], actions, 1),
        reward=rows.astype(np.float32),
        reward_valid=rows > 0,
        terminated=rows == steps,
        truncated=np.zeros(steps + 1, bool),
        touched=rows == steps,
        position=joints,
        velocity=-joints,
        applied_effort=joints,
        stamp=rows * np.int64(50_000_000),
        missed_ticks=np.zeros(steps + 1, np.uint16),
    )


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return build
