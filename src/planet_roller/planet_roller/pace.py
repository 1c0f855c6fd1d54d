"""How much of the planner's budget fits into the time that a robot's decision has.

The profile's budget is a target. Where a plan would come too late, the search has fewer candidates,
and where that leaves too few, fewer iterations: a slow computer plans less well instead of late.
One iteration is made in any case, and may take most of a decision's time: ticks are missed then.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_model.agent import Agent
from planet_model.config import PlannerConfig
from planet_roller.policy import Action, computes

DECISIONS = 20
"""Dry decisions that a budget is judged by."""
_WARM_UP = 2  # decisions that make buffers and caches
_LEAST = 50  # candidates: fewer are no search
_SPARE = 0.9  # of the time, so that a plan is seldom cut short
_LATEST = 0.8  # of a decision's time, for one iteration


class TooSlowError(Exception):
    """Not even one iteration fits into a decision's time; one sentence says so."""


@dataclass(frozen=True)
class Pace:
    """A budget that keeps pace."""

    planner: PlannerConfig
    seconds: float
    """What a decision takes with it, from the images to the action; 99th percentile, s."""
    text: str
    """For people."""


def fit(agent: Agent, decision: float, clock: Clock) -> Pace:
    """Set the agent's budget to what fits into `decision` (s), measured by dry decisions.

    Raises TooSlowError.
    """
    planner, asked = agent.planner, agent.planner.config
    allowed = asked.deadline * decision
    times = dry_run(agent, clock)
    if np.percentile(times, 99) > allowed:
        planner.config = _reduced(agent, float(np.median(times)), allowed, clock)
        times = dry_run(agent, clock)
        least = planner.config.iterations == 1 and planner.config.candidates <= _LEAST
        if least and np.median(times) > _LATEST * decision:
            raise TooSlowError(
                f"one iteration of {planner.config.candidates} candidates takes "
                f"{1e3 * np.median(times):.0f} ms with {computes(agent)}, but of a decision's "
                f"{1e3 * decision:.0f} ms at most {1e3 * _LATEST * decision:.0f} ms are allowed: "
                "set real_time_factor to 0 (lockstep)"
            )
    seconds = float(np.percentile(times, 99))
    text = (
        f"{computes(agent)}: {budget(planner.config)} in {1e3 * seconds:.0f} of "
        f"{1e3 * decision:.0f} ms"
    )
    if planner.config != asked:
        text += f" (the profile asks for {budget(asked)})"
    return Pace(planner.config, seconds, text)


def budget(planner: PlannerConfig) -> str:
    """A budget in words."""
    if planner.planner == "random":
        return "nothing is searched"
    iterations = f"{planner.iterations} iteration{'s' if planner.iterations > 1 else ''}"
    return f"{iterations} of {planner.candidates} candidates"


def dry_run(agent: Agent, clock: Clock) -> npt.NDArray[np.float64]:
    """What each of some decisions takes on a grey image, from the image to the action, s."""
    config = agent.model.config
    images = np.full((64, 64 * len(config.cameras), 3), 128, np.uint8)
    state = np.zeros(config.state_size, np.float32)
    action: Action = np.zeros(config.action_size, np.float32)
    times = []
    for _ in range(_WARM_UP + DECISIONS):
        start = clock.now()
        action = agent.act(images, action, 0.0, state)
        times.append(clock.now() - start)
    agent.reset()
    return np.array(times[_WARM_UP:])


def _reduced(agent: Agent, seconds: float, allowed: float, clock: Clock) -> PlannerConfig:
    """The budget that takes `allowed` s by a decision's median, where `seconds` are too many."""
    asked = agent.planner.config
    iteration, rest = seconds, 0.0
    if asked.iterations > 1:
        agent.planner.config = dataclasses.replace(asked, iterations=1)
        one = float(np.median(dry_run(agent, clock)))
        iteration = max((seconds - one) / (asked.iterations - 1), 1e-6)
        rest = max(0.0, one - iteration)
    candidate = iteration / asked.candidates
    room = max(0.0, _SPARE * allowed - rest)
    iterations = asked.iterations
    candidates = int(room / (iterations * candidate))
    least = min(_LEAST, asked.candidates)
    if candidates < least:
        candidates = least
        iterations = min(max(1, int(room / (least * candidate))), asked.iterations)
    candidates = min(candidates, asked.candidates)
    elites = max(1, round(asked.elites * candidates / asked.candidates))
    return dataclasses.replace(
        asked,
        iterations=iterations,
        candidates=candidates,
        elites=elites,
        kept_elites=min(asked.kept_elites, elites),
    )
