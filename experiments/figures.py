"""The pictures of a report."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.results import CompleteRun, Method
from experiments.tables import Array

Curve = tuple[Array, Array]
"""Places along x, and the values there."""
BINS = 10  # of Robo-PlaNet's figure 3
# Okabe and Ito's colours, which also the colour-blind tell apart, the lightest ones last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":")
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#444444",
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "experiments",
}


@dataclass(frozen=True)
class Panel:
    """What is drawn, and what is said under it."""

    title: str
    caption: str
    draw: Callable[[Axes, Sequence[Method]], None]
    legend: bool = True


@dataclass(frozen=True)
class Picture:
    """A panel as a page shows it."""

    title: str
    caption: str
    source: str
    """The address of an image, which is its whole content."""


def colour(method: Method) -> str:
    """The colour of a method; colours come back after the eighth."""
    return COLOURS[method.number % len(COLOURS)]


def look(method: Method) -> dict[str, Any]:
    """How a method is drawn, as keyword arguments of a plot; no two of 24 methods look alike."""
    return {
        "color": colour(method),
        "marker": MARKERS[method.number % len(MARKERS)],
        "linestyle": LINES[method.number // len(COLOURS) % len(LINES)],
    }


def pictures(methods: Sequence[Method]) -> list[Picture]:
    """Draw each panel apart; `methods` have at least one run each."""
    drawn = []
    with mpl.rc_context(STYLE):
        for panel in _panels(methods):
            rows = math.ceil(len(methods) / _columns(methods, 4.7))
            figure = Figure(figsize=(5.4, 3.3 + 0.2 * rows), layout="constrained")
            axis = figure.subplots()
            panel.draw(axis, methods)
            if len(methods) > 1 and panel.legend:
                axis.legend(
                    loc="lower left",
                    bbox_to_anchor=(0, 1),
                    ncols=_columns(methods, 4.7),
                    frameon=False,
                    fontsize=9,
                    handlelength=1.6,
                    columnspacing=1.2,
                )
            drawn.append(Picture(panel.title, panel.caption, _address(figure)))
    return drawn


def overview(methods: Sequence[Method], path: Path) -> None:
    """Draw all panels into one PNG; `methods` have at least one run each."""
    panels = _panels(methods)
    rows = math.ceil(len(panels) / 3)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 3.7 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, 3, squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            panel.draw(axis, methods)
            axis.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_axis_off()
        handles, labels = axes.flat[1].get_legend_handles_labels()
        if len(methods) > 1:
            ncols = _columns(methods, 12.0)
            figure.legend(handles, labels, loc="outside upper left", ncols=ncols, frameon=False)
        figure.savefig(path, dpi=110)


def over_seeds(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (of a sample) over the first axis, without what is NaN.

    NaN where there is nothing, and a deviation where there is but one value.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it says that there is nothing
        return np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)


def _panels(methods: Sequence[Method]) -> list[Panel]:
    panels = [
        Panel(
            "Return over time",
            f"Training episodes, exploration noise included, in {BINS} bins of wall-clock time: "
            "mean over the seeds, and a standard deviation over the seeds to both sides (as in "
            "Robo-PlaNet's figure 3).",
            _draw_returns,
        ),
        Panel(
            "Touches over time",
            "Evaluations without noise on the same held-out cubes. Thin: each seed; bold: their "
            "mean. The time of evaluations is not counted.",
            _draw_touches,
        ),
        Panel(
            "Touches over experience",
            "The same evaluations, over the decisions that the robot had made until then.",
            _draw_experience,
        ),
        Panel("Episodes collected", "Thin: each seed; bold: their mean.", _draw_episodes),
        Panel("Updates of the model", "Thin: each seed; bold: their mean.", _draw_updates),
    ]
    if any(np.isfinite(run.idle_share) for method in methods for run in method.runs):
        panels.append(
            Panel(
                "Robot idle",
                "Share of the wall-clock time in which the robot rolled out no episode; a point "
                "for each seed. Resets are idle time in each method.",
                _draw_idle,
                legend=False,
            )
        )
    return panels


def _draw_returns(axis: Axes, methods: Sequence[Method]) -> None:
    for place, method in enumerate(methods):
        width = method.runs[0].definition.minutes / BINS
        centres = (np.arange(BINS) + 0.5) * width
        mean, std = over_seeds(np.stack([run.curve.binned_returns(BINS) for run in method.runs]))
        shift = (place - (len(methods) - 1) / 2) * min(0.08, 0.6 / len(methods)) * width
        axis.errorbar(
            centres + shift,
            mean,
            yerr=std if len(method.runs) > 1 else None,
            markersize=5,
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
            label=method.name,
            **look(method),
        )
    axis.set(ylabel="return")
    _over_time(axis, methods)


def _draw_touches(axis: Axes, methods: Sequence[Method]) -> None:
    _draw_curves(axis, methods, lambda run: run.touch_curve)
    _in_percent(axis)
    _over_time(axis, methods)


def _draw_experience(axis: Axes, methods: Sequence[Method]) -> None:
    def curve(run: CompleteRun) -> Curve:
        times, rates = run.touch_curve
        return run.decisions_at(times), rates

    _draw_curves(axis, methods, curve)
    _in_percent(axis)
    axis.set(xlabel="decisions collected")
    axis.locator_params("x", nbins=5)  # numbers of five digits are wide


def _draw_episodes(axis: Axes, methods: Sequence[Method]) -> None:
    _draw_curves(axis, methods, lambda run: (run.curve.minutes, run.curve.episodes), marked=False)
    axis.set(ylabel="episodes", ylim=(0, None))
    _over_time(axis, methods)


def _draw_updates(axis: Axes, methods: Sequence[Method]) -> None:
    _draw_curves(axis, methods, lambda run: (run.curve.minutes, run.curve.updates), marked=False)
    axis.set(ylabel="updates", ylim=(0, None))
    _over_time(axis, methods)


def _draw_curves(
    axis: Axes,
    methods: Sequence[Method],
    curve: Callable[[CompleteRun], Curve],
    marked: bool = True,
) -> None:
    """Each run thin, their mean bold as far as all of them go; a point for each evaluation."""
    for method in methods:
        curves = [curve(run) for run in method.runs]
        drawn = look(method) if marked else {**look(method), "marker": ""}
        if len(curves) > 1:
            for x, y in curves:
                axis.plot(x, y, linewidth=0.8, alpha=0.4, **{**drawn, "marker": ""})
        end = min(x[-1] for x, _ in curves)
        fewest = min((x for x, _ in curves), key=len)
        common = np.append(fewest[fewest < end], end)  # where the run with fewest points has one
        mean = np.mean([np.interp(common, x, y) for x, y in curves], axis=0)
        axis.plot(common, mean, linewidth=2.2, markersize=4.5, label=method.name, **drawn)
    axis.set_xlim(0, None)


def _draw_idle(axis: Axes, methods: Sequence[Method]) -> None:
    paced = [m for m in methods if np.isfinite(m.of(lambda run: run.idle_share)).all()]
    for place, method in enumerate(paced):
        shares = 100 * method.of(lambda run: run.idle_share)
        axis.barh(place, shares.mean(), height=0.55, color=colour(method), alpha=0.35)
        axis.plot(
            shares, np.full(len(shares), place), linestyle="", marker="o", color=colour(method)
        )
        axis.annotate(
            f"{shares.mean():.0f} %",
            (shares.max(), place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color="#444444",
        )
    axis.set_yticks(range(len(paced)), [method.name for method in paced])
    axis.set_ylim(len(paced) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.set(xlabel="robot idle (%)", xlim=(0, 108))


def _in_percent(axis: Axes) -> None:
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.set(ylabel="touches (%)", ylim=(-0.02, 1.02))


def _over_time(axis: Axes, methods: Sequence[Method]) -> None:
    longest = max(run.definition.minutes for method in methods for run in method.runs)
    axis.set(xlabel="wall-clock time (min)", xlim=(0, 1.02 * longest))
    axis.locator_params(axis="x", nbins=8, steps=[1, 2, 5, 10])


def _columns(methods: Sequence[Method], width: float) -> int:
    """How many of the methods' names fit beside each other in a legend, `width` in inches."""
    longest = max(len(method.name) for method in methods)
    return max(1, min(len(methods), int(width / (0.4 + 0.07 * longest))))


def _address(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
