"""How many threads pay, on a clock of its own, and once for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from planet_learner import thread_trial

SMALL = {
    "batch_size": 2,
    "chunk_length": 3,
    "threads": 1,
    "model.deterministic_size": 8,
    "model.stochastic_size": 4,
    "model.hidden_size": 8,
    "model.embedding_size": 8,
    "model.conv_depth": 2,
}
SEARCH = {
    "seed_episodes": 3,
    "planner.horizon": 2,
    "planner.iterations": 1,
    "planner.candidates": 8,
    "planner.elites": 2,
}


class Machine:
    """Steps that take what is said by number of threads, and the clock that goes with them."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self._seconds = seconds
        self._now = 0.0
        self.steps: list[int] = []

    def curve(self, counts: Sequence[int]) -> dict[int, float]:
        return thread_trial.curve(self._step, counts, self._set_threads, clock=lambda: self._now)

    def _set_threads(self, count: int) -> None:
        self._count = count

    def _step(self) -> None:
        self.steps.append(self._count)
        self._now += self._seconds[self._count]


def test_numbers_are_tried_until_one_does_not_pay() -> None:
    machine = Machine({1: 0.1, 2: 0.06, 3: 0.055, 4: 0.01})
    assert machine.curve([1, 2, 3, 4]) == pytest.approx({1: 0.1, 2: 0.06})
    assert 4 not in machine.steps


def test_what_takes_long_is_done_once() -> None:
    machine = Machine({1: 3.0, 2: 1.6})
    assert machine.curve([1, 2]) == pytest.approx({1: 3.0, 2: 1.6})
    assert machine.steps == [1, 2]


def test_what_is_short_is_done_often() -> None:
    machine = Machine({1: 0.01})
    machine.curve([1])
    assert len(machine.steps) > 10


def asked(plan: list[int], update: list[int], **learner: object) -> str:
    return json.dumps(
        {"plan": plan, "update": update, "roller": SEARCH, "learner": SMALL | learner}
    )


def run(question: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planet_learner.thread_trial"],
        input=question,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plan_and_an_update_are_timed_with_the_nodes_own_parameters() -> None:
    answer = json.loads(run(asked([1], [1])).stdout.splitlines()[-1])
    assert [count for count, _ in answer["plan"]] == [1]
    assert [count for count, _ in answer["update"]] == [1]
    assert answer["plan"][0][1] > 0.0


def test_what_is_not_asked_for_is_not_made() -> None:
    assert thread_trial.measure(json.loads(asked([], []))) == {"plan": {}, "update": {}}


def test_a_parameter_that_is_out_of_range_is_one_sentence() -> None:
    trial = run(asked([1], [1], **{"model.conv_depth": 0}))
    assert trial.returncode == 1
    assert trial.stderr == "NetworkConfig.conv_depth is 0, expected at least 1\n"
