"""What of the planner's budget fits into a decision's time."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from planet_model.config import PlannerConfig
from planet_roller.pace import TooSlowError, dry_run, fit

ASKED = PlannerConfig(horizon=8, iterations=3, candidates=200, elites=20)


@dataclass
class Computer:
    """An agent and a clock: a decision takes `rest`, and so long per iteration and candidate, s."""

    per_candidate: float
    rest: float = 0.005
    time: float = 0.0
    decisions: int = 0
    planner: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(config=ASKED, title="int8 AVX2", iterations=3)
    )
    model: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            config=SimpleNamespace(cameras=("a", "b"), action_size=4, state_size=2)
        )
    )

    def now(self) -> float:
        return self.time

    def reset(self) -> None:
        """Of the agent."""

    def act(self, images, previous, noise, state):
        assert images.shape == (64, 128, 3)
        assert state.shape == (2,)
        c = self.planner.config
        self.decisions += 1
        self.time += self.rest + c.iterations * c.candidates * self.per_candidate
        return np.zeros(4, np.float32)


def test_the_dry_run_is_of_twenty_decisions_after_a_warm_up():
    computer = Computer(1e-6)
    times = dry_run(computer, computer)
    assert computer.decisions == 22
    assert times == pytest.approx([0.0056] * 20)


def test_what_fits_is_left_as_the_profile_has_it():
    computer = Computer(5e-5)  # 35 ms
    pace = fit(computer, 0.1, computer)
    assert pace.planner == computer.planner.config == ASKED
    assert pace.text.endswith("3 iterations of 200 candidates in 35 of 100 ms")
    assert pace.text.startswith("int8 AVX2, ")


def test_what_does_not_fit_has_fewer_candidates_and_as_many_iterations():
    computer = Computer(1e-4)  # 65 ms
    pace = fit(computer, 0.1, computer)
    assert pace.planner.iterations == 3
    assert 100 <= pace.planner.candidates < 134  # (45 - 5) / (3 x 0.1)
    assert pace.planner.elites == round(0.1 * pace.planner.candidates)
    assert pace.seconds <= 0.045
    assert pace.text.endswith("(the profile asks for 3 iterations of 200 candidates)")


def test_too_few_candidates_are_no_search_so_iterations_are_given_up_first():
    computer = Computer(4e-4)  # 245 ms; an iteration of 50 takes 20
    pace = fit(computer, 0.1, computer)
    assert (pace.planner.iterations, pace.planner.candidates) == (1, 50)


def test_one_iteration_may_be_late_but_not_later_than_the_decision():
    computer = Computer(1.4e-3)
    assert fit(computer, 0.1, computer).planner.iterations == 1  # 75 ms
    computer = Computer(1.6e-3)
    with pytest.raises(TooSlowError, match=r"50 candidates takes 85 ms .* at most 80 ms"):
        fit(computer, 0.1, computer)
