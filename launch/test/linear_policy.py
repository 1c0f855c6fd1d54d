"""A second method, for tests: a linear policy by random search, without cameras and PyTorch.

The policy is a matrix from joint positions, velocities and a one to actions. The search fits it to
the actions that were rewarded most: a random step is kept when the loss on a batch falls by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from planet_core.clocks import Clock
from planet_core.config import Config, setting
from planet_core.experience import Experience
from planet_core.method import (
    NO_SEARCH,
    ActingError,
    Action,
    Actor,
    Inputs,
    Method,
    MethodError,
    Observation,
    Search,
    Settings,
    State,
    TimeLeft,
    Trainer,
    config_json,
    setting_of,
)
from planet_core.weights import Weights, WeightsError

Matrix = npt.NDArray[np.float32]
"""[A, P + 1]: from a state and a one to an action."""


@dataclass(frozen=True)
class SearchConfig(Config):
    """How the matrix is searched for."""

    batch: int = setting(256, "Decisions that a step is judged by.", low=1)
    step: float = setting(0.05, "Standard deviation of a step.", low=0.0)
    temperature: float = setting(1.0, "Reward that makes a decision weigh e times more.", low=1e-6)


@dataclass(frozen=True)
class NoiseConfig(Config):
    """How the policy explores."""

    noise: float = setting(0.3, "Standard deviation of the noise on actions.", low=0.0)


class LinearTrainer:
    """See :class:`planet_core.method.Trainer`."""

    title = "float32 by NumPy, 1 thread"

    def __init__(self, robot: Inputs, config: SearchConfig, seed: int) -> None:
        self.inputs = Inputs((), robot.action_size, robot.state_size)
        self.configuration: dict[str, dict[str, Any]] = {"search": config.to_dict()}
        self._config = config
        self._rng = np.random.default_rng(seed)
        shape = (robot.action_size, robot.state_size + 1)
        self._matrix: Matrix = self._rng.normal(size=shape).astype(np.float32)

    def update(self, experience: Experience) -> dict[str, float]:
        """Try one step."""
        draw = experience.draw(self._config.batch, 2, self._rng, clipped_starts=False)
        rows = experience.rows()
        before, after = draw.rows.T  # row t holds o_t and a_{t-1}
        state = np.column_stack([rows["state"][before], np.ones(len(before), np.float32)])
        action, reward = rows["action"][after], rows["reward"][after]
        weight = np.exp((reward - reward.max()) / self._config.temperature)
        weight = weight * rows["reward_valid"][after] / weight.sum()

        def loss(matrix: Matrix) -> float:
            return float(weight @ ((state @ matrix.T - action) ** 2).mean(1))

        step = self._rng.normal(0.0, self._config.step, self._matrix.shape).astype(np.float32)
        now, then = loss(self._matrix), loss(self._matrix + step)
        if then < now:
            self._matrix = self._matrix + step
        return {"linear_loss": min(now, then), "accepted": float(then < now)}

    def held_out(self, experience: Experience) -> dict[str, float]:
        """Nothing is measured."""
        return {}

    def weights(self, full: bool) -> Weights:
        """The matrix."""
        data = safetensors.numpy.save({"matrix": self._matrix})
        return Weights(_hash(self.inputs), config_json("linear", self), data)

    def state(self) -> State:
        """The matrix, and the generator."""
        return State({"matrix": self._matrix}, {"rng": self._rng.bit_generator.state})

    def load_state(self, state: State) -> None:
        """See :class:`planet_core.method.Trainer`."""
        if state.tensors["matrix"].shape != self._matrix.shape:
            raise MethodError(f"the matrix has the shape {state.tensors['matrix'].shape}")
        self._matrix = state.tensors["matrix"].astype(np.float32)
        self._rng.bit_generator.state = state.values["rng"]


class LinearActor:
    """See :class:`planet_core.method.Actor`."""

    warning = ""

    def __init__(self, matrix: Matrix, noise: float, seed: int) -> None:
        self._matrix = matrix
        self._noise = noise
        self._rng = np.random.default_rng(seed)

    def reset(self) -> None:
        """Nothing is remembered."""

    def pace(self, decision: float | None, clock: Clock) -> str:
        """It is always fast enough."""
        return "one matrix"

    def observe(self, observation: Observation, previous: Action) -> None:
        """Nothing is remembered."""

    def act(
        self,
        observation: Observation,
        previous: Action,
        explore: bool,
        time_left: TimeLeft | None = None,
    ) -> Action:
        """Multiply."""
        if observation.state is None:
            raise ActingError("there is no joint state")
        action = self._matrix @ np.append(observation.state, np.float32(1.0))
        if explore:
            action = action + self._rng.normal(0.0, self._noise, action.shape)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def search(self) -> Search:
        """Nothing is searched."""
        return NO_SEARCH

    def prediction(self) -> None:
        """Nothing is predicted."""
        return


def prepare(device: str, threads: int) -> None:
    """NumPy is ready, and so small a matrix takes one thread, whatever is asked for."""


def make_trainer(settings: Settings, robot: Inputs, device: str, seed: int) -> Trainer:
    """See :class:`planet_core.method.Method`."""
    return LinearTrainer(robot, setting_of(settings, "search", SearchConfig), seed)


def load_actor(
    weights: Weights,
    settings: Settings,
    robot: Inputs,
    device: str,
    seed: int,
    present: Actor | None,
) -> Actor:
    """See :class:`planet_core.method.Method`."""
    if weights.architecture_hash != _hash(robot):
        raise WeightsError(f"{weights.architecture_hash}, but the robot is {_hash(robot)}")
    try:
        matrix = safetensors.numpy.load(weights.data)["matrix"].astype(np.float32)
    except (SafetensorError, KeyError) as error:
        raise WeightsError(f"there is no matrix: {error}") from error
    return LinearActor(matrix, setting_of(settings, "linear", NoiseConfig).noise, seed)


def _hash(robot: Inputs) -> str:
    return f"linear {robot.action_size} x {robot.state_size}"


METHOD = Method(
    training={"search": SearchConfig},
    acting={"linear": NoiseConfig},
    prepare=prepare,
    make_trainer=make_trainer,
    load_actor=load_actor,
)
