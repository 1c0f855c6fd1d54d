"""Learning by pixels on the rig: the return of each episode, and what the reward is worth.

The recorder listens to a running rig and writes the rewards beside the truth; the report reads
that and the `episodes.csv` of the run.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from experiments import tables

WINDOW = 20  # episodes


def record(out: Path) -> None:
    """Write the valid rewards of driven episodes beside the true distances, until interrupted.

    And, as JSON beside it and anew every few seconds, the rate of joint states and what roller and
    driver say of their pace.
    """
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from planet_msgs.msg import Reward, Transition
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import JointState

    from planet_node.qos import STREAM
    from planet_node.stamps import to_ns

    rclpy.init(args=[])
    node = rclpy.create_node("recorder")
    truths: deque[tuple[int, float, bool]] = deque(maxlen=200)
    newest_transition = 0
    stamps: deque[int] = deque(maxlen=60_000)
    summary: dict[str, Any] = {}
    columns = ("stamp", "pixel_distance", "distance", "pixel_touched", "touched")
    table = tables.fresh(out, columns)

    def on_truth(message: Reward) -> None:
        truths.append((to_ns(message.header.stamp), message.distance, message.touched))

    def on_transition(message: Transition) -> None:
        nonlocal newest_transition
        newest_transition = to_ns(message.header.stamp)

    def on_reward(message: Reward) -> None:
        stamp = to_ns(message.header.stamp)
        if not message.valid or not truths or stamp - newest_transition > 0.3e9:
            return
        near = min(truths, key=lambda truth: abs(truth[0] - stamp))
        if abs(near[0] - stamp) < 30e6:
            distances = (f"{message.distance:.5f}", f"{near[1]:.5f}")
            row = (stamp, *distances, int(message.touched), int(near[2]))
            table.append(dict(zip(columns, row, strict=True)))

    def on_joints(message: JointState) -> None:
        stamps.append(to_ns(message.header.stamp))

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(("roller: control", "driver: bus")):
                summary[status.name] = {pair.key: pair.value for pair in status.values}

    def summarise() -> None:
        gaps = np.diff(stamps) * 1e-6
        if len(gaps):
            summary["joint_states"] = {
                "rate_hz": round(float(1e3 / gaps.mean()), 2),
                "gap_p99_ms": round(float(np.quantile(gaps, 0.99)), 2),
            }
        out.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")

    node.create_subscription(Reward, "/ergojr/rig/truth", on_truth, STREAM)
    node.create_subscription(Reward, "/ergojr/reward", on_reward, STREAM)
    node.create_subscription(Transition, "/ergojr/transition", on_transition, STREAM)
    node.create_subscription(JointState, "/ergojr/joint_states", on_joints, STREAM)
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, STREAM)
    node.create_timer(10.0, summarise)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return


def report(episodes: Path, rewards: Path, out: Path) -> str:
    """Draw `out` and return what it shows, as lines of text."""
    rows = tables.read(episodes)
    times = tables.column(rows, "wall_time")
    minutes = (times - times[0]) / 60
    returns = tables.column(rows, "return")
    touched = np.array([row["touched"] in {"1", "True"} for row in rows])
    random = np.array([row["policy"] == "random" for row in rows])
    pairs = tables.read(rewards)
    pixels, truth = tables.column(pairs, "pixel_distance"), tables.column(pairs, "distance")
    rho = float(stats.spearmanr(pixels, truth).statistic)

    def stated(name: str, chosen: NDArray[np.bool_]) -> tuple[str, float, float]:
        values = returns[chosen]
        error = float(stats.sem(values))
        line = (
            f"{name}: {len(values)} episodes, return {values.mean():.2f} ± {error:.2f} "
            f"(standard error), touched {touched[chosen].sum()} ({touched[chosen].mean():.0%})"
        )
        return line, float(values.mean()), error

    planned = ~random
    last = planned & (np.cumsum(planned[::-1])[::-1] <= 2 * WINDOW)
    random_line, low, low_error = stated("random", random)
    last_line, high, high_error = stated(f"last {2 * WINDOW} planned", last)
    gap = (high - low) / float(np.hypot(low_error, high_error))
    lines = [
        random_line,
        last_line,
        f"difference: {gap:.1f} standard errors",
        f"rank correlation of reward and true distance: {rho:.3f} over {len(pixels)} steps",
    ]

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for chosen, colour, name in ((random, "0.6", "random"), (planned, "C0", "planned")):
        axes[0].plot(minutes[chosen], returns[chosen], ".", color=colour, alpha=0.5, label=name)
        mean = np.convolve(returns[chosen], np.ones(WINDOW) / WINDOW, "valid")
        axes[0].plot(minutes[chosen][WINDOW - 1 :], mean, color=colour)
        share = np.convolve(touched[chosen], np.ones(WINDOW) / WINDOW, "valid")
        axes[1].plot(minutes[chosen][WINDOW - 1 :], 100 * share, color=colour)
    axes[0].set(xlabel="minutes", ylabel="return by pixels")
    axes[0].legend()
    axes[1].set(xlabel="minutes", ylabel=f"touches in {WINDOW} episodes (%)", ylim=(0, 100))
    axes[2].plot(truth, pixels, ".", markersize=1, alpha=0.3)
    axes[2].set(
        xlabel="true distance (m)", ylabel="pixel distance", title=f"rank correlation {rho:.3f}"
    )
    figure.savefig(out, dpi=110)
    return "\n".join(lines)
