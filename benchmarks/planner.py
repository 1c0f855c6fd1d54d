"""How long a decision takes, and what the fast path costs in quality.

    python -m benchmarks.planner [--peer DIR] [--kernels KERNEL...] [--weights RUN] [--json FILE]

`--peer` is a checkout of Kaixhin/PlaNet. `--weights` is the folder of a run of
experiments.point_push (weights.safetensors and config.json): with it the quality is measured, on
trained weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import peer, profiles
from benchmarks.profiles import CAMERAS
from benchmarks.timing import Contestant, finish, machine, serve, table, take_turns
from planet_model.agent import Agent
from planet_model.config import ModelConfig, PlannerConfig
from planet_model.kernels import runnable
from planet_model.planner import CrossEntropyPlanner, best, make_planner
from planet_model.weights import load
from planet_model.world_model import WorldModel

FULL = PlannerConfig()
"""The paper's search: H 12, I 10, J 1000, K 100."""
PEER = "Kaixhin/PlaNet"
REAL_TIME = PlannerConfig(
    horizon=12, iterations=3, candidates=200, elites=20, warm_start=True, kept_elites=10
)
"""A warm start, and a seventeenth of the samples."""


def contestant(arguments: dict[str, Any]) -> None:
    """One process: a decision per step."""
    torch.set_num_threads(arguments["threads"])
    torch.manual_seed(0)
    if arguments["who"] == "peer":
        c = FULL
        serve(
            peer.planner(Path(arguments["peer"]), c.horizon, c.iterations, c.candidates, c.elites)
        )
        return
    config = PlannerConfig.from_dict(arguments["planner"])
    if arguments["who"] == "decision":  # from the images to the action
        agent = Agent(WorldModel(profiles.model("laptop")), config, 0)
        images = np.random.default_rng(0).integers(0, 256, (64, 64 * len(CAMERAS), 3), np.uint8)
        action = np.zeros(profiles.ACTIONS, np.float32)
        serve(lambda: agent.act(images, action, 0.3))
    else:
        model = WorldModel(ModelConfig(cameras=CAMERAS, action_size=peer.ACTION_SIZE)).eval()
        planner = make_planner(model, config)
        belief, generator = model.initial_belief(1), torch.Generator().manual_seed(0)
        serve(lambda: planner.plan(belief, generator))


def _contestant(who: str, threads: int, config: PlannerConfig, folder: Path | None) -> Contestant:
    arguments = {"who": who, "threads": threads, "planner": config.to_dict(), "peer": str(folder)}
    return Contestant("benchmarks.planner", arguments, threads)


