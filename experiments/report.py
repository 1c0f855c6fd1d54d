"""Draw an experiment: one HTML page with its pictures in it, and the same pictures as a PNG.

    python -m experiments.report DIR

DIR is what `python -m experiments.run` wrote; the page is DIR/report.html, the picture
DIR/report.png.
"""

from __future__ import annotations

import argparse
import base64
import io
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.definition import Definition, DefinitionError, Experiment
from experiments.results import (
    BINS,
    Array,
    Run,
    bootstrap,
    from_zero,
    interquartile_mean,
    over_seeds,
    read,
    wilson,
)
from experiments.run import duration, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which also the colour-blind tell apart, the lightest ones last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":")
THRESHOLDS = (0.5, 0.9, 0.95)
STYLE = {
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
class Method:
    """A method's complete runs, and how it is drawn."""

    name: str
    runs: tuple[Run, ...]
    asked: int
    """Runs that it shall have."""
    colour: str
    marker: str
    line: str
    """Its style: colours come back after the eighth method."""

    def of(self, number: Callable[[Run], float]) -> Array:
        """The number of each run."""
        return np.array([number(run) for run in self.runs])


@dataclass(frozen=True)
class Panel:
    """A picture and what is under it."""

    title: str
    caption: str
    draw: Callable[[Axes, Sequence[Method]], None]


def write(folder: Path) -> Path:
    """Write the page and the picture; raises DefinitionError with one sentence."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    experiment, runs = read(folder)
    methods = _methods(experiment, runs)
    shown = [method for method in methods if method.runs]
    panels = _panels(shown)
    pictures = []
    with mpl.rc_context(STYLE):
        for panel in panels:
            rows = math.ceil(len(shown) / _columns(shown, 4.7))
            figure, axis = plt.subplots(figsize=(5.4, 3.3 + 0.2 * rows), layout="constrained")
            panel.draw(axis, shown)
            if len(shown) > 1 and panel.draw is not _draw_idle:
                axis.legend(**_legend(shown))
            pictures.append(_svg(figure))
            plt.close(figure)
        if panels:
            _overview(experiment, panels, shown).savefig(folder / "report.png", dpi=110)
            plt.close("all")
    path = folder / "report.html"
    path.write_text(_page(experiment, runs, methods, panels, pictures), encoding="utf-8")
    return path


def _methods(experiment: Experiment, runs: Sequence[Run]) -> list[Method]:
    methods = []
    for index, name in enumerate(experiment.methods):
        own = [run for run in runs if run.definition.method == name]
        methods.append(
            Method(
                name,
                tuple(run for run in own if run.complete),
                len(own),
                COLOURS[index % len(COLOURS)],
                MARKERS[index % len(MARKERS)],
                LINES[index // len(COLOURS) % len(LINES)],
            )
        )
    return methods


# Pictures.


def _panels(methods: Sequence[Method]) -> list[Panel]:
    if not methods:
        return []
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
            )
        )
    return panels


def _draw_returns(axis: Axes, methods: Sequence[Method]) -> None:
    for number, method in enumerate(methods):
        minutes = method.runs[0].definition.minutes
        width = minutes / BINS
        centres = (np.arange(BINS) + 0.5) * width
        returns = np.stack([run.binned_returns() for run in method.runs])
        mean, std = over_seeds(returns)
        shift = (number - (len(methods) - 1) / 2) * min(0.08, 0.6 / len(methods)) * width
        axis.errorbar(
            centres + shift,
            mean,
            yerr=std if len(method.runs) > 1 else None,
            color=method.colour,
            marker=method.marker,
            markersize=5,
            linestyle=method.line,
            linewidth=1.8,
            elinewidth=1,
            capsize=2,
            label=method.name,
        )
    axis.set(ylabel="return")
    _of_time(axis, methods)


def _draw_touches(axis: Axes, methods: Sequence[Method]) -> None:
    _draw_curves(
        axis, methods, [[run.touch_curve for run in method.runs] for method in methods], 100
    )
    axis.set(ylabel="touches (%)", ylim=(-2, 102))
    _of_time(axis, methods)


def _draw_experience(axis: Axes, methods: Sequence[Method]) -> None:
    curves: list[list[tuple[Array, Array]]] = []
    for method in methods:
        of_method: list[tuple[Array, Array]] = []
        for run in method.runs:
            times, rates = run.touch_curve
            of_method.append((run.decisions_at(times), rates))
        curves.append(of_method)
    _draw_curves(axis, methods, curves, 100)
    axis.set(xlabel="decisions collected", ylabel="touches (%)", ylim=(-2, 102))
    axis.locator_params("x", nbins=5)  # numbers of five digits are wide


def _draw_episodes(axis: Axes, methods: Sequence[Method]) -> None:
    curves = [
        [
            (from_zero(run.ended), np.arange(len(run.ended) + 1.0, dtype=np.float64))
            for run in method.runs
        ]
        for method in methods
    ]
    _draw_curves(axis, methods, curves, marked=False)
    axis.set(ylabel="episodes", ylim=(0, None))
    _of_time(axis, methods)


def _draw_updates(axis: Axes, methods: Sequence[Method]) -> None:
    curves = [
        [(from_zero(run.update_times), from_zero(run.updates)) for run in method.runs]
        for method in methods
    ]
    _draw_curves(axis, methods, curves, marked=False)
    axis.set(ylabel="updates", ylim=(0, None))
    _of_time(axis, methods)


def _of_time(axis: Axes, methods: Sequence[Method]) -> None:
    longest = max(run.definition.minutes for method in methods for run in method.runs)
    axis.set(xlabel="wall-clock time (min)", xlim=(0, 1.02 * longest))
    axis.locator_params(axis="x", nbins=8, steps=[1, 2, 5, 10])


def _draw_curves(
    axis: Axes,
    methods: Sequence[Method],
    curves: Sequence[Sequence[tuple[Array, Array]]],
    scale: float = 1.0,
    marked: bool = True,
) -> None:
    """Each run thin, their mean bold as far as all of them go; a point for each evaluation."""
    for method, of_method in zip(methods, curves, strict=True):
        if len(of_method) > 1:
            for x, y in of_method:
                thinned = np.linspace(0, x[-1], 200) if len(x) > 200 else x
                axis.plot(
                    thinned,
                    scale * np.interp(thinned, x, y),
                    color=method.colour,
                    linestyle=method.line,
                    linewidth=0.8,
                    alpha=0.4,
                )
        end = min(x[-1] for x, _ in of_method)
        if marked:  # where the run with the fewest points has one
            fewest = min((x for x, _ in of_method), key=len)
            common = np.append(fewest[fewest < end], end)
        else:
            common = np.linspace(0, end, 100)
        mean = np.mean([np.interp(common, x, y) for x, y in of_method], axis=0)
        axis.plot(
            common,
            scale * mean,
            color=method.colour,
            linestyle=method.line,
            linewidth=2.2,
            marker=method.marker if marked else None,
            markersize=4.5,
            label=method.name,
        )
    axis.set_xlim(0, None)


def _draw_idle(axis: Axes, methods: Sequence[Method]) -> None:
    paced = [m for m in methods if np.isfinite(m.of(lambda run: run.idle_share)).all()]
    for place, method in enumerate(paced):
        shares = 100 * method.of(lambda run: run.idle_share)
        axis.barh(place, shares.mean(), height=0.55, color=method.colour, alpha=0.35)
        axis.plot(
            shares, np.full(len(shares), place), linestyle="", marker="o", color=method.colour
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


def _columns(methods: Sequence[Method], width: float) -> int:
    """How many of the methods' names fit beside each other in a legend, `width` in inches."""
    longest = max(len(method.name) for method in methods)
    return max(1, min(len(methods), int(width / (0.4 + 0.07 * longest))))


def _legend(methods: Sequence[Method]) -> dict[str, object]:
    return {
        "loc": "lower left",
        "bbox_to_anchor": (0, 1),
        "ncols": _columns(methods, 4.7),
        "frameon": False,
        "fontsize": 9,
        "handlelength": 1.6,
        "columnspacing": 1.2,
    }


def _overview(experiment: Experiment, panels: Sequence[Panel], methods: Sequence[Method]) -> Figure:
    from matplotlib import pyplot as plt

    rows = math.ceil(len(panels) / 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(14, 3.7 * rows + 0.6), layout="constrained", squeeze=False
    )
    for axis, panel in zip(axes.flat, panels, strict=False):
        panel.draw(axis, methods)
        axis.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes.flat[1].get_legend_handles_labels()
    if len(methods) > 1:
        ncols = _columns(methods, 12.0)
        figure.legend(handles, labels, loc="outside upper left", ncols=ncols, frameon=False)
    return figure


def _svg(figure: Figure) -> str:
    """The figure as the address of an image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


# Numbers.


def _table(methods: Sequence[Method]) -> list[tuple[str, list[str]]]:
    """Rows of the comparison: a measure, and its value for each method."""
    complete = [run for method in methods for run in method.runs]
    common = _common_minutes(complete)
    all_alike = all(run.definition.minutes == common for run in complete)
    area = "area under the touch curve" + ("" if all_alike else f", first {common:g} min")

    def row(name: str, value: Callable[[Method], str]) -> tuple[str, list[str]]:
        return name, [value(method) if method.runs else "–" for method in methods]

    rows = [
        row("complete runs", lambda m: f"{len(m.runs)} of {m.asked}"),
        row("wall-clock time of a run", lambda m: f"{m.runs[0].definition.minutes:g} min"),
        row(area, lambda m: _mean(m, lambda r: r.touch_area(common), "{:.2f}")),
        *(
            row(f"time to {100 * level:.0f} % touches", partial(_time, level))
            for level in THRESHOLDS
        ),
        row("final touches, all episodes", _pooled),
        row(
            "final touches, over seeds",
            lambda m: _mean(m, lambda r: 100 * r.touch_rates[-1], "{:.0f}", " %"),
        ),
    ]
    if any(run.final_in_real_time for method in methods for run in method.runs):
        rows.append(row("final touches, in real time", lambda m: _pooled(m, real_time=True)))
    rows += [
        row("final return", lambda m: _mean(m, lambda r: r.evaluation_returns[-1], "{:.2f}")),
        row("decisions to a touch, median", lambda m: _plain(m, lambda r: r.steps_to_touch)),
        row("episodes", lambda m: _plain(m, lambda r: len(r.ended))),
        row("decisions", lambda m: _plain(m, lambda r: r.decisions.sum())),
        row("updates", lambda m: _plain(m, _updates)),
        row(
            "updates per decision",
            lambda m: _plain(m, lambda r: _updates(r) / r.decisions.sum(), "{:.2f}"),
        ),
    ]
    if any(np.isfinite(run.idle_share) for method in methods for run in method.runs):
        rows.append(row("robot idle", lambda m: _plain(m, lambda r: 100 * r.idle_share, unit=" %")))
    return rows


def _mean(method: Method, number: Callable[[Run], float], form: str, unit: str = "") -> str:
    """The interquartile mean over seeds with its interval; of a few, with lowest and highest."""
    values = method.of(number)
    text = form.format(float(interquartile_mean(values))) + unit
    if len(values) == 1:
        return text
    interval = bootstrap(values)
    if interval is None:
        low, high = form.format(values.min()), form.format(values.max())
        return f"{text} <small>({low} to {high})</small>"
    return f"{text} <small>[{form.format(interval[0])}, {form.format(interval[1])}]</small>"


def _plain(
    method: Method, number: Callable[[Run], float], form: str = "{:,.0f}", unit: str = ""
) -> str:
    """The mean over seeds."""
    values = method.of(number)
    values = values[np.isfinite(values)]
    return form.format(float(values.mean())).replace(",", "\u202f") + unit if len(values) else "–"


def _time(level: float, method: Method) -> str:
    """The median over seeds; what is never reached is infinite, and a value like others."""
    times = method.of(lambda run: run.time_to(level))
    reached = f"<small>({np.isfinite(times).sum()} of {len(times)} seeds)</small>"
    median = float(np.median(times))
    return f"{median:.1f} min {reached}" if np.isfinite(median) else f"not reached {reached}"


def _pooled(method: Method, real_time: bool = False) -> str:
    """Touches of all seeds' episodes with Wilson's interval."""
    finals = [run.final_in_real_time if real_time else run.final for run in method.runs]
    hits = sum(final[0] for final in finals if final)
    count = sum(final[1] for final in finals if final)
    if not count:
        return "–"
    low, high = wilson(hits, count)
    return (
        f"{100 * hits / count:.0f} % <small>[{100 * low:.0f}, {100 * high:.0f}], "
        f"{hits} of {count}</small>"
    )


def _common_minutes(runs: Sequence[Run]) -> float:
    """How long all complete runs have trained."""
    return min((run.definition.minutes for run in runs if run.complete), default=math.nan)


def _updates(run: Run) -> float:
    return float(run.updates[-1]) if len(run.updates) else 0.0


# The page.


def _page(
    experiment: Experiment,
    runs: Sequence[Run],
    methods: Sequence[Method],
    panels: Sequence[Panel],
    pictures: Sequence[str],
) -> str:
    complete = sum(run.complete for run in runs)
    heads = "".join(
        f'<th><i style="background:{method.colour}"></i>{escape(method.name)}</th>'
        for method in methods
    )
    measures = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for name, values in _table(methods)
    )
    figures = "".join(
        f'<figure><h2>{panel.title}</h2><img alt="{panel.title}" src="{picture}">'
        f"<figcaption>{panel.caption}</figcaption></figure>"
        for panel, picture in zip(panels, pictures, strict=True)
    )
    common = _common_minutes(runs)
    rows = "".join(_run_row(run, common) for run in runs)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(experiment.title)}</title>
<style>{_CSS}</style>
<main>
<h1>{escape(experiment.title)}</h1>
<p class="lede">{_lede(runs, complete)}</p>
{_missing(runs)}{_commits(runs)}{_deaths(runs)}{_early_ends(runs)}
<div class="figures">{figures}</div>
<h2>Comparison</h2>
<div class="wide"><table class="comparison"><thead><tr><th></th>{heads}</tr></thead>
<tbody>{measures}</tbody></table></div>
<p class="fine">In square brackets: 95 % confidence. Of all episodes together: Wilson's interval,
which knows nothing of seeds. Over seeds: the interquartile mean and a stratified bootstrap over
runs, as in <a href="https://arxiv.org/abs/2108.13264">Agarwal et al. 2021</a>; of two or three
seeds the mean, and in round brackets the lowest and the highest. The area under the touch curve is
its mean: 1 is all touches from the launch on. Times to a touch rate: the first evaluation that
reached it, median over seeds, where a seed that never did counts as later than all others. What has
no brackets is a mean over seeds.</p>
<h2>Runs</h2>
<div class="wide"><table><thead><tr><th>method</th><th>seed</th><th>state</th><th>final touches</th>
<th>return</th><th>area</th><th>episodes</th><th>updates</th><th>idle</th><th>set-up</th>
<th>evaluations</th></tr></thead><tbody>{rows}</tbody></table></div>
<h2>How it was measured</h2>
{_explanation(runs)}
</main>
</html>
"""


def _lede(runs: Sequence[Run], complete: int) -> str:
    minutes = sorted({run.definition.minutes for run in runs})
    machines = sorted({_machine(run) for run in runs if run.values})
    lengths = _listed([f"{value:g}" for value in minutes], "or")
    text = f"{complete} of {len(runs)} runs, {lengths} minutes of wall-clock time each"
    return escape(f"{text}, on {_listed(machines, 'and')}." if machines else f"{text}.")


def _missing(runs: Sequence[Run]) -> str:
    """A note, where not all runs are complete."""
    missing = sum(not run.complete for run in runs)
    if not missing:
        return ""
    return (
        f'<p class="note">{missing} of {len(runs)} runs {"is" if missing == 1 else "are"} not '
        "complete, and not in the pictures and the comparison; the list of runs says which.</p>"
    )


def _commits(runs: Sequence[Run]) -> str:
    """A note, where the complete runs were not all made and evaluated with the same known code."""
    made: Counter[str] = Counter()
    for run in runs:
        if run.complete:
            values = run.values or {}
            trained_with = values.get("versions", {}).get("commit") or "an unknown one"
            made.update({trained_with, *values.get("evaluated_with", [])})
    changed = any(commit.endswith("-dirty") for commit in made)
    if len(made) < 2 and not changed:
        return ""
    counts = [f"{commit} ({count})" for commit, count in sorted(made.items())]
    text = (
        "The runs were made or evaluated with different commits, so more than the methods may "
        f"differ between them: {_listed(counts, 'and')}."
        if len(made) > 1
        else f"The runs were made with {_listed(counts, 'and')}."
    )
    if changed:
        text += " What is called dirty had changes that no commit holds."
    return f'<p class="note">{escape(text)}</p>'


def _deaths(runs: Sequence[Run]) -> str:
    """A note, where nodes of the complete runs died."""
    found = [
        f"{node} of {title(run.definition)}: {count}"
        for run in runs
        if run.complete
        for node, count in (run.values or {}).get("died", {}).items()
    ]
    if not found:
        return ""
    return (
        '<p class="note">Nodes died in training and were started again, which takes time '
        f"({escape('; '.join(found))}).</p>"
    )


def _early_ends(runs: Sequence[Run]) -> str:
    """A note, where the last checkpoint is much older than the end."""
    found = [
        f"{title(run.definition)}: minute {run.evaluated[-1]:.1f} of {run.definition.minutes:g}"
        for run in runs
        if run.complete
        and run.evaluated[-1] < run.definition.minutes - run.definition.evaluation.every
    ]
    if not found:
        return ""
    return (
        '<p class="note">What is called final is older, since no update was saved after it '
        f"({escape('; '.join(found))}).</p>"
    )


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _machine(run: Run) -> str:
    machine = (run.values or {}).get("machine", {})
    cores = machine.get("cores", "?")
    unit = "core" if cores == 1 else "cores"
    text = f"{cores} {unit} of {machine.get('cpu', 'an unknown CPU')}"
    values = run.values or {}
    parts = [f"{part} in {values[part]}" for part in ("planner", "learner") if values.get(part)]
    return f"{text} ({', '.join(parts)})" if parts else text


def _run_row(run: Run, common: float) -> str:
    cells = [escape(run.definition.method), str(run.definition.seed)]
    if run.complete:
        hits, count = run.final
        idle = run.idle_share
        cells += [
            "complete",
            f"{hits} of {count}",
            f"{run.evaluation_returns[-1]:.2f}",
            f"{run.touch_area(common):.2f}",
            str(len(run.ended)),
            f"{_updates(run):.0f}",
            f"{100 * idle:.0f} %" if np.isfinite(idle) else "–",
            f"{run.setup_seconds:.0f} s",
            duration(run.evaluation_seconds),
        ]
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    state = run.state + (f": {run.error}" if run.error else "")
    cells.append(f'<span class="open">{escape(state)}</span>')
    first = "".join(f"<td>{cell}</td>" for cell in cells[:2])
    return f'<tr>{first}<td colspan="9">{cells[2]}</td></tr>'


def _explanation(runs: Sequence[Run]) -> str:
    definition = runs[0].definition
    evaluation = definition.evaluation
    last = evaluation.seed + max(evaluation.episodes, evaluation.final_episodes) - 1
    versions = sorted(
        {
            ", ".join(f"{name} {value}" for name, value in run.values["versions"].items() if value)
            for run in runs
            if run.values
        }
    )
    paragraphs = [
        "Each run is the whole graph of nodes, started from nothing by "
        "<code>ros2 launch planet_bringup sim.launch.py</code>. Its clock begins with the launch "
        "and runs until the launch stops by itself, so the set-up of the nodes is in it; the list "
        "of runs names it (until the first episode began, or, in lockstep, until it was stored).",
        f"About every {evaluation.every:g} minutes a checkpoint was put aside, and evaluated when "
        f"the training was over, off its clock: {evaluation.episodes} episodes in lockstep without "
        f"exploration noise, {evaluation.final_episodes} for the last checkpoint. Their cubes are "
        f"those of the seeds {evaluation.seed} to {last}, which no training saw. A point's time is "
        "that of its checkpoint. Before the first one the touch rate is drawn, and counted, as a "
        "line from 0 at the launch.",
    ]
    if any(run.definition.real_time_factor > 0 for run in runs):
        paragraphs.append(
            "Idle time: an episode of n decisions takes n times the ticks of a decision times "
            "50 ms, divided by the real-time factor. All else, from the beginning of the first "
            "episode to the end of the run, is idle: resets, waiting for weights, the learner's "
            "turn in sync mode."
        )
    settings = {run.definition.method: _settings(run.definition) for run in runs}
    items = "".join(
        f"<li><b>{escape(name)}</b>: <code>{escape(text)}</code></li>"
        for name, text in settings.items()
    )
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    made = "".join(f'<p class="fine">{escape(line)}</p>' for line in versions)
    return f"{text}<ul>{items}</ul>{made}"


def _settings(definition: Definition) -> str:
    """The launch's arguments, and the parameters that lie over the profile."""

    def flat(prefix: str, value: object) -> list[str]:
        if not isinstance(value, dict):
            return [f"{prefix}={value}"]
        start = f"{prefix}." if prefix else ""
        return [text for name, inner in value.items() for text in flat(f"{start}{name}", inner)]

    arguments = [f"{name}:={value}" for name, value in definition.launch.items()]
    parameters = [
        f"{node} {text}" for node, own in definition.parameters.items() for text in flat("", own)
    ]
    return "; ".join([" ".join(arguments), *parameters] if arguments else parameters)


_CSS = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { max-width: 46rem; }
.lede { color: #555; margin: 0 0 1rem; }
.note { background: #fff6dd; border-left: 4px solid #e69f00; padding: .5rem .8rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap: 1.2rem 2rem; margin-top: 1.5rem; }
figure { margin: 0; }
figure h2 { margin: .6rem 0 .2rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption, .fine { color: #666; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #eee; }
thead th { border-bottom: 2px solid #ccc; white-space: nowrap; }
tbody th { font-weight: 400; color: #555; min-width: 9rem; }
.comparison th:first-child { position: sticky; left: 0; background: #fff; }
th i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em; }
small { color: #777; font-size: .85em; white-space: nowrap; }
code { font-size: .85em; background: #f5f5f5; padding: .1em .3em; border-radius: 3px;
  overflow-wrap: anywhere; }
.open { color: #a85a00; }
a { color: #0072b2; }
@media (max-width: 600px) { main { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.5rem; } }
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="what experiments.run wrote")
    folder: Path = parser.parse_args(arguments).folder
    try:
        print(write(folder))
    except (DefinitionError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
