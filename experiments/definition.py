"""What an experiment's YAML file says: methods x seeds, and how each run is made and judged.

[README.md](README.md) explains the fields.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.parameters import NODES, unknown
from experiments.words import listed

CHOICES: dict[str, tuple[str, ...]] = {
    "profile": ("laptop", "paper", "test"),
    "mode": ("async", "sync"),
    "control": ("torque", "position"),
    "collect_interval": (),
    "real_time_factor": (),
    "roller_device": (),
    "learner_device": (),
    "roller_threads": (),
    "learner_threads": (),
}
"""Arguments of sim.launch.py that an experiment may set, and their values where they are few."""
DEFAULTS = {"learner": {"checkpoint_seconds": 20.0}}
"""Parameters laid over the profile: what is evaluated is a checkpoint, at most so old."""
OWN = ("config", "data_dir", "minutes", "seed")
"""Arguments of sim.launch.py that the runner sets."""


class DefinitionError(ValueError):
    """The file is not an experiment; the message is one sentence."""


@dataclass(frozen=True)
class Evaluation:
    """How a run's checkpoints are judged, without noise and off the training's clock."""

    every: float
    """Training time between the checkpoints that are evaluated, min."""
    episodes: int
    final_episodes: int
    """Of the last checkpoint."""
    seed: int
    """Of the first episode's reset; the n-th has this plus n, at each evaluation."""


@dataclass(frozen=True)
class Definition:
    """One run: everything that decides what comes out of it."""

    method: str
    seed: int
    minutes: float
    launch: Mapping[str, str | int | float]
    """Arguments of sim.launch.py."""
    parameters: Mapping[str, Mapping[str, Any]]
    """ROS parameters by node, laid over the profile."""
    evaluation: Evaluation

    @property
    def title(self) -> str:
        """What people call the run."""
        return f"{self.method}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """Where the run lies in the results."""
        return f"{slug(self.method)}/seed_{self.seed}"

    @property
    def real_time_factor(self) -> float:
        """0 is lockstep."""
        return float(self.launch.get("real_time_factor", 0.0))

    @property
    def profile(self) -> str:
        """The profile that the run is launched with."""
        return str(self.launch.get("profile", "laptop"))

    def as_json(self) -> dict[str, Any]:
        """The definition as it comes back from JSON."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    def differing(self, made: Mapping[str, Any]) -> list[str]:
        """Names of what a run that was made with `made`, another's `as_json`, has otherwise."""
        asked = self.as_json()
        return [name for name in asked if asked[name] != made.get(name)]

    def ros_parameters(self) -> dict[str, Any]:
        """The parameters as a ROS parameter file has them."""
        return {
            NODES[node]: {"ros__parameters": dict(values)}
            for node, values in self.parameters.items()
        }


@dataclass(frozen=True)
class Experiment:
    """A comparison."""

    title: str
    methods: tuple[str, ...]
    runs: tuple[Definition, ...]
    """Seed by seed, so that a part of them already compares all methods."""
    parallel: int
    """Runs at once, each with its share of the cores."""
    keep: bool
    """Keep each run's episodes and all evaluated checkpoints."""


def load(path: Path, to_run: bool = True) -> Experiment:
    """Read and check a definition; raises DefinitionError with one sentence.

    Unless it is `to_run`, its parameters may have names that the nodes do not know (any more).
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DefinitionError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    try:
        experiment = _experiment(content)
        if to_run:
            _check_names(content)
    except DefinitionError as error:
        raise DefinitionError(f"{path}: {error}") from None
    return experiment


def slug(name: str) -> str:
    """The method's name as a folder's: `sync C = 10` is `sync_c_10`."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_.")


def _experiment(content: object) -> Experiment:
    top = _mapping(content, "the file")
    _only(
        top,
        "the file",
        required=("title", "minutes", "seeds", "evaluation", "methods"),
        optional=("launch", "parameters", "parallel", "keep"),
    )
    if not isinstance(top["title"], str) or not top["title"].strip():
        raise DefinitionError(f"title is {top['title']!r}, expected a text.")
    keep = top.get("keep", False)
    if not isinstance(keep, bool):
        raise DefinitionError(f"keep is {keep!r}, expected true or false.")
    methods = top["methods"]
    if not isinstance(methods, list) or not methods:
        raise DefinitionError("methods must be a list of at least one method.")
    evaluation = _evaluation(top["evaluation"])
    minutes = _number(top["minutes"], "minutes", above=0.0)
    common_launch = _launch(top.get("launch", {}), "launch")
    common_parameters = _laid_over(DEFAULTS, _parameters(top.get("parameters", {}), "parameters"))
    seeds = _seeds(top["seeds"], "seeds")
    by_method: dict[str, list[Definition]] = {}
    for index, item in enumerate(methods):
        where = f"methods[{index}]"
        method = _mapping(item, where)
        _only(
            method, where, required=("name",), optional=("launch", "parameters", "seeds", "minutes")
        )
        name = method["name"]
        if not isinstance(name, str) or not slug(name):
            raise DefinitionError(f"{where}.name is {name!r}, expected a text.")
        if slug(name) in map(slug, by_method):
            raise DefinitionError(f"two methods have the name {name!r}, or one like it.")
        launch = {**common_launch, **_launch(method.get("launch", {}), f"{where}.launch")}
        own = _parameters(method.get("parameters", {}), f"{where}.parameters")
        by_method[name] = [
            Definition(
                method=name,
                seed=seed,
                minutes=_number(method.get("minutes", minutes), f"{where}.minutes", above=0.0),
                launch=launch,
                parameters=_laid_over(common_parameters, own),
                evaluation=evaluation,
            )
            for seed in (_seeds(method["seeds"], f"{where}.seeds") if "seeds" in method else seeds)
        ]
    rounds = max(map(len, by_method.values()))
    return Experiment(
        title=top["title"].strip(),
        methods=tuple(by_method),
        runs=tuple(
            runs[turn] for turn in range(rounds) for runs in by_method.values() if turn < len(runs)
        ),
        parallel=_whole(top.get("parallel", 1), "parallel", low=1),
        keep=keep,
    )


