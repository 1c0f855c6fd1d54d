"""What an experiment's folder holds, and the numbers that are made of it.

Intervals and means over seeds follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice": the interquartile mean, its confidence by a bootstrap over runs that
is stratified, here by method.
"""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.definition import Definition, DefinitionError, Experiment, load

Array = NDArray[np.float64]
BINS = 10  # of Robo-PlaNet's figure 3
RESAMPLES = 5000
_Z = 1.959964  # of 95 %


def _nothing() -> Array:
    return np.zeros(0)


def from_zero(values: Array) -> Array:
    """The values with a 0 before them."""
    return np.insert(values, 0, 0.0)


@dataclass(frozen=True)
class Run:
    """One run; what is not known yet is empty. Times are minutes since the launch."""

    definition: Definition
    state: str
    """`not begun`, `not complete`, `not evaluated`, `failed` or `complete`."""
    error: str = ""
    values: dict[str, Any] | None = None
    """run.json."""

    # Episodes of the training, in order.
    ended: Array = field(default_factory=_nothing)
    decisions: Array = field(default_factory=_nothing)
    returns: Array = field(default_factory=_nothing)
    in_training: Array = field(default_factory=_nothing)
    """1, or 0 for evaluations within the training."""

    # Updates of the model.
    update_times: Array = field(default_factory=_nothing)
    updates: Array = field(default_factory=_nothing)

    # Evaluations apart, in lockstep, in order; the last one is the final one.
    evaluated: Array = field(default_factory=_nothing)
    touch_rates: Array = field(default_factory=_nothing)
    evaluation_returns: Array = field(default_factory=_nothing)
    evaluation_seconds: float = 0.0
    """Of all evaluations."""
    final: tuple[int, int] = (0, 0)
    """Touches of episodes."""
    final_in_real_time: tuple[int, int] | None = None
    steps_to_touch: float = float("nan")
    """Median over the final evaluation's touches, decisions."""

    @property
    def complete(self) -> bool:
        return self.state == "complete"

    @property
    def setup_seconds(self) -> float:
        """From the launch to the beginning of the first episode, as far as its pace is known."""
        if not len(self.ended):
            return float("nan")
        return float(60 * self.ended[0] - self.decisions[0] * (self.decision_seconds or 0.0))

    @property
    def decision_seconds(self) -> float | None:
        """Of a decision in real time; None in lockstep."""
        seconds = (self.values or {}).get("decision_seconds")
        return None if seconds is None else float(seconds)

    @property
    def idle_share(self) -> float:
        """Share of the time, from the first episode on, in which no episode was rolled out.

        NaN in lockstep, where an episode has no pace.
        """
        if self.decision_seconds is None or not len(self.ended):
            return float("nan")
        available = 60 * self.definition.minutes - self.setup_seconds
        rolling = float(self.decisions.sum()) * self.decision_seconds
        return float(np.clip(1 - rolling / available, 0, 1))

    @property
    def touch_curve(self) -> tuple[Array, Array]:
        """Times and touch rates; 0 at the launch, where there is no model."""
        return from_zero(self.evaluated), from_zero(self.touch_rates)

    def touch_area(self, minutes: float) -> float:
        """Mean of the touch curve until then, its last value held: 1 is all, from the launch."""
        times, rates = self.touch_curve
        end = np.interp(minutes, times, rates)
        before = times < minutes
        times, rates = np.append(times[before], minutes), np.append(rates[before], end)
        return float(np.sum(np.diff(times) * (rates[1:] + rates[:-1]) / 2) / minutes)

    def time_to(self, touch_rate: float) -> float:
        """Minutes to the first evaluation with this touch rate, infinite if there is none."""
        reached = np.flatnonzero(self.touch_rates >= touch_rate)
        return float(self.evaluated[reached[0]]) if len(reached) else float("inf")

    def decisions_at(self, times: Array) -> Array:
        """Decisions collected until then."""
        total = from_zero(np.cumsum(self.decisions))
        return np.asarray(total[np.searchsorted(self.ended, times, side="right")])

    def binned_returns(self, bins: int = BINS) -> Array:
        """Mean return of the training episodes that ended in each part of the time; NaN if none."""
        edges = np.linspace(0, self.definition.minutes, bins + 1)[1:-1]
        place = np.digitize(self.ended, edges)
        returns = [self.returns[(place == n) & (self.in_training > 0)] for n in range(bins)]
        return np.array([values.mean() if len(values) else np.nan for values in returns])


