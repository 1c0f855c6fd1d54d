"""Whether training in bfloat16 loses anything: its loss curves against those of float32.

    python -m benchmarks.precision [--json FILE]

The same random episodes of experiments.point_push, three seeds of weights and batches, both
precisions. The difference of the precisions is held against the spread of the seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import finish, machine, table
from experiments.point_push.environment import CAMERAS, PointPush
from experiments.point_push.rollout import play
from experiments.point_push.training import LEARNER, MODEL, OBJECTIVE, SEED_ACTION_HOLDS
from planet_learner.mirror import Mirror
from planet_learner.trainer import Trainer
from planet_roller.policy import RandomPolicy

LOSSES = ("image_loss", "reward_loss", "kl")


def curves(
    mirror: Mirror, precision: str, seeds: int, updates: int
) -> dict[str, NDArray[np.float64]]:
    """Each loss over the updates, [seeds, updates]."""
    found: dict[str, list[list[float]]] = {name: [] for name in LOSSES}
    for seed in range(seeds):
        trainer = Trainer(MODEL, OBJECTIVE, replace(LEARNER, seed=seed, precision=precision))
        made = [trainer.update(mirror) for _ in range(updates)]
        for name in LOSSES:
            found[name].append([getattr(update, name) for update in made])
    return {name: np.array(values) for name, values in found.items()}


def run(seeds: int, updates: int, episodes: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    environment = PointPush()
    policy = RandomPolicy(2, SEED_ACTION_HOLDS, np.random.default_rng(0))
    mirror = Mirror(episodes * (environment.steps + 1), (64, 64 * len(CAMERAS), 3), 2)
    for number in range(1, episodes + 1):
        mirror.add(play(environment, policy, number, str(number)), number)
    both = {p: curves(mirror, p, seeds, updates) for p in ("float32", "bfloat16")}
    result: dict[str, Any] = {"seeds": seeds, "updates": updates, "losses": {}}
    for name in LOSSES:
        # Mean over the last third, of each seed.
        plain, fast = (both[p][name][:, -updates // 3 :].mean(1) for p in ("float32", "bfloat16"))
        result["losses"][name] = {
            "float32": round(float(plain.mean()), 4),
            "bfloat16": round(float(fast.mean()), 4),
            "difference": round(float((fast - plain).mean()), 4),
            "spread_of_seeds": round(float(plain.std(ddof=1)), 4),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.precision", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--json", type=Path, help="write the result there; - prints only that")
    given = parser.parse_args()
    result = {"machine": machine(), **run(given.seeds, given.updates, given.episodes)}
    names = ["float32", "bfloat16", "difference", "spread_of_seeds"]
    rows = [[name, *(f"{loss[n]:.4g}" for n in names)] for name, loss in result["losses"].items()]
    text = f"Losses over the last third of {given.updates} updates, {given.seeds} seeds\n\n"
    finish(result, text + table(["loss", *names], rows), given.json)


if __name__ == "__main__":
    main()
