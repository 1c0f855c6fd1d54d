"""How long an update takes: the paper's model, B = L = 50, and the laptop profile.

    python -m benchmarks.learner [--peer DIR] [--json FILE]

`--peer` is a checkout of Kaixhin/PlaNet; it runs with the system's malloc and with the settings
that the launch files give to our learner. An update includes the drawing of its batch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import peer, profiles
from benchmarks.timing import Contestant, finish, machine, serve, table, take_turns
from planet_core.testing import make_episode
from planet_learner.mirror import Mirror
from planet_model.batches import Batches
from planet_model.config import ModelConfig, ObjectiveConfig, TrainingConfig
from planet_model.trainer import PlanetTrainer

BATCH, LENGTH = 50, 50


def cameras(count: int) -> tuple[str, ...]:
    return tuple(f"camera_{i}" for i in range(count))


def random_mirror(count: int, episodes: int = 20, steps: int = 100) -> Mirror:
    """A mirror of random episodes with `count` cameras."""
    size = peer.ACTION_SIZE
    mirror = Mirror(episodes * (steps + 1), (64, 64 * count, 3), size, 0)
    for number in range(1, episodes + 1):
        episode = make_episode(
            str(number), steps=steps, cameras=count, actions=size, joints=size, seed=number
        )
        mirror.add(episode, number)
    return mirror


def make_trainer(count: int, precision: str = "auto", device: str = "cpu") -> PlanetTrainer:
    """A trainer of the paper's model with `count` cameras."""
    model = ModelConfig(cameras=cameras(count), action_size=peer.ACTION_SIZE)
    config = TrainingConfig(
        batch_size=BATCH, chunk_length=LENGTH, precision=precision, clipped_starts=False
    )
    return PlanetTrainer(model, ObjectiveConfig(), config, device=device)


def laptop_trainer(precision: str = "auto", device: str = "cpu") -> PlanetTrainer:
    """A trainer of the laptop profile, which has two cameras."""
    profile = profiles.parameters("laptop", "/learner")
    model = ModelConfig(cameras=cameras(2), action_size=peer.ACTION_SIZE, **profile["model"])
    config = TrainingConfig(
        batch_size=profile["batch_size"],
        chunk_length=profile["chunk_length"],
        precision=precision,
    )
    objective = ObjectiveConfig(**profile["objective"])
    return PlanetTrainer(model, objective, config, device=device)


def contestant(arguments: dict[str, Any]) -> None:
    """One process: an update, or the drawing of a batch, per step."""
    torch.set_num_threads(arguments["threads"])
    if arguments["who"] == "peer":
        torch.manual_seed(0)
        serve(peer.training_step(Path(arguments["peer"]), BATCH, LENGTH))
        return
    mirror = random_mirror(arguments.get("cameras", 2))
    if arguments["who"] == "draw":
        batches, rng = Batches(mirror, torch.device("cpu"), copied=False), np.random.default_rng(0)
        serve(lambda: batches.draw(BATCH, LENGTH, rng, False))
        return
    how = arguments["precision"], arguments["device"]
    laptop = arguments["who"] == "laptop"
    trainer = laptop_trainer(*how) if laptop else make_trainer(arguments["cameras"], *how)
    serve(lambda: trainer.update(mirror))


def _contestant(who: str, threads: int, malloc: bool = True, **more: Any) -> Contestant:
    arguments = {"who": who, "threads": threads, "device": "cpu", "precision": "auto", **more}
    return Contestant("benchmarks.learner", arguments, threads, malloc)


def speed(
    folder: Path | None, rounds: int, device: str
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """The rows of the table, and ratios of medians by threads."""
    rows = []
    ratios: dict[str, dict[str, float]] = {}
    for threads in (1, 2):
        names = {
            "ours": _contestant("ours", threads, cameras=1, device=device),
            "ours, two cameras": _contestant("ours", threads, cameras=2, device=device),
            "ours, float32": _contestant(
                "ours", threads, cameras=1, device=device, precision="float32"
            ),
            "drawing a batch of two cameras": _contestant("draw", threads, cameras=2),
            "laptop profile": _contestant("laptop", threads, device=device),
            "laptop profile, float32": _contestant(
                "laptop", threads, device=device, precision="float32"
            ),
            "laptop profile, bfloat16": _contestant(
                "laptop", threads, device=device, precision="bfloat16"
            ),
        }
        if folder is not None:
            names["Kaixhin/PlaNet"] = _contestant("peer", threads, malloc=False, peer=str(folder))
            names["Kaixhin/PlaNet, tuned malloc"] = _contestant("peer", threads, peer=str(folder))
        many = dict.fromkeys((name for name in names if "laptop" in name), 10)
        take_turns(names, rounds, 1, many | {"drawing a batch of two cameras": 20})
        median = {name: one.milliseconds()["median"] for name, one in names.items()}
        for name, one in names.items():
            rows.append({"learner": name, "threads": threads, **one.milliseconds()})
        found = {
            "two_cameras_over_twice_one": median["ours, two cameras"] / (2 * median["ours"]),
            "drawing_over_update": median["drawing a batch of two cameras"]
            / median["ours, two cameras"],
            "float32": median["ours, float32"] / median["ours"],
        }
        for precision in ("float32", "bfloat16"):
            found[f"laptop_{precision}"] = (
                median[f"laptop profile, {precision}"] / median["laptop profile"]
            )
        if folder is not None:
            found["peer"] = median["Kaixhin/PlaNet"] / median["ours"]
            found["peer_tuned_malloc"] = median["Kaixhin/PlaNet, tuned malloc"] / median["ours"]
        ratios[f"th{threads}"] = {name: round(value, 4) for name, value in found.items()}
    return rows, ratios


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.learner", description=__doc__)
    parser.add_argument("--peer", type=Path, help="a checkout of Kaixhin/PlaNet")
    parser.add_argument("--rounds", type=int, default=5, help="updates of each contestant")
    parser.add_argument("--device", default="cpu", help="where ours trains")
    parser.add_argument("--json", type=Path, help="write the result there; - prints only that")
    parser.add_argument("--contestant", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant is not None:
        contestant(given.contestant)
        return
    began = time.perf_counter()
    folder = peer.check(given.peer) if given.peer else None
    result: dict[str, Any] = {"machine": machine()}
    result["rows"], details = speed(folder, given.rounds, given.device)
    result["ratios"] = {threads: found.get("peer") for threads, found in details.items()}
    result["details"] = details
    result["seconds"] = round(time.perf_counter() - began, 1)
    heads = ["learner", "threads", "minimum", "median", "p99"]
    text = f"An update, ms (B {BATCH}, L {LENGTH}, one camera unless said otherwise)\n\n"
    text += table(heads, [[row[h] for h in heads] for row in result["rows"]])
    text += "\n\nratios of medians: " + json.dumps(details, indent=1)
    finish(result, text, given.json)


if __name__ == "__main__":
    main()
