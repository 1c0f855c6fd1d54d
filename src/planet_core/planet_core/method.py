"""The method's seam: what acts, what learns, and how both are had by the method's name.

A package that brings a method names its :class:`Method` in its setup.py under the entry point group
``robo_planet.methods``. The learner has the name as its parameter `method`; the weights carry it,
so that a roller needs none. Graph, replay, robots and experiments know no method.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_core.config import Config
from planet_core.experience import Experience
from planet_core.weights import Weights, WeightsError

GROUP = "robo_planet.methods"
DEFAULT = "planet"
"""The method of weights and checkpoints that name none."""

Action = npt.NDArray[np.float32]
"""[A] in [-1, 1]."""
Image = npt.NDArray[np.uint8]
"""[H, W, 3] RGB."""
Settings = Mapping[str, Config]
"""Configurations by the prefix of their parameters: ``planner`` of ``planner.horizon``."""
TimeLeft = Callable[[], float]
"""Seconds until the decision's time is over."""

C = TypeVar("C", bound=Config)


class MethodError(ValueError):
    """A method, or what is asked of it, is not there; one sentence says what is."""


class ActingError(Exception):
    """No action could be chosen; one sentence says why."""


class TooSlowError(Exception):
    """Not even the least that an actor can do fits into a decision's time; one sentence."""


@dataclass(frozen=True)
class Inputs:
    """What a robot shows, and what a method may read of it."""

    cameras: tuple[str, ...]
    """In the order in which their images stand side by side; there may be none."""
    action_size: int
    """A, the number of values in an action."""
    state_size: int
    """Positions and velocities of all joints, 2 J; 0 without any."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """Return what :func:`dataclasses.asdict` wrote, of an object that may hold more.

        Raises KeyError.
        """
        return cls(tuple(values["cameras"]), values["action_size"], values["state_size"])


@dataclass(frozen=True)
class Observation:
    """What an actor sees of one step."""

    images: npt.NDArray[np.uint8]
    """uint8 [64, 64 N, 3] RGB, the N cameras side by side in the robot's order; N may be 0."""
    state: npt.NDArray[np.float32] | None = None
    """Joint positions (rad) | velocities (rad/s), [2 J]; None without joint states."""


@dataclass(frozen=True)
class Search:
    """How an action was found."""

    planner: str
    """Precision, instruction set or device, and threads; empty where nothing was searched."""
    iterations: int
    candidates: int
    """Of each iteration."""


NO_SEARCH = Search("", 0, 0)


class Actor(Protocol):
    """Acts with one set of weights; knows no ROS. Not safe for use by two threads at once."""

    @property
    def warning(self) -> str:
        """What the operator should know of how it computes; empty when all is well."""

    def reset(self) -> None:
        """Begin an episode."""

    def pace(self, decision: float | None, clock: Clock) -> str:
        """Fit into `decision` (s), the time of a decision; None: it takes as long as it takes.

        Returns what was chosen, for people. Raises :class:`TooSlowError`.
        """

    def observe(self, observation: Observation, previous: Action) -> None:
        """Take notice of o_t and a_{t-1} without acting. Raises :class:`ActingError`."""

    def act(
        self,
        observation: Observation,
        previous: Action,
        explore: bool,
        time_left: TimeLeft | None = None,
    ) -> Action:
        """Take notice of o_t and a_{t-1} and return a_t; `previous` is zero at the first step.

        Raises :class:`ActingError`.
        """

    def search(self) -> Search:
        """Return how the last action was found."""

    def prediction(self) -> Image | None:
        """Return what was seen, reconstructed and imagined; None where there is nothing to show."""


@dataclass(frozen=True)
class State:
    """All that a trainer's next update depends on."""

    tensors: dict[str, npt.NDArray[np.generic]]
    values: dict[str, Any]
    """JSON."""