def _evaluation(value: object) -> Evaluation:
    mapping = _mapping(value, "evaluation")
    _only(mapping, "evaluation", required=("every", "episodes", "final_episodes", "seed"))
    return Evaluation(
        every=_number(mapping["every"], "evaluation.every", above=0.0),
        episodes=_whole(mapping["episodes"], "evaluation.episodes", low=1),
        final_episodes=_whole(mapping["final_episodes"], "evaluation.final_episodes", low=1),
        seed=_whole(mapping["seed"], "evaluation.seed", low=0),
    )


def _launch(value: object, where: str) -> dict[str, str | int | float]:
    launch = _mapping(value, where)
    for name, setting in launch.items():
        if name in OWN:
            raise DefinitionError(f"{where}.{name} is for the runner to set.")
        if name not in CHOICES:
            raise DefinitionError(f"{where}.{name} is unknown, expected {_or(CHOICES)}.")
        if CHOICES[name] and setting not in CHOICES[name]:
            raise DefinitionError(f"{where}.{name} is {setting!r}, expected {_or(CHOICES[name])}.")
        if name == "collect_interval":
            _whole(setting, f"{where}.{name}", low=1)
        elif name == "real_time_factor":
            _number(setting, f"{where}.{name}", low=0.0)
        elif not isinstance(setting, str):
            raise DefinitionError(f"{where}.{name} is {setting!r}, expected a text.")
    return launch


def _parameters(value: object, where: str) -> dict[str, dict[str, Any]]:
    parameters = _mapping(value, where)
    for node, values in parameters.items():
        if node not in NODES:
            raise DefinitionError(f"{where}.{node} is no node, expected {_or(NODES)}.")
        _mapping(values, f"{where}.{node}")
    return parameters


def _check_names(content: Mapping[str, Any]) -> None:
    """Find a parameter that its node does not declare, and so would not hear of."""
    methods = [(f"methods[{index}].", item) for index, item in enumerate(content["methods"])]
    for where, item in [("", content), *methods]:
        for node, values in item.get("parameters", {}).items():
            if found := unknown(node, values):
                name, nearest = found
                raise DefinitionError(
                    f"{where}parameters.{node}.{name} is no parameter of the {node}, "
                    f"the nearest is {nearest}."
                )


def _seeds(value: object, where: str) -> list[int]:
    if not isinstance(value, list) or not value:
        raise DefinitionError(f"{where} must be a list of whole numbers, such as [0, 1, 2].")
    seeds = [_whole(seed, f"each of {where}", low=0) for seed in value]
    if len(set(seeds)) < len(seeds):
        raise DefinitionError(f"{where} names a seed twice.")
    return seeds


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[name] = _laid_over(old, value)
        else:
            merged[name] = value
    return merged


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise DefinitionError(f"{where} must be names with values.")
    return value


def _only(
    mapping: Mapping[str, Any],
    where: str,
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> None:
    for name in required:
        if name not in mapping:
            raise DefinitionError(f"{where} lacks {name}.")
    for name in mapping:
        if name not in (*required, *optional):
            raise DefinitionError(
                f"{where} has an unknown {name}, expected {_or([*required, *optional])}."
            )


def _whole(value: object, where: str, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise DefinitionError(f"{where} is {value!r}, expected a whole number of at least {low}.")
    return value


def _number(
    value: object, where: str, low: float | None = None, above: float | None = None
) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = float(value) if fits else float("nan")  # type: ignore[arg-type]
    if (low is not None and number >= low) or (above is not None and number > above):
        return number
    expected = f"of at least {low:g}" if low is not None else f"above {above:g}"
    raise DefinitionError(f"{where} is {value!r}, expected a number {expected}.")


def _or(names: Iterable[str]) -> str:
    return listed(sorted(names), "or")
