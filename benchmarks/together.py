"""Planner and learner at once, each on its own core, against each alone on the same core.

    python -m benchmarks.together [--kernel KERNEL] [--json FILE]

Both have the laptop profile: a decision from the images of two cameras, every 100 ms as on the
robot; updates without pause. Cores and malloc are set as the launch files do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import profiles
from benchmarks.timing import Contestant, finish, machine, table
from planet_bringup import cores as processors

PERIOD = 0.1  # s


def start(kernel: str) -> tuple[Contestant, Contestant]:
    """A planner and a learner, on a part of the cores each."""
    first, last = processors.read().parts(2)
    budget = dataclasses.replace(profiles.planner("laptop"), kernel=kernel)
    planner = {"who": "decision", "threads": 1, "planner": budget.to_dict()}
    learner = {"who": "laptop", "threads": 1, "device": "cpu", "precision": "auto"}
    return (
        Contestant("benchmarks.planner", planner, 1, cores=first),
        Contestant("benchmarks.learner", learner, 1, cores=last),
    )


def decide(planner: Contestant, count: int) -> None:
    """So many decisions, one every PERIOD."""
    due = time.perf_counter()
    for _ in range(count):
        time.sleep(max(0.0, due - time.perf_counter()))
        planner.step()
        due = max(due + PERIOD, time.perf_counter())


def run(decisions: int, updates: int, kernel: str) -> dict[str, Any]:
    planner, learner = start(kernel)
    result: dict[str, Any] = {}
    alone: list[float] = []
    with planner, learner:
        planner.warm_up(20)
        learner.warm_up(2)
        # Alone before and after: what drifts in between shows.
        for name in ("alone", "together", "alone, again"):
            planner.times.clear()
            learner.times.clear()
            if name == "together":
                stopped = threading.Event()

                def train(stopped: threading.Event = stopped) -> None:
                    while not stopped.is_set():
                        learner.step()

                training = threading.Thread(target=train)
                training.start()
                decide(planner, decisions)
                while len(learner.times) <= updates:
                    decide(planner, 20)
                stopped.set()
                training.join()
                learner.times.pop()  # it ended while the planner had stopped
            else:
                decide(planner, decisions)
                alone += planner.times
                for _ in range(updates):
                    learner.step()
            result[name] = {"planner": planner.milliseconds(), "learner": learner.milliseconds()}
    p99 = 1e3 * float(np.percentile(alone, 99))  # of both times that it was alone
    median = min(result[name]["learner"]["median"] for name in ("alone", "alone, again"))
    result["ratios"] = {
        "planner_p99_together_over_alone": round(result["together"]["planner"]["p99"] / p99, 3),
        "learner_speed_together_over_alone": round(
            median / result["together"]["learner"]["median"], 3
        ),
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.together", description=__doc__)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--kernel", default="auto", help="the planner's")
    parser.add_argument("--json", type=Path, help="write the result there; - prints only that")
    given = parser.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    result |= run(given.decisions, given.updates, given.kernel)
    rows = [
        [when, who, *result[when][who].values()]
        for when in ("alone", "together", "alone, again")
        for who in ("planner", "learner")
    ]
    text = "A real-time decision and an update, one core each, ms\n\n"
    text += table(["when", "who", "minimum", "median", "p99"], rows)
    text += "\n\n" + json.dumps(result["ratios"], indent=1)
    finish(result, text, given.json)


if __name__ == "__main__":
    main()