class Trainer(Protocol):
    """Learns from the experience; knows no ROS."""

    @property
    def inputs(self) -> Inputs:
        """What the experience is to hold: the robot's cameras or none, its joints or none."""

    @property
    def title(self) -> str:
        """What computes: precision, instruction set or device, threads."""

    @property
    def configuration(self) -> dict[str, dict[str, Any]]:
        """What the meaning of the weights depends on, as JSON: configurations by prefix."""

    def update(self, experience: Experience) -> Mapping[str, float]:
        """Make one update and return its losses by name, always the same names.

        An update whose numbers are not all finite has changed no weight.
        """

    def held_out(self, experience: Experience) -> Mapping[str, float]:
        """Return losses on evaluation episodes by name, none without one; nothing is learnt."""

    def weights(self, full: bool) -> Weights:
        """Return the weights as they are now; `full`: with what acting does not need."""

    def state(self) -> State:
        """Return a copy of the state, which the next update does not change."""

    def load_state(self, state: State) -> None:
        """Go on from a state. Raises :class:`MethodError` when it is another trainer's."""


@dataclass(frozen=True)
class Method:
    """How a method is had. All functions raise MethodError or ValueError, one sentence."""

    training: Mapping[str, type[Config]]
    """The learner's parameters of this method, by prefix; "" for those without one. Learner and
    roller declare those of all methods: two with the same prefix must have the same type there."""
    acting: Mapping[str, type[Config]]
    """The roller's, likewise."""
    prepare: Callable[[str, int], None]
    """Makes this process ready to compute on a device, with so many threads on the CPU."""
    make_trainer: Callable[[Settings, Inputs, str, int], Trainer]
    """From settings, the robot's inputs, the device and a seed."""
    load_actor: Callable[[Weights, Settings, Inputs, str, int, Actor | None], Actor]
    """From weights, settings, the robot's inputs, the device, a seed, and the actor that there is,
    which adopts the weights where they fit it. Raises WeightsError; the actor is then as before."""


def methods() -> dict[str, Method]:
    """Return all methods that are installed, by name. Raises MethodError."""
    return {point.name: _load(point) for point in sorted(set(entry_points(group=GROUP)))}


def find(name: str) -> Method:
    """Return the method of that name. Raises MethodError."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _load(point)
    names = ", ".join(sorted({point.name for point in entry_points(group=GROUP)})) or "none"
    raise MethodError(f"there is no method '{name}'; installed: {names}")


def training_parameters() -> dict[str, type[Config]]:
    """Return what the learner can be told of all methods, by prefix. Raises MethodError."""
    return _parameters({name: method.training for name, method in methods().items()})


def acting_parameters() -> dict[str, type[Config]]:
    """Return what the roller can be told of all methods, by prefix. Raises MethodError."""
    return _parameters({name: method.acting for name, method in methods().items()})


def _parameters(kinds: Mapping[str, Mapping[str, type[Config]]]) -> dict[str, type[Config]]:
    """The configurations of all methods, by prefix."""
    found: dict[str, type[Config]] = {}
    for name, of_method in kinds.items():
        for prefix, kind in of_method.items():
            if found.setdefault(prefix, kind) is not kind:
                raise MethodError(
                    f"the method '{name}' declares '{prefix}.*' as {kind.__name__}, which another "
                    f"one declares as {found[prefix].__name__}"
                )
    return found


def setting_of(settings: Settings, prefix: str, kind: type[C]) -> C:
    """Return the settings under `prefix`, which are of this kind; the defaults without any."""
    found = settings.get(prefix)
    return found if isinstance(found, kind) else kind()


def config_json(method: str, trainer: Trainer) -> str:
    """Return what weights say of themselves: the method, and the configuration."""
    return json.dumps({"method": method, **trainer.configuration}, sort_keys=True)


def method_of(weights: Weights) -> str:
    """Return the name of the method that the weights are of. Raises WeightsError."""
    try:
        return str(json.loads(weights.config_json).get("method", DEFAULT))
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"the configuration cannot be read: {error}") from error


def as_values(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs as JSON types."""
    return asdict(inputs) | {"cameras": list(inputs.cameras)}


def _load(point: Any) -> Method:
    try:
        method = point.load()
    except (ImportError, AttributeError) as error:
        raise MethodError(f"the method '{point.name}' cannot be loaded: {error}") from error
    if not isinstance(method, Method):
        raise MethodError(f"the method '{point.name}' is no Method: {point.value}")
    return method
