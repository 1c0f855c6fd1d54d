"""How the simulated arm learnt to poke: touches and returns over wall-clock time, run by run.

    python -m experiments.poke experiments/poke/seed_0 experiments/poke/seed_1 ... --out poke.png

Each folder holds the `episodes.csv` that a run wrote under `metrics/`.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW = 20  # episodes


@dataclass(frozen=True)
class Run:
    """One run's episodes in order; every array has one entry per episode."""

    name: str
    minutes: NDArray[np.float64]
    """Wall-clock time since the first episode began to be stored, min."""
    planned: NDArray[np.bool_]
    """False for a random episode."""
    touched: NDArray[np.bool_]
    episode_return: NDArray[np.float64]

    @property
    def last_touches(self) -> int:
        """Touches in the last 20 episodes."""
        return int(self.touched[-WINDOW:].sum())


def read(folder: Path) -> Run:
    """Read a run's `episodes.csv`; raises ValueError when it holds no episode."""
    path = folder / "episodes.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} holds no episode")
    seconds = np.array([float(row["wall_time"]) for row in rows])
    return Run(
        name=folder.name.replace("_", " "),
        minutes=(seconds - seconds[0]) / 60,
        planned=np.array([row["policy"] != "random" for row in rows]),
        touched=np.array([row["touched"] in {"1", "True", "true"} for row in rows]),
        episode_return=np.array([float(row["return"]) for row in rows]),
    )


def moving_mean(values: NDArray[np.float64], window: int = WINDOW) -> NDArray[np.float64]:
    """Mean of the last `window` values at each place, of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    return np.asarray((total[end] - total[start]) / (end - start))


def draw(runs: list[Run], out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for run in runs:
        whole = slice(min(WINDOW, len(run.minutes)) - 1, None)  # before, the mean is of a few
        touches = moving_mean(100 * run.touched.astype(float))
        (line,) = axes[0].plot(run.minutes[whole], touches[whole], label=run.name)
        axes[1].plot(run.minutes[whole], moving_mean(run.episode_return)[whole])
        if run.planned.any():
            begins = run.minutes[np.argmax(run.planned)]
            for axis in axes:
                axis.axvline(begins, color=line.get_color(), linestyle=":", linewidth=1)
    axes[0].set(ylabel=f"touches in the last {WINDOW} episodes (%)", ylim=(0, 102))
    axes[1].set(ylabel=f"return, mean of the last {WINDOW} episodes")
    for axis in axes:
        axis.set(xlabel="wall-clock time (min)", xlim=(0, None))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, title="dotted: planning begins")
    figure.savefig(out, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, help="folders that hold an episodes.csv")
    parser.add_argument("--out", type=Path, default=Path("poke.png"), help="the picture")
    arguments = parser.parse_args()
    runs = [read(folder) for folder in arguments.folders]
    print(f"{'run':12} {'minutes':>8} {'episodes':>9} {'planned':>8} {'last 20 touched':>16}")
    for run in runs:
        count = int(run.planned.sum())
        print(
            f"{run.name:12} {run.minutes[-1]:8.1f} {len(run.minutes):9d} {count:8d} "
            f"{run.last_touches:16d}"
        )
    draw(runs, arguments.out)


if __name__ == "__main__":
    main()
