"""Who chooses the actions: random for the seed episodes, the planner once weights exist.

Weights come as data (see planet_model.weights), are checked before anything is built of them, and
are swapped whole, between episodes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from planet_core.robot_spec import RobotSpec
from planet_core.weights import Weights
from planet_model.agent import Agent
from planet_model.config import ModelConfig, PlannerConfig
from planet_model.planner import PlanningError, TimeLeft
from planet_model.weights import WeightsError, architecture_hash, load
from planet_model.world_model import WorldModel

Action = npt.NDArray[np.float32]
State = npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class Search:
    """How an action was found."""

    planner: str
    """Precision, instruction set or device, and threads; empty where nothing was searched."""
    iterations: int
    candidates: int
    """Of each iteration."""


def computes(agent: Agent) -> str:
    """What an agent's plans are computed by: precision, instruction set or device, threads."""
    threads = torch.get_num_threads()
    return f"{agent.planner.title}, {threads} thread{'s' if threads > 1 else ''}"


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
        self,
        images: npt.NDArray[np.uint8],
        previous: Action,
        state: State = None,
        time_left: TimeLeft | None = None,
    ) -> Action:
        """The action, float32 [A] in [-1, 1], on images uint8 [64, 64 N, 3]. Raises PolicyError.

        `previous` is the action before, [A], zero at the first step; `state` is the joints'
        positions (rad) | velocities (rad/s), [2 J], if they are known.
        """

    def search(self) -> Search:
        """What the last action was found by."""

    def prediction(self) -> npt.NDArray[np.uint8] | None:
        """An image of what is seen, reconstructed and imagined, if there is one."""


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
        self._left = 0
        self._action: Action = np.zeros(self._size, np.float32)

    def act(
        self,
        images: npt.NDArray[np.uint8],
        previous: Action,
        state: State = None,
        time_left: TimeLeft | None = None,
    ) -> Action:
        if self._left == 0:
            self._left = int(self._rng.choice(self._holds))
            self._action = self._rng.uniform(-1.0, 1.0, self._size).astype(np.float32)
        self._left -= 1
        return self._action

    def search(self) -> Search:
        return Search("", 0, 0)

    def prediction(self) -> None:
        return None


class PlannerPolicy:
    """Belief and planner of an agent; `noise` is the standard deviation of the exploration."""

    def __init__(self, agent: Agent, version: int, noise: float, *, evaluation: bool) -> None:
        self._agent = agent
        self._noise = 0.0 if evaluation else noise
        self.kind = "evaluation" if evaluation else "planner"
        self.weights_version = version

    def reset(self) -> None:
        self._agent.reset()

    def act(
        self,
        images: npt.NDArray[np.uint8],
        previous: Action,
        state: State = None,
        time_left: TimeLeft | None = None,
    ) -> Action:
        try:
            action = self._agent.act(images, previous, self._noise, state, time_left)
        except (PlanningError, ValueError) as error:
            raise PolicyError(str(error)) from error
        if not np.isfinite(action).all():
            raise PolicyError(
                f"the planner's action is not finite with weights {self.weights_version}"
            )
        return action

    def search(self) -> Search:
        planner = self._agent.planner
        candidates = planner.config.candidates if planner.iterations else 0
        return Search(computes(self._agent), planner.iterations, candidates)

    def prediction(self) -> npt.NDArray[np.uint8] | None:
        return self._agent.prediction()


def load_agent(
    weights: Weights,
    spec: RobotSpec,
    planner: PlannerConfig,
    device: str,
    seed: int,
    present: Agent | None = None,
) -> Agent:
    """An agent with these weights: the `present` one, where they fit it, or a new one.

    Raises WeightsRefusedError when they do not fit; the present agent is then as it was.
    """
    where = f"weights {weights.version} of run {weights.run_id}"
    try:
        config = ModelConfig.from_dict(json.loads(weights.config_json)["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsRefusedError(f"{where}: the configuration cannot be read: {error}") from error
    expected = architecture_hash(config)
    if weights.architecture_hash != expected:
        raise WeightsRefusedError(
            f"{where}: architecture {weights.architecture_hash}, but their configuration makes "
            f"{expected} here: learner and roller are of different releases"
        )
    if config.cameras != spec.cameras:
        raise WeightsRefusedError(
            f"{where}: trained on cameras {', '.join(config.cameras)}, "
            f"but {spec.name} has {', '.join(spec.cameras)}"
        )
    if config.action_size != spec.action_size:
        raise WeightsRefusedError(
            f"{where}: trained on {config.action_size} actions, but {spec.name} has "
            f"{spec.action_size}"
        )
    if config.state_size not in (0, 2 * len(spec.state_names)):
        raise WeightsRefusedError(
            f"{where}: trained on the positions and velocities of {config.state_size // 2} joints, "
            f"but {spec.name} has {len(spec.state_names)}"
        )
    try:
        model = load(weights.data, config).to(device)
        if present is not None and _fits(model, present):
            present.adopt(model, seed)
            return present
        return Agent(model, planner, seed)
    except (WeightsError, ValueError) as error:
        raise WeightsRefusedError(f"{where}: {error}") from error


def _fits(model: WorldModel, agent: Agent) -> bool:
    """Whether an agent can take a model's weights in place: some come without decoders."""
    there = agent.model
    return there.config == model.config and there.state_dict().keys() == model.state_dict().keys()
