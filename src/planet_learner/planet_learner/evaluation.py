"""How well a trained model acts: where it is read from, what its episodes amount to."""

from __future__ import annotations

import csv
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from planet_core import durable
from planet_core.episode import Episode, EpisodeError
from planet_learner import checkpoint
from planet_model.config import ModelConfig
from planet_model.weights import WeightsError, from_file, of_state
from planet_model.world_model import WorldModel


@dataclass(frozen=True)
class EvaluatorConfig:
    """What the evaluator can be told."""

    checkpoint: str = field(
        metadata={"doc": "data_dir of a training run, one of its checkpoints, or a weights file."}
    )
    data_dir: str = field(
        default="~/.local/share/robo_planet/evaluation",
        metadata={"doc": "Where the episodes are stored, and where the results are written."},
    )
    episodes: int = field(default=100, metadata={"doc": "Episodes to make.", "low": 1})
    seed: int = field(
        default=2_000_000,
        metadata={"doc": "The n-th episode, from 0, has the seed `seed` + n.", "low": 0},
    )
    video: bool = field(
        default=True, metadata={"doc": "Whether to write a video of the first episodes."}
    )
    real_time_factor: float = field(
        default=0.0, metadata={"doc": "The simulator's; it is written down.", "low": 0.0}
    )


class EvaluationError(Exception):
    """There is nothing to evaluate, or not all of it; one sentence for the operator."""


class CorruptCheckpointError(EvaluationError):
    """A checkpoint does not hold the bytes that its name promises."""


@dataclass(frozen=True)
class Trained:
    """A model to evaluate."""

    path: Path
    """The file that it was read from."""
    model: WorldModel
    config_json: str
    """As in planet_msgs/Weights."""
    update: int
    """Updates that it was trained for."""


def read(path: Path) -> Trained:
    """Read the model in `path`: a training run's directory (its newest whole checkpoint) or a file.

    A corrupt checkpoint of a run is named on the standard output, and left where it is.

    Raises:
        EvaluationError: there is none.
    """
    if not path.is_dir():
        return _read(path)
    found = sorted(p for p in (path / "checkpoints").glob("checkpoint_*") if durable.stem(p))
    if not found:
        raise EvaluationError(f"{path} holds no checkpoint, so it is no run's data_dir")
    oldest, *newer = found
    for candidate in reversed(newer):
        try:
            return _read(candidate)
        except CorruptCheckpointError as error:
            print(f"{error}, so the one before it is taken.", flush=True)
    return _read(oldest)


def _read(path: Path) -> Trained:
    if not path.is_file():
        raise EvaluationError(f"there is no checkpoint {path}")
    try:
        if durable.stem(path) is not None:
            durable.read(path)  # a flipped bit is a weight like others
    except durable.CorruptFileError as error:
        raise CorruptCheckpointError(f"{path} is corrupt: {error}") from error
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
    try:
        with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            metadata = file.metadata() or {}
            if metadata.get("format") != checkpoint.FORMAT:
                return Trained(path, *from_file(path))
            names = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118
            state = {name.removeprefix("model."): file.get_tensor(name) for name in names}
        values = json.loads(metadata["values"])
        model = of_state(state, ModelConfig.from_dict(values["model"]))
        update = int(values["progress"]["update"])
        configs = {part: values[part] for part in ("model", "objective")}
    except (SafetensorError, OSError, WeightsError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path} is no checkpoint and no weights file: {error}") from error
    return Trained(path, model, json.dumps(configs, sort_keys=True), update)


def read_episode(path: Path) -> Episode | None:
    """Read a stored episode; None if it is not there any more or, as is printed, unreadable."""
    try:
        return Episode.from_bytes(durable.read(path))
    except FileNotFoundError:
        return None
    except (OSError, durable.CorruptFileError, EpisodeError) as error:
        print(f"{path} is passed over: {error}.", flush=True)
        return None


@dataclass(frozen=True)
class Row:
    """One episode, as in evaluation.csv."""

    episode: int
    """From 0."""
    seed: int
    touched: bool
    steps: int
    """Decisions."""
    episode_return: float


class Evaluation:
    """The episodes of one evaluation, by their seeds.

    Whatever else comes is passed over: what other weights made, here or for an evaluation that was
    broken off, and what a roller that was started again does once more.

    Args:
        version: under which the weights are published; no other evaluation's have the same.
    """

    def __init__(self, config: EvaluatorConfig, version: int) -> None:
        self._config = config
        self._version = version
        self._rows: dict[int, Row] = {}
        self._started = self._finished = time.monotonic()

    def shows_life(self, episode: Episode) -> bool:
        """Whether the roller has made it for this evaluation, be it one that was had before.

        One that was started again makes those before the next new one once more.
        """
        return episode.policy == "evaluation" and episode.weights_version == self._version

    def add(self, episode: Episode) -> Row | None:
        """Take an episode; return its row if it is a new one of this evaluation.

        Raises:
            EvaluationError: the roller has made them all, and some were not there to be taken.
        """
        if not self.shows_life(episode):
            return None
        seed = int(episode.metadata["seed"])
        number = seed - self._config.seed
        if number >= self._config.episodes and not self.complete:
            missing = sorted({*range(self._config.episodes)} - {*self._rows})
            raise EvaluationError(
                f"the episodes {', '.join(map(str, missing))} were made but could not be read, "
                "so the evaluation has to be started again"
            )
        if number in self._rows or not 0 <= number < self._config.episodes:
            return None
        row = Row(number, seed, episode.touched_any, episode.steps, episode.episode_return)
        self._rows[number] = row
        self._finished = time.monotonic()
        return row

    @property
    def rows(self) -> list[Row]:
        """What was made so far, by number."""
        return [self._rows[number] for number in sorted(self._rows)]

    @property
    def touched(self) -> int:
        """Episodes with a touch so far."""
        return sum(row.touched for row in self._rows.values())

    @property
    def complete(self) -> bool:
        """Whether all episodes were made."""
        return len(self._rows) == self._config.episodes

    def summary(self, trained: Trained) -> dict[str, Any]:
        """Return what evaluation.json holds: means and intervals over the episodes so far."""
        returns = [row.episode_return for row in self.rows]
        to_touch = [row.steps for row in self.rows if row.touched]
        low, high = wilson(self.touched, len(returns))
        return {
            "episodes": len(returns),
            "touched": self.touched,
            "touch_rate": self.touched / len(returns),
            "touch_rate_low": low,
            "touch_rate_high": high,
            "return_mean": float(np.mean(returns)),
            "return_std": float(np.std(returns)),
            "steps_to_touch_median": float(np.median(to_touch)) if to_touch else None,
            "checkpoint": str(trained.path),
            "update": trained.update,
            "seed": self._config.seed,
            "real_time_factor": self._config.real_time_factor,
            "seconds": round(self._finished - self._started, 1),
        }

    def write(self, directory: Path, trained: Trained) -> dict[str, Any]:
        """Write evaluation.csv and, last of all, evaluation.json; return what that holds."""
        with (directory / "evaluation.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["episode", "seed", "touched", "steps", "return"])
            for row in self.rows:
                values = asdict(row) | {"touched": int(row.touched)}
                values["episode_return"] = f"{row.episode_return:.6g}"
                writer.writerow(values.values())
        summary = self.summary(trained)
        durable.replace(
            directory / "evaluation.json", (json.dumps(summary, indent=2) + "\n").encode()
        )
        return summary


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the ends of Wilson's interval of a rate; z = 1.96 for 95 %.

    Unlike the normal approximation it stays in [0, 1] and is not empty at 0 and n of n (Brown,
    Cai, DasGupta 2001).
    """
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
