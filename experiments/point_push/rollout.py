"""Episodes of a policy in the point's world, as the rest of the suite stores them."""

from __future__ import annotations

import json
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.point_push.environment import CAMERAS, CONTROL_PERIOD, PointPush, oracle_action
from planet_core.episode import Episode
from planet_core.method import Action, Observation


class Acting(Protocol):
    """What plays: a policy of the roller's, or one that knows the world."""

    @property
    def kind(self) -> str:
        """What an episode's `policy` says."""

    @property
    def weights_version(self) -> int:
        """0 = none."""

    def reset(self) -> None:
        """Begin an episode."""

    def act(self, observation: Observation, previous: Action) -> Action:
        """The action on an observation, after the previous one."""


class OraclePolicy:
    """Knows the state of `environment` and pushes as :func:`oracle_action` says."""

    kind = "demonstration"
    weights_version = 0

    def __init__(self, environment: PointPush) -> None:
        self._environment = environment

    def reset(self) -> None:
        """The oracle remembers nothing."""

    def act(self, observation: Observation, previous: Action) -> Action:
        """Look at the world, not at the observation."""
        world = self._environment
        return oracle_action(world.position, world.velocity, world.goal).astype(np.float32)


def play(environment: PointPush, policy: Acting, seed: int, name: str) -> Episode:
    """The episode `name` that `policy` makes of the start that `seed` draws."""
    policy.reset()
    image, _ = environment.reset(seed=seed)
    action: NDArray[np.float32] = np.zeros(2, np.float32)
    images, actions, rewards = [image], [action], [0.0]
    position, velocity = [environment.position], [environment.velocity]
    truncated = False
    while not truncated:
        action = policy.act(Observation(image), action)
        image, reward, _, truncated, _ = environment.step(action)
        images.append(image)
        actions.append(action)
        rewards.append(reward)
        position.append(environment.position)
        velocity.append(environment.velocity)
    rows = len(images)
    last = np.arange(rows) == rows - 1
    return Episode(
        id=name,
        robot="point",
        policy=policy.kind,
        weights_version=policy.weights_version,
        images=np.stack(images),
        action=np.stack(actions),
        reward=np.array(rewards, np.float32),
        reward_valid=np.arange(rows) > 0,
        terminated=np.zeros(rows, np.bool_),
        truncated=last,
        touched=np.zeros(rows, np.bool_),
        position=np.array(position, np.float32),
        velocity=np.array(velocity, np.float32),
        applied_effort=np.zeros((rows, 2), np.float32),
        stamp=np.arange(rows, dtype=np.int64) * round(CONTROL_PERIOD * 1e9),
        missed_ticks=np.zeros(rows, np.uint16),
        metadata={
            "cameras": json.dumps(CAMERAS),
            "action_names": json.dumps(["x", "y"]),
            "state_names": json.dumps(["x", "y"]),
            "control_period": str(CONTROL_PERIOD),
            "action_repeat": "1",
            "seed": str(seed),
            "created": "0",
        },
    )
