"""Who chooses the actions: random for the seed episodes, an actor once weights exist.

Weights come as data, are checked before anything is built of them, and are swapped whole, between
episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from planet_core.method import (
    NO_SEARCH,
    ActingError,
    Action,
    Actor,
    Image,
    Inputs,
    MethodError,
    Observation,
    Search,
    Settings,
    TimeLeft,
    find,
    method_of,
)
from planet_core.robot_spec import RobotSpec
from planet_core.weights import Weights, WeightsError


class PolicyError(Exception):
    """No action could be chosen; one sentence says why. The episode is given up."""


class WeightsRefusedError(Exception):
    """Weights that do not fit this robot or this program; one sentence says why."""


class Policy(Protocol):
    """Chooses the actions of one episode after the other."""

    @property
    def kind(self) -> str:
        """What an episode's `policy` says: random, planner or evaluation."""

    @property
    def weights_version(self) -> int:
        """0 = none."""

    def reset(self) -> None:
        """Begin an episode."""

    def act(
        self, observation: Observation, previous: Action, time_left: TimeLeft | None = None
    ) -> Action:
        """Return the action on an observation. Raises PolicyError.

        `previous` is the action before, [A], zero at the first step.
        """

    def search(self) -> Search:
        """Return how the last action was found."""

    def prediction(self) -> Image | None:
        """Return what was seen, reconstructed and imagined, if there is a picture of it."""


class RandomPolicy:
    """Uniform actions, each held for a number of decisions that is drawn from `holds`."""

    kind = "random"
    weights_version = 0

    def __init__(self, action_size: int, holds: Sequence[int], rng: np.random.Generator) -> None:
        self._size = action_size
        self._holds = tuple(holds)
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        """Hold no action over from the last episode."""
        self._left = 0
        self._action: Action = np.zeros(self._size, np.float32)

    def act(
        self, observation: Observation, previous: Action, time_left: TimeLeft | None = None
    ) -> Action:
        """See :class:`Policy`; nothing is looked at."""
        if self._left == 0:
            self._left = int(self._rng.choice(self._holds))
            self._action = self._rng.uniform(-1.0, 1.0, self._size).astype(np.float32)
        self._left -= 1
        return self._action

    def search(self) -> Search:
        """Nothing was searched."""
        return NO_SEARCH

    def prediction(self) -> None:
        """Nothing is predicted."""
        return


class ActorPolicy:
    """An actor with one version of weights, which explores unless it is evaluated."""

    def __init__(self, actor: Actor, version: int, *, evaluation: bool) -> None:
        self._actor = actor
        self._explore = not evaluation
        self.kind = "evaluation" if evaluation else "planner"
        self.weights_version = version

    def reset(self) -> None:
        """See :class:`Policy`."""
        self._actor.reset()

    def act(
        self, observation: Observation, previous: Action, time_left: TimeLeft | None = None
    ) -> Action:
        """See :class:`Policy`; an action that is not finite never leaves the policy."""
        try:
            action = self._actor.act(observation, previous, self._explore, time_left)
        except ActingError as error:
            raise PolicyError(str(error)) from error
        if not np.isfinite(action).all():
            raise PolicyError(
                f"the planner's action is not finite with weights {self.weights_version}"
            )
        return action

    def search(self) -> Search:
        """See :class:`Policy`."""
        return self._actor.search()

    def prediction(self) -> Image | None:
        """See :class:`Policy`."""
        return self._actor.prediction()


def load_actor(
    weights: Weights,
    spec: RobotSpec,
    settings: Settings,
    device: str,
    seed: int,
    present: Actor | None = None,
) -> Actor:
    """Return an actor with these weights: the `present` one, where they fit it, or a new one.

    Raises WeightsRefusedError when they do not fit; the present actor is then as it was.
    """
    robot = Inputs(spec.cameras, spec.action_size, 2 * len(spec.state_names))
    try:
        method = find(method_of(weights))
        return method.load_actor(weights, settings, robot, device, seed, present)
    except (MethodError, WeightsError) as error:
        where = f"weights {weights.version} of run {weights.run_id}"
        raise WeightsRefusedError(f"{where}: {error}") from error
