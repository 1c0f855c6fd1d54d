"""A run's folder: what has been made of it, and what is kept."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from experiments import provenance, tables
from experiments.definition import Definition, DefinitionError
from experiments.learning_curve import LearningCurve
from experiments.processes import deaths
from experiments.tables import Row
from experiments.words import duration
from planet_core import durable, run_folder
from planet_core.tables import Table

EVALUATION_COLUMNS = (
    "minutes",
    "update",
    "episodes",
    "touched",
    "touch_rate",
    "return_mean",
    "return_std",
    "steps_to_touch_median",
    "real_time_factor",
    "seconds",
)


class Record:
    """A run's folder, and `run.json` in it, which says how far the run has come.

    Its state is `training`, `trained` (only evaluations are missing) or `complete`.

    Raises:
        DefinitionError: the folder's files are damaged.
    """

    def __init__(self, definition: Definition, out: Path) -> None:
        self.definition = definition
        self.folder = out / definition.folder
        self.data = self.folder / "data"
        self.snapshots = self.folder / "snapshots"
        self.config = self.folder / "config.yaml"
        self.log = self.folder / "launch.log"
        self.evaluations = self.folder / "evaluations.csv"
        self.differing: list[str] = []
        """Names of what the folder was made with otherwise than its definition asks for."""
        self._path = self.folder / "run.json"
        self._curve = self.folder / "learning_curve.csv"
        self.values: dict[str, Any] = {}
        if self._path.exists():
            try:
                self.values = json.loads(self._path.read_text())
                self.differing = definition.differing(self.values["definition"])
            except (AttributeError, ValueError, KeyError, TypeError):
                raise DefinitionError(
                    f"{self.folder} is damaged: delete it to make the run again."
                ) from None

    @property
    def state(self) -> str:
        """How far the run has come; "new" before it began."""
        return str(self.values.get("state", "new"))

    @property
    def started(self) -> float:
        """Unix time of the launch, where the training's clock begins."""
        return float(self.values["started"])

    def begin(self, cpus: Sequence[int]) -> None:
        """Begin anew, on these CPUs."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.snapshots.mkdir(parents=True)
        parameters = self.definition.ros_parameters()
        self.config.write_text(yaml.safe_dump(parameters, sort_keys=False))
        self.values = {}
        self.update(
            definition=self.definition.as_json(),
            profile=provenance.profile(self.definition),
            state="training",
            started=time.time(),
            decision_seconds=provenance.decision_seconds(self.definition),
            machine=provenance.machine(cpus),
            versions=provenance.versions(),
        )

    def update(self, **values: Any) -> None:
        """Set values in run.json."""
        self.values |= values
        durable.replace(self._path, (json.dumps(self.values, indent=1) + "\n").encode())

    def training_episodes(self) -> list[Row]:
        """The rows so far of the training's episodes.csv."""
        path = self.data / "metrics" / "episodes.csv"
        return tables.read(path, growing=True) if path.exists() else []

    def end_training(self, ended: float) -> None:
        """Keep what was made until `ended` (Unix time), thinned to what the report needs."""
        episodes = self.training_episodes()
        updates = tables.read(self.data / "metrics" / "updates.csv", growing=True)
        curve = LearningCurve.of(episodes, updates, self.started, self.definition.minutes)
        curve.write(self._curve)
        # For who evaluates its checkpoint: nothing in that shows how the robot was commanded.
        shutil.copyfile(self.data / run_folder.NAME, self.folder / run_folder.NAME)
        self.update(
            state="trained",
            ended=ended,
            died=deaths(self.log),
            setup_seconds=self._setup_seconds(episodes),
            planner=_last(episodes, "planner"),
            learner=_last(updates, "learner"),
        )

    def learning_curve(self) -> LearningCurve:
        """What :meth:`end_training` kept; KeyError, TypeError or ValueError if damaged."""
        return LearningCurve.read(self._curve)

    def _setup_seconds(self, episodes: Sequence[Row]) -> float | None:
        """From the launch to the beginning of the first episode, as far as its pace is known."""
        if not episodes:
            return None
        first = float(episodes[0]["wall_time"]) - self.started
        rolling = float(episodes[0]["steps"]) * (self.values["decision_seconds"] or 0.0)
        return round(first - rolling, 3)

    def evaluated(self) -> list[Row]:
        """The rows of evaluations.csv; raises ValueError, KeyError or TypeError if damaged."""
        if not self.evaluations.exists():
            return []
        rows = tables.read(self.evaluations, growing=self.state != "complete")
        for row in rows:
            for name in EVALUATION_COLUMNS:
                if row[name] != "":  # as is the steps to a touch where there was none
                    float(row[name])
        return rows

    def add(self, evaluation: dict[str, Any]) -> None:
        """Add a row to evaluations.csv."""
        row = {
            name: f"{value:.6g}" if isinstance(value, float) else value
            for name, value in evaluation.items()
        }
        Table(self.evaluations, EVALUATION_COLUMNS).append(
            {name: row[name] for name in EVALUATION_COLUMNS}
        )

    def snapshot(self) -> bool:
        """Link the newest checkpoint, which has its time, aside; whether there is one."""
        # The learner may delete the oldest ones meanwhile, never the newest.
        newest = _checkpoints(self.data / "checkpoints")[-1:]
        for path in newest:
            with suppress(FileExistsError, FileNotFoundError):
                os.link(path, self.snapshots / path.name)
        return bool(newest)

    def planned_evaluations(self) -> list[tuple[Path, int, float]]:
        """All of a trained run: checkpoint, episodes and real-time factor; none without them."""
        definition = self.definition
        found = _checkpoints(self.snapshots)
        if not found:
            return []
        *earlier, last = found
        factors = [0.0, definition.real_time_factor] if definition.real_time_factor > 0 else [0.0]
        return [
            *((path, definition.evaluation.episodes, 0.0) for path in earlier),
            *((last, definition.evaluation.final_episodes, factor) for factor in factors),
        ]

    def tidy(self, keep: bool) -> None:
        """Keep the numbers and the last checkpoint, and with `keep` everything."""
        shutil.rmtree(self.folder / "evaluation", ignore_errors=True)
        if not keep:
            shutil.rmtree(self.data, ignore_errors=True)
            for path in _checkpoints(self.snapshots)[:-1]:
                path.unlink()

    def summary(self) -> str:
        """A complete run in half a line."""
        rows = self.evaluated()
        last = next(row for row in reversed(rows) if float(row["real_time_factor"]) == 0)
        seconds = sum(float(row["seconds"]) for row in rows)
        died = "".join(
            f"; deaths of its {node}: {count}"
            for node, count in self.values.get("died", {}).items()
        )
        return (
            f"touched {last['touched']} of {last['episodes']} episodes after "
            f"{float(last['minutes']):.1f} minutes and {last['update']} updates "
            f"(evaluated in {duration(seconds)}){died}"
        )


def updates_of(checkpoint: Path) -> str:
    """The updates that it was trained for: checkpoint_<number>_<update>.<crc>.safetensors."""
    return checkpoint.name.split(".")[0].split("_")[2]


def _checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(folder.glob("checkpoint_*.safetensors"))


def _last(rows: Sequence[Row], column: str) -> str:
    """The last entry of a column that is not empty; '' where there is none."""
    return next((row[column] for row in reversed(rows) if row.get(column)), "")
