"""Statistics and pictures of the runs; see :func:`report`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments import tables
from experiments.point_push.open_loop import CONTEXT, films, predict, seen
from experiments.point_push.training import VARIANTS
from experiments.tables import Array
from planet_model.config import ModelConfig
from planet_model.weights import load

KEPT = ("run.json", "evaluations.csv", "open_loop.csv")
"""Of a run, beside the report."""
_TRANSITIONS = ("rssm", "ssm", "rnn")
_PLANNING = ("rssm", "random_shooting", "random_collection")


@dataclass(frozen=True)
class Run:
    """One finished run."""

    variant: str
    seed: int
    minutes: float
    """Of collecting and training, without evaluation."""
    decisions: Array
    """Collected before each evaluation, [n]."""
    returns: Array
    """Mean return of each evaluation, [n]; the last one is the run's result."""
    model_error: Array | None
    """Open-loop mean squared error, [steps]; None when nothing was trained."""
    last_frame_error: Array | None


def read(folder: Path) -> Run:
    """Read a finished run."""
    summary = json.loads((folder / "run.json").read_text())
    rows = tables.read(folder / "evaluations.csv")
    decisions, values = tables.column(rows, "decisions"), tables.column(rows, "result")
    when = np.unique(decisions)
    path = folder / "open_loop.csv"
    errors = tables.read(path) if path.exists() else None
    return Run(
        variant=summary["variant"],
        seed=summary["seed"],
        minutes=float(rows[-1]["seconds"]) / 60,
        decisions=when,
        returns=np.array([values[decisions == at].mean() for at in when]),
        model_error=None if errors is None else tables.column(errors, "model"),
        last_frame_error=None if errors is None else tables.column(errors, "last_frame"),
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval (Student's t; NaN for one value)."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, float("nan")
    return mean, float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))


def normalised(value: float, random: float, oracle: float) -> float:
    """(R - random) / (oracle - random)."""
    return (value - random) / (oracle - random)


def report(runs: Path, out: Path) -> str:
    """Write table.md, learning.png, open_loop.png and, where weights are, prediction.png.

    Of each run, what table and curves are made of is copied to `out`/runs. Returns the table.
    Raises ValueError when the references are missing.
    """
    folders = sorted(path.parent for path in runs.glob("*/run.json"))
    found = [read(folder) for folder in folders]
    by_variant = {name: [run for run in found if run.variant == name] for name in VARIANTS}
    for name in ("random", "oracle"):
        if not by_variant[name]:
            raise ValueError(f"{runs} holds no finished run of '{name}', which others are held to")
    out.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        kept = out / "runs" / folder.name
        if kept.resolve() != folder.resolve():
            kept.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                if (folder / name).exists():
                    shutil.copyfile(folder / name, kept / name)
    text = table(by_variant)
    (out / "table.md").write_text(text)
    _draw_learning(by_variant, out / "learning.png")
    _draw_open_loop(by_variant, out / "open_loop.png")
    with_weights = [folder for folder in folders if (folder / "weights.safetensors").exists()]
    best = [folder for folder in with_weights if folder.name.startswith("rssm_")]
    if best:
        _draw_prediction(best[0], out / "prediction.png")
    return text


def table(by_variant: dict[str, list[Run]]) -> str:
    """A row per variant: return, share of the oracle's and normalised return, as Markdown."""
    random, oracle = (
        float(np.mean([run.returns[-1] for run in by_variant[name]]))
        for name in ("random", "oracle")
    )
    lines = [
        "| variant | runs | return | % of the oracle's | normalised return | of each seed | min |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_variant.items():
        if not runs:
            continue
        values = [float(run.returns[-1]) for run in runs]
        shares = [normalised(value, random, oracle) for value in values]
        cells = [
            VARIANTS[name].label,
            str(len(runs)),
            _interval(values, 2),
            _interval([100 * value / oracle for value in values], 1),
            _interval(shares, 3),
            " ".join(f"{share:.3f}" for share in shares),
            f"{np.mean([run.minutes for run in runs]):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(values: Sequence[float], digits: int) -> str:
    mean, half = interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}" if np.isfinite(half) else f"{mean:.{digits}f}"


def _draw_learning(by_variant: dict[str, list[Run]], out: Path) -> None:
    """Return without noise over the decisions collected: mean over seeds, band = all seeds."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("transition models", _TRANSITIONS), ("planning and collecting", _PLANNING))
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            runs = by_variant[name]
            if runs:
                decisions = runs[0].decisions
                returns = np.stack([run.returns for run in runs])
                (line,) = axis.plot(decisions, returns.mean(0), label=VARIANTS[name].label)
                axis.fill_between(
                    decisions, returns.min(0), returns.max(0), color=line.get_color(), alpha=0.2
                )
        for name, style in (("oracle", "--"), ("random", ":")):
            level = np.mean([run.returns[-1] for run in by_variant[name]])
            axis.axhline(level, color="grey", linestyle=style, label=VARIANTS[name].label)
        axis.set(title=title, xlabel="decisions collected", xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize="small", loc="lower right")
    axes[0].set(ylabel="return on held-out starts")
    figure.savefig(out, dpi=130)


def _draw_open_loop(by_variant: dict[str, list[Run]], out: Path) -> None:
    """Error of prediction over the steps since the last frame seen, of all trained variants."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axis = figure.subplots()
    stays = None
    for name, runs in by_variant.items():
        errors = [run.model_error for run in runs if run.model_error is not None]
        if errors:
            stays = runs[0].last_frame_error
            steps = np.arange(1, len(errors[0]) + 1)
            (line,) = axis.plot(steps, np.mean(errors, 0), label=VARIANTS[name].label)
            axis.fill_between(
                steps, np.min(errors, 0), np.max(errors, 0), color=line.get_color(), alpha=0.2
            )
    if stays is not None:
        axis.plot(np.arange(1, len(stays) + 1), stays, "k--", label="last frame stays")
    axis.set(
        xlabel=f"steps after the last of {CONTEXT} frames seen",
        ylabel="mean squared error (colours in [0, 1])",
        xlim=(0, None),
        ylim=(0, None),
    )
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small")
    figure.savefig(out, dpi=130)


def _draw_prediction(folder: Path, out: Path) -> None:
    """Both cameras as they were and as they were predicted, in columns 1, 5, 10, ... steps on."""
    config = ModelConfig.from_dict(json.loads((folder / "config.json").read_text())["model"])
    model = load((folder / "weights.safetensors").read_bytes(), config)
    episode = films(1)[0]
    truth, predicted = seen(model, episode)[CONTEXT:], predict(model, episode)
    steps = [1, *range(5, len(predicted) + 1, 5)]
    figure = Figure(figsize=(1.2 * len(steps), 5.2), layout="constrained")
    axes = figure.subplots(4, 1)
    for camera, name in enumerate(config.cameras):
        columns = slice(64 * camera, 64 * (camera + 1))
        for row, frames in enumerate((truth, predicted)):
            axis = axes[2 * camera + row]
            strip = np.concatenate([frames[step - 1][:, columns] for step in steps], 1)
            axis.imshow(strip)
            axis.set(xticks=[], yticks=[])
            axis.set_ylabel(f"{name}\n{('true', 'predicted')[row]}", fontsize="small")
    axes[-1].set(
        xticks=[64 * i + 32 for i in range(len(steps))],
        xticklabels=[str(step) for step in steps],
        xlabel=f"steps after the last of {CONTEXT} frames seen",
    )
    figure.savefig(out, dpi=110)
