"""The table that compares methods: a row for each measure, with its confidence.

Means over seeds and their intervals follow Agarwal et al. 2021, "Deep Reinforcement Learning at the
Edge of the Statistical Precipice": the interquartile mean, its confidence by a bootstrap over runs
that is stratified, here by method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from experiments.results import CompleteRun, Method

THRESHOLDS = (0.5, 0.9, 0.95)  # touch rates whose times are compared
WHOLE = "{:,.0f}"

# Over the last axis without its lowest and highest quarter; of 3 or fewer, the mean of all.
interquartile_mean = partial(stats.trim_mean, proportiontocut=0.25, axis=-1)


@dataclass(frozen=True)
class Cell:
    """A value, and in small print how sure it is."""

    value: str = "–"
    note: str = ""


Row = tuple[str, list[Cell]]
"""A measure, and a cell for each method."""


def compare(methods: Sequence[Method], minutes: float) -> list[Row]:
    """Compare what the methods' runs came to.

    Args:
        methods: they are compared by their complete runs.
        minutes: how long all of these have trained at least.
    """
    complete = [run for method in methods for run in method.runs]
    alike = all(run.definition.minutes == minutes for run in complete)
    area = "area under the touch curve" + ("" if alike else f", first {minutes:g} min")

    def row(name: str, cell: Callable[[Method], Cell]) -> Row:
        return name, [cell(method) if method.runs else Cell() for method in methods]

    rows = [
        row("complete runs", lambda m: Cell(f"{len(m.runs)} of {m.asked}")),
        row("wall-clock time of a run", lambda m: Cell(f"{m.runs[0].definition.minutes:g} min")),
        row(area, partial(_mean, lambda run: run.touch_area(minutes), "{:.2f}", "")),
        *(
            row(f"time to {100 * level:.0f} % touches", partial(_time, level))
            for level in THRESHOLDS
        ),
        row("final touches, all episodes", partial(_pooled, lambda run: run.final)),
        row(
            "final touches, over seeds",
            partial(_mean, lambda run: 100 * run.touch_rates[-1], "{:.0f}", " %"),
        ),
    ]
    if any(run.final_in_real_time for run in complete):
        final = partial(_pooled, lambda run: run.final_in_real_time)
        rows.append(row("final touches, in real time", final))
    rows += [
        row("final return", partial(_mean, lambda run: run.returns[-1], "{:.2f}", "")),
        row("decisions to a touch, median", partial(_plain, lambda run: run.steps_to_touch, WHOLE)),
        row("episodes", partial(_plain, lambda run: run.curve.episodes[-1], WHOLE)),
        row("decisions", partial(_plain, lambda run: run.curve.decisions[-1], WHOLE)),
        row("updates", partial(_plain, lambda run: run.curve.updates[-1], WHOLE)),
        row(
            "updates per decision",
            partial(_plain, lambda run: run.curve.updates[-1] / run.curve.decisions[-1], "{:.2f}"),
        ),
    ]
    if any(np.isfinite(run.idle_share) for run in complete):
        idle = partial(_plain, lambda run: 100 * run.idle_share, "{:.0f} %")
        rows.append(row("robot idle", idle))
    return rows


def _mean(number: Callable[[CompleteRun], float], form: str, unit: str, method: Method) -> Cell:
    """The interquartile mean over seeds with its interval; of a few, with lowest and highest."""
    values = method.of(number)
    text = form.format(interquartile_mean(values)) + unit
    if len(values) == 1:
        return Cell(text)
    if len(values) < 4:  # a bootstrap would give the same with less confidence than it claims
        return Cell(text, f"({form.format(values.min())} to {form.format(values.max())})")
    resampled = stats.bootstrap(
        (values,), interquartile_mean, n_resamples=5000, method="percentile", rng=0
    )
    low, high = resampled.confidence_interval
    return Cell(text, f"[{form.format(low)}, {form.format(high)}]")


def _plain(number: Callable[[CompleteRun], float], form: str, method: Method) -> Cell:
    """The mean over seeds, without those that have no such number."""
    values = method.of(number)
    values = values[np.isfinite(values)]
    return Cell(form.format(values.mean()).replace(",", "\u202f")) if len(values) else Cell()


def _time(level: float, method: Method) -> Cell:
    """The median over seeds; what is never reached is infinite, and a value like others."""
    times = method.of(lambda run: run.time_to(level))
    median = float(np.median(times))
    reached = f"({np.isfinite(times).sum()} of {len(times)} seeds)"
    return Cell(f"{median:.1f} min" if np.isfinite(median) else "not reached", reached)


def _pooled(final: Callable[[CompleteRun], tuple[int, int] | None], method: Method) -> Cell:
    """Touches of all seeds' episodes with Wilson's interval."""
    finals = [found for run in method.runs if (found := final(run))]
    if not finals:
        return Cell()
    hits, count = (sum(numbers) for numbers in zip(*finals, strict=True))
    low, high = stats.binomtest(hits, count).proportion_ci(method="wilson")
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]"
    return Cell(f"{100 * hits / count:.0f} %", f"{interval}, {hits} of {count}")