def over_seeds(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (of a sample) over the first axis, without what is NaN.

    NaN where there is nothing, and a deviation where there is but one value.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it says that there is nothing
        return np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)


def read(folder: Path) -> tuple[Experiment, list[Run]]:
    """Read an experiment's folder; raises DefinitionError with one sentence."""
    path = folder / "experiment.yaml"
    if not path.exists():
        raise DefinitionError(f"{folder} holds no experiment.yaml: was it made by experiments.run?")
    experiment = load(path, to_run=False)
    return experiment, [_read_run(run, folder / run.folder) for run in experiment.runs]


def _read_run(definition: Definition, folder: Path) -> Run:
    try:
        values: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        return Run(definition, "not begun")
    except ValueError:
        raise _damaged(folder) from None
    try:
        return _with_files(definition, folder, values)
    except DefinitionError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder) from error


def _damaged(folder: Path) -> DefinitionError:
    return DefinitionError(f"{folder} is damaged: delete it to make the run again.")


def _with_files(definition: Definition, folder: Path, values: dict[str, Any]) -> Run:
    differing = definition.differing(values["definition"])
    if differing:
        raise DefinitionError(
            f"{folder} was made with another {' and '.join(differing)} than experiment.yaml "
            "asks for."
        )
    error = values.get("error") or ""
    if values["state"] != "complete":
        state = "not evaluated" if values["state"] == "trained" else "not complete"
        return Run(definition, "failed" if error else state, error, values)
    started = float(values["started"])
    episodes = _rows(folder / "episodes.csv")
    updates = _rows(folder / "updates.csv")
    evaluations = _rows(folder / "evaluations.csv")
    plain = [row for row in evaluations if float(row["real_time_factor"]) == 0]
    real = [row for row in evaluations if float(row["real_time_factor"]) > 0]
    if not plain:
        raise DefinitionError(f"{folder / 'evaluations.csv'} holds no evaluation.")
    return Run(
        definition,
        "complete",
        values=values,
        ended=(_column(episodes, "wall_time") - started) / 60,
        decisions=_column(episodes, "steps"),
        returns=_column(episodes, "return"),
        in_training=np.array([float(row["policy"] != "evaluation") for row in episodes]),
        update_times=(_column(updates, "wall_time") - started) / 60,
        updates=_column(updates, "update"),
        evaluated=_column(plain, "minutes"),
        touch_rates=_column(plain, "touch_rate"),
        evaluation_returns=_column(plain, "return_mean"),
        evaluation_seconds=float(_column(evaluations, "seconds").sum()),
        final=(int(plain[-1]["touched"]), int(plain[-1]["episodes"])),
        final_in_real_time=(int(real[-1]["touched"]), int(real[-1]["episodes"])) if real else None,
        steps_to_touch=float(plain[-1]["steps_to_touch_median"] or "nan"),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _column(rows: list[dict[str, str]], name: str) -> Array:
    return np.array([float(row[name]) for row in rows])


# Statistics.


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a rate (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    rate, z2 = hits / count, _Z**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * np.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def interquartile_mean(values: Array) -> Array:
    """Mean over the last axis without its lowest and highest quarter; of 3 or fewer, the mean."""
    cut = values.shape[-1] // 4
    ordered = np.sort(values, axis=-1)
    return np.asarray(ordered[..., cut : values.shape[-1] - cut].mean(axis=-1))


def bootstrap(values: Array, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """The 95 % confidence interval of the interquartile mean over runs; None of fewer than four.

    Of two or three it would be their lowest and highest, with less confidence than it claims.
    """
    if len(values) < 4:
        return None
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(interquartile_mean(values[drawn]), [0.025, 0.975])
    return float(low), float(high)