def speed(
    folder: Path | None, rounds: int, kernels: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the table, and the peer's median over ours by kernel and threads."""
    rows, ratios = [], {}
    laptop = profiles.planner("laptop")
    for threads in (1, 2):
        running, often = {}, {}
        for kernel in kernels:
            search = dataclasses.replace(FULL, kernel=kernel)
            running[f"{kernel}: the paper's search"] = _contestant(
                "planner", threads, search, folder
            )
            decision = f"{kernel}: the laptop's decision"
            budget = dataclasses.replace(laptop, kernel=kernel)
            running[decision] = _contestant("decision", threads, budget, folder)
            often[decision] = 10
        if folder is not None:
            running[PEER] = _contestant("peer", threads, FULL, folder)
        take_turns(running, rounds, 3, often)
        for name, one in running.items():
            rows.append({"planner": name, "threads": threads, **one.milliseconds()})
        if folder is not None:
            medians = {name: one.milliseconds()["median"] for name, one in running.items()}
            for kernel in kernels:
                ratio = medians[PEER] / medians[f"{kernel}: the paper's search"]
                ratios[f"{kernel}, {threads} thread{'s' if threads > 1 else ''}"] = round(ratio, 2)
    return rows, ratios


def quality(run: Path, episodes: int, beliefs: int) -> dict[str, Any]:
    """The fast path against float32 on the weights of `run`, in the world they were trained in."""
    from experiments.point_push.environment import PointPush
    from experiments.point_push.rollout import OraclePolicy, play
    from planet_roller.policy import PlannerPolicy, RandomPolicy

    config = ModelConfig.from_dict(json.loads((run / "config.json").read_text())["model"])
    model = load((run / "weights.safetensors").read_bytes(), config).eval()
    plain = CrossEntropyPlanner(model, dataclasses.replace(FULL, kernel="model"))
    fast = CrossEntropyPlanner(model, FULL)
    environment = PointPush()

    def returns(config: PlannerConfig, name: str) -> list[float]:
        policy = PlannerPolicy(Agent(model, config, 0), 1, 0.0, evaluation=True)
        found = []
        for seed in range(episodes):
            found.append(float(play(environment, policy, seed, str(seed)).reward.sum()))
            print(f"\r{name}: episode {seed + 1} of {episodes}", end="", file=sys.stderr)
        print(file=sys.stderr)
        return found

    # Beliefs of the way: of an agent that acts with noise, every few decisions.
    agent = Agent(model, REAL_TIME, 1)
    overlaps, gaps = [], []
    for number in range(beliefs):
        image, _ = environment.reset(seed=10_000 + number)
        agent.reset()
        action: NDArray[np.float32] = np.zeros(config.action_size, np.float32)
        for _ in range(1 + number % 20):
            action = agent.act(image, action, 0.3)
            image, *_ = environment.step(action)
        belief = agent.belief
        with torch.inference_mode():
            noise = torch.randn(
                FULL.candidates,
                FULL.horizon,
                config.action_size,
                generator=torch.Generator().manual_seed(number),
            )
            score, elites = [], []
            for planner in (plain, fast):
                found = planner.score(
                    belief, noise.clamp(-1, 1), torch.Generator().manual_seed(number)
                )
                score.append(found)
                elites.append(set(best(found, FULL.elites).tolist()))
            overlaps.append(len(elites[0] & elites[1]) / FULL.elites)
            spread = float(score[0].std())
            plans = []
            for planner in (plain, fast):
                planner.plan(belief, torch.Generator().manual_seed(number))
                assert planner._last_mean is not None
                many = planner._last_mean.expand(FULL.candidates, -1, -1)
                judged = plain.score(belief, many, torch.Generator().manual_seed(number))
                plans.append(float(judged.mean()))
            gaps.append((plans[1] - plans[0]) / spread)
    results: dict[str, Any] = {
        "elite_overlap": {
            "mean": round(float(np.mean(overlaps)), 4),
            "lowest": round(float(np.min(overlaps)), 4),
        },
        "plan_gap_in_spreads": {
            "mean": round(float(np.mean(gaps)), 5),
            "lowest": round(float(np.min(gaps)), 5),
        },
        "returns": {
            "full search, float32": returns(plain.config, "float32"),
            "full search, fast": returns(FULL, "fast"),
            "real time, fast": returns(REAL_TIME, "real time"),
        },
    }
    oracle = [
        float(play(environment, OraclePolicy(environment), s, "o").reward.sum())
        for s in range(episodes)
    ]
    random_policy = RandomPolicy(config.action_size, [1], np.random.default_rng(0))
    random = [float(play(environment, random_policy, s, "r").reward.sum()) for s in range(episodes)]
    low, high = np.mean(random), np.mean(oracle)
    results["normalised_return"] = {
        name: round(float((np.mean(values) - low) / (high - low)), 4)
        for name, values in results["returns"].items()
    }
    results["returns"] |= {"oracle": oracle, "random": random}
    results["returns"] = {
        name: {
            "mean": round(float(np.mean(v)), 3),
            "standard_error": round(float(np.std(v, ddof=1) / np.sqrt(len(v))), 3),
        }
        for name, v in results["returns"].items()
    }
    return results


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.planner", description=__doc__)
    parser.add_argument("--peer", type=Path, help="a checkout of Kaixhin/PlaNet")
    parser.add_argument("--weights", type=Path, help="a run of experiments.point_push")
    parser.add_argument("--kernels", nargs="*", help="kernels; all that this CPU can run")
    parser.add_argument("--rounds", type=int, default=20, help="decisions of each contestant")
    parser.add_argument("--episodes", type=int, default=30, help="episodes for the return")
    parser.add_argument("--json", type=Path, help="write the result there; - prints only that")
    parser.add_argument("--contestant", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant is not None:
        contestant(given.contestant)
        return
    began = time.perf_counter()
    result: dict[str, Any] = {"machine": machine()}
    folder = peer.check(given.peer) if given.peer else None
    kernels = given.kernels or [*(kernel.name for kernel in runnable()), "model"]
    result["rows"], result["ratios"] = speed(folder, given.rounds, kernels)
    heads = ["planner", "threads", "minimum", "median", "p99"]
    text = "The paper's search (H 12, I 10, J 1000, K 100), and the laptop's decision, ms\n\n"
    text += table(heads, [[row[h] for h in heads] for row in result["rows"]])
    if result["ratios"]:
        text += f"\n\ntimes as fast as Kaixhin/PlaNet: {result['ratios']}"
    if given.weights is not None:
        result["quality"] = quality(given.weights, given.episodes, beliefs=20)
        text += "\n\nquality on trained weights: " + json.dumps(result["quality"], indent=1)
    result["seconds"] = round(time.perf_counter() - began, 1)
    finish(result, text, given.json)


if __name__ == "__main__":
    main()
