"""The learning curve of a run: its metrics, thinned to what a report draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from experiments import tables
from experiments.tables import Array, Row

INTERVALS = 200


@dataclass(frozen=True)
class LearningCurve:
    """What a training had made by INTERVALS + 1 times, evenly spread; all [INTERVALS + 1].

    Everything but the times is a total since the launch, so that what was made between two times
    is a difference.
    """

    minutes: Array
    """Wall-clock time since the launch, min."""
    episodes: Array
    decisions: Array
    updates: Array
    training_episodes: Array
    """Episodes without the evaluations that the training makes itself."""
    training_return: Array
    """Sum of the returns of the training episodes."""

    @classmethod
    def of(
        cls, episodes: Sequence[Row], updates: Sequence[Row], started: float, minutes: float
    ) -> LearningCurve:
        """Thin a run's metrics.

        Args:
            episodes: rows of metrics/episodes.csv.
            updates: rows of metrics/updates.csv.
            started: when the launch was, Unix time.
            minutes: how long it was to train. What came later is counted at the last time.

        Raises:
            KeyError, TypeError or ValueError: a row lacks a number.
        """
        ended = (tables.column(episodes, "wall_time") - started) / 60
        updated = (tables.column(updates, "wall_time") - started) / 60
        times: Array = np.linspace(0, minutes, INTERVALS + 1, dtype=np.float64)
        times[-1] = max([minutes, *ended[-1:], *updated[-1:]])

        def total(when: Array, amounts: Array) -> Array:
            sums = np.insert(np.cumsum(amounts), 0, 0.0)
            return np.asarray(sums[np.searchsorted(when, times, side="right")])

        # Updates have a row for some of them, and are as good as steady in between.
        between = np.interp(
            times, np.insert(updated, 0, 0.0), np.insert(tables.column(updates, "update"), 0, 0.0)
        )
        training = np.array([float(row["policy"] != "evaluation") for row in episodes])
        return cls(
            minutes=times,
            episodes=total(ended, np.ones(len(ended))),
            decisions=total(ended, tables.column(episodes, "steps")),
            updates=between,
            training_episodes=total(ended, training),
            training_return=total(ended, training * tables.column(episodes, "return")),
        )

    @classmethod
    def read(cls, path: Path) -> LearningCurve:
        """Read what :meth:`write` wrote; KeyError, TypeError or ValueError where it is damaged."""
        rows = tables.read(path)
        if len(rows) != INTERVALS + 1:
            raise ValueError(f"{path} has {len(rows)} rows, expected {INTERVALS + 1}")
        return cls(**{field.name: tables.column(rows, field.name) for field in fields(cls)})

    def write(self, path: Path) -> None:
        """Write a row for each time."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        table = tables.fresh(path, list(columns))
        for values in zip(*columns.values(), strict=True):
            texts = (f"{value:.8g}" for value in values)
            table.append(dict(zip(columns, texts, strict=True)))

    def binned_returns(self, bins: int) -> Array:
        """Return the mean return of the training episodes in each part of the time, [bins].

        NaN where none ended. `bins` divides INTERVALS.
        """
        count, total = (
            np.diff(totals[:: INTERVALS // bins])
            for totals in (self.training_episodes, self.training_return)
        )
        return np.asarray(np.divide(total, count, out=np.full(bins, np.nan), where=count > 0))
