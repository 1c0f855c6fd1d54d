"""What an experiment's folder holds, and the numbers of each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.definition import Definition, DefinitionError, Experiment, load
from experiments.learning_curve import LearningCurve
from experiments.record import Record
from experiments.tables import Array, column

STATES = {
    "new": "not begun",
    "training": "not complete",
    "trained": "not evaluated",
    "complete": "complete",
}
"""The states of a record in words."""


@dataclass(frozen=True)
class Run:
    """One run, however far it has come."""

    definition: Definition
    state: str
    """One of STATES, or `failed: ` and why."""
    values: Mapping[str, Any]
    """run.json; empty where the run has not begun."""


@dataclass(frozen=True)
class CompleteRun(Run):
    """A run that was trained and evaluated. Times are minutes since the launch."""

    curve: LearningCurve
    """Of the training."""

    # Evaluations apart, in lockstep, in order; the last one is the final one. All [evaluations].
    evaluated: Array
    """The times of their checkpoints."""
    touch_rates: Array
    returns: Array

    evaluation_seconds: float
    """Of all evaluations."""
    final: tuple[int, int]
    """Touches of episodes."""
    final_in_real_time: tuple[int, int] | None
    steps_to_touch: float
    """Median over the final evaluation's touches, decisions; NaN where there is none."""

    @property
    def setup_seconds(self) -> float:
        """From the launch to the beginning of the first episode, as far as its pace is known."""
        return _number(self.values["setup_seconds"])

    @property
    def decision_seconds(self) -> float:
        """Of a decision in real time; NaN in lockstep."""
        return _number(self.values["decision_seconds"])

    @property
    def idle_share(self) -> float:
        """Share of the time, from the first episode on, in which no episode was rolled out.

        NaN in lockstep, where an episode has no pace.
        """
        available = 60 * self.definition.minutes - self.setup_seconds
        rolling = float(self.curve.decisions[-1]) * self.decision_seconds
        return float(np.clip(1 - rolling / available, 0, 1))

    @property
    def touch_curve(self) -> tuple[Array, Array]:
        """Times and touch rates; 0 at the launch, where there is no model."""
        return np.insert(self.evaluated, 0, 0.0), np.insert(self.touch_rates, 0, 0.0)

    def touch_area(self, minutes: float) -> float:
        """Mean of the touch curve until then, its last value held: 1 is all, from the launch."""
        times, rates = self.touch_curve
        end = np.interp(minutes, times, rates)
        before = times < minutes
        times, rates = np.append(times[before], minutes), np.append(rates[before], end)
        return float(np.trapezoid(rates, times) / minutes)

    def time_to(self, touch_rate: float) -> float:
        """Minutes to the first evaluation with this touch rate, infinite if there is none."""
        reached = np.flatnonzero(self.touch_rates >= touch_rate)
        return float(self.evaluated[reached[0]]) if len(reached) else float("inf")

    def decisions_at(self, times: Array) -> Array:
        """Decisions collected until then."""
        return np.interp(times, self.curve.minutes, self.curve.decisions)


@dataclass(frozen=True)
class Method:
    """The complete runs of a method."""

    name: str
    number: int
    """Its place among the experiment's methods."""
    runs: tuple[CompleteRun, ...]
    asked: int
    """Runs that it shall have."""

    def of(self, number: Callable[[CompleteRun], float]) -> Array:
        """The number of each run, [runs]."""
        return np.array([number(run) for run in self.runs])


def read(folder: Path) -> tuple[Experiment, list[Run]]:
    """Read an experiment's folder; raises DefinitionError with one sentence."""
    path = folder / "experiment.yaml"
    if not path.exists():
        raise DefinitionError(f"{folder} holds no experiment.yaml: was it made by experiments.run?")
    experiment = load(path, to_run=False)
    return experiment, [_run(Record(definition, folder)) for definition in experiment.runs]


def by_method(experiment: Experiment, runs: Sequence[Run]) -> list[Method]:
    """Gather the complete runs of each method."""
    methods = []
    for number, name in enumerate(experiment.methods):
        own = [run for run in runs if run.definition.method == name]
        complete = tuple(run for run in own if isinstance(run, CompleteRun))
        methods.append(Method(name, number, complete, len(own)))
    return methods


def _run(record: Record) -> Run:
    if record.differing:
        raise DefinitionError(
            f"{record.folder} was made with another {' and '.join(record.differing)} than "
            "experiment.yaml asks for."
        )
    if record.state != "complete":
        error = record.values.get("error")
        state = f"failed: {error}" if error else STATES[record.state]
        return Run(record.definition, state, record.values)
    try:
        return _complete(record)
    except (KeyError, TypeError, ValueError) as error:
        raise DefinitionError(
            f"{record.folder} is damaged: delete it to make the run again."
        ) from error


def _complete(record: Record) -> CompleteRun:
    rows = record.evaluated()
    lockstep = [row for row in rows if float(row["real_time_factor"]) == 0]
    real = [row for row in rows if float(row["real_time_factor"]) > 0]
    if not lockstep:
        raise ValueError(f"{record.evaluations} holds no evaluation in lockstep")
    return CompleteRun(
        record.definition,
        STATES["complete"],
        record.values,
        curve=record.learning_curve(),
        evaluated=column(lockstep, "minutes"),
        touch_rates=column(lockstep, "touch_rate"),
        returns=column(lockstep, "return_mean"),
        evaluation_seconds=float(column(rows, "seconds").sum()),
        final=(int(lockstep[-1]["touched"]), int(lockstep[-1]["episodes"])),
        final_in_real_time=(int(real[-1]["touched"]), int(real[-1]["episodes"])) if real else None,
        steps_to_touch=float(lockstep[-1]["steps_to_touch_median"] or "nan"),
    )


def _number(value: float | None) -> float:
    """The value of run.json, NaN for null."""
    return float("nan") if value is None else float(value)
