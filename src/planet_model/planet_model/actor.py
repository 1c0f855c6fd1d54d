"""PlaNet's actor: an agent that keeps pace, explores, and adopts newer weights."""

from __future__ import annotations

import json

from planet_core.clocks import Clock
from planet_core.method import (
    ActingError,
    Action,
    Actor,
    Image,
    Inputs,
    Observation,
    Search,
    Settings,
    TimeLeft,
    setting_of,
)
from planet_core.weights import Weights, WeightsError
from planet_model.agent import Agent
from planet_model.config import ExplorationConfig, ModelConfig, PlannerConfig
from planet_model.pace import Pace, budget, computes, fit
from planet_model.planner import PlanningError
from planet_model.weights import architecture_hash, load
from planet_model.world_model import WorldModel


class PlanetActor:
    """See :class:`planet_core.method.Actor`.

    Args:
        exploration_noise: standard deviation of the noise on planned actions.
    """

    def __init__(self, agent: Agent, exploration_noise: float) -> None:
        self.agent = agent
        self._noise = exploration_noise
        self._asked = agent.planner.config  # the budget before it was fitted
        self._pace: Pace | None = None
        self._paced = ""  # what computed when the pace was measured
        self._decision = 0.0  # s

    @property
    def warning(self) -> str:
        """Why the fast path is not taken, if it is not."""
        return self.agent.planner.warning

    def reset(self) -> None:
        """Begin an episode with the zero belief."""
        self.agent.reset()

    def pace(self, decision: float | None, clock: Clock) -> str:
        """Fit the planner's budget; it is measured once, and anew when something else computes."""
        found = computes(self.agent)
        if decision is None:
            return f"{found}: {budget(self.agent.planner.config)}"
        if self._pace is None or found != self._paced or decision != self._decision:
            self.agent.planner.config = self._asked
            self._pace = fit(self.agent, decision, clock)
            self._paced, self._decision = found, decision
        return self._pace.text

    def observe(self, observation: Observation, previous: Action) -> None:
        """Take the belief on."""
        try:
            self.agent.observe(observation.images, previous, observation.state)
        except ValueError as error:
            raise ActingError(str(error)) from error

    def act(
        self,
        observation: Observation,
        previous: Action,
        explore: bool,
        time_left: TimeLeft | None = None,
    ) -> Action:
        """Take the belief on and plan, until the deadline's share of a decision is over."""
        noise = self._noise if explore else 0.0
        left = None if time_left is None else self._until_deadline(time_left)
        try:
            return self.agent.act(observation.images, previous, noise, observation.state, left)
        except (PlanningError, ValueError) as error:
            raise ActingError(str(error)) from error

    def _until_deadline(self, time_left: TimeLeft) -> TimeLeft:
        rest = (1.0 - self.agent.planner.config.deadline) * self._decision
        return lambda: time_left() - rest

    def search(self) -> Search:
        """Return what computed the last plan, and its budget."""
        planner = self.agent.planner
        candidates = planner.config.candidates if planner.iterations else 0
        return Search(computes(self.agent), planner.iterations, candidates)

    def prediction(self) -> Image | None:
        """See :meth:`planet_model.agent.Agent.prediction`."""
        return self.agent.prediction()


def load_actor(
    weights: Weights,
    settings: Settings,
    robot: Inputs,
    device: str,
    seed: int,
    present: Actor | None,
) -> Actor:
    """See :class:`planet_core.method.Method`."""
    try:
        config = ModelConfig.from_dict(json.loads(weights.config_json)["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"the configuration cannot be read: {error}") from error
    _check(weights, config, robot)
    try:
        model = load(weights.data, config).to(device)
        if isinstance(present, PlanetActor) and _fits(model, present.agent):
            present.agent.adopt(model, seed)
            return present
        planner = setting_of(settings, "planner", PlannerConfig)
        noise = setting_of(settings, "", ExplorationConfig).exploration_noise
        return PlanetActor(Agent(model, planner, seed), noise)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _check(weights: Weights, config: ModelConfig, robot: Inputs) -> None:
    expected = architecture_hash(config)
    if weights.architecture_hash != expected:
        raise WeightsError(
            f"architecture {weights.architecture_hash}, but their configuration makes "
            f"{expected} here: learner and roller are of different releases"
        )
    if config.cameras != robot.cameras:
        raise WeightsError(
            f"trained on cameras {', '.join(config.cameras)}, "
            f"but the robot has {', '.join(robot.cameras) or 'none'}"
        )
    if config.action_size != robot.action_size:
        raise WeightsError(
            f"trained on {config.action_size} actions, but the robot has {robot.action_size}"
        )
    if config.state_size not in (0, robot.state_size):
        raise WeightsError(
            f"trained on the positions and velocities of {config.state_size // 2} joints, "
            f"but the robot has {robot.state_size // 2}"
        )


def _fits(model: WorldModel, agent: Agent) -> bool:
    """Whether an agent can take a model's weights in place: some come without decoders."""
    there = agent.model
    return there.config == model.config and there.state_dict().keys() == model.state_dict().keys()
