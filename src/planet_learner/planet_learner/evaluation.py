"""How well a trained model acts: where it is read from, what its episodes amount to."""

from __future__ import annotations

import csv
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from planet_core import durable
from planet_core.episode import Episode
from planet_core.episode_format import EpisodeError
from planet_core.method import find
from planet_core.weights import Weights, from_file
from planet_learner import checkpoint
from planet_learner.config import EvaluatorConfig
from planet_learner.saving import RunState


class EvaluationError(Exception):
    """There is nothing to evaluate, or not all of it; one sentence for the operator."""


class CorruptCheckpointError(EvaluationError):
    """A checkpoint does not hold the bytes that its name promises."""


@dataclass(frozen=True)
class Trained:
    """What is to be evaluated."""

    path: Path
    """The file that it was read from."""
    weights: Weights
    """In full."""


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
        if _is_checkpoint(path):
            return Trained(path, _weights_of(checkpoint.read(path)))
        return Trained(path, from_file(path))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path} is no checkpoint and no weights file: {error}") from error


def _is_checkpoint(path: Path) -> bool:
    with safe_open(path, "np") as file:  # type: ignore[no-untyped-call]
        return (file.metadata() or {}).get("format") == checkpoint.FORMAT


def _weights_of(saved: checkpoint.Checkpoint) -> Weights:
    """The weights in a checkpoint, by way of a trainer that would go on from it."""
    run = RunState.from_values(saved.values)
    method = find(run.method)
    settings = {
        prefix: kind.pick(run.configuration[prefix])
        for prefix, kind in method.training.items()
        if prefix in run.configuration
    }
    trainer = method.make_trainer(settings, run.robot, "cpu", 0)
    trainer.load_state(saved.state)
    return replace(trainer.weights(full=True), update=run.progress.update)


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
            "update": trained.weights.update,
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
