"""What the control loop tells the world."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from planet_core.clocks import Clock
from planet_core.method import Action, Image
from planet_core.report import Level
from planet_roller.policy import Policy

_PREDICTION_PERIOD = 0.4  # s between prediction images
_REPORT_PERIOD = 1.0  # s between reports of latencies
_LATENCIES = 1000  # decisions that the reported percentiles look back on


@dataclass(frozen=True)
class Transition:
    """Telemetry of one decision; units and names of planet_msgs/Transition."""

    stamp: int
    episode_id: str
    policy: str
    step: int
    action: Action
    reward: float
    reward_valid: bool
    episode_return: float
    terminated: bool
    truncated: bool
    touched: bool
    image_age: float
    planning_time: float
    latency: float
    missed_ticks: int
    weights_version: int
    planner: str
    iterations: int
    candidates: int


class Telemetry(Protocol):
    """What the loop tells the world. None of it may block."""

    def report(self, name: str, level: Level, message: str, **values: object) -> None:
        """Tell the state of a part, and a sentence."""

    def log(self, message: str) -> None:
        """Write a line that a person likes to read."""

    def transition(self, transition: Transition) -> None:
        """Tell of a decision."""

    def prediction_wanted(self) -> bool:
        """Whether anybody looks at the prediction image."""

    def prediction(self, image: Image, stamp: int) -> None:
        """Show what is predicted of the observation of this stamp, ns."""


class Preview:
    """Shows predictions a few times a second, if there is somebody to look and time to make one."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._shown = -math.inf
        self._seconds = 0.0  # that one takes

    def show(self, policy: Policy, stamp: int, until: float) -> None:
        """Show a prediction if one is due, wanted, and made before `until` (s)."""
        start = self._clock.now()
        if start < self._shown + _PREDICTION_PERIOD or start + self._seconds > until:
            return
        if not self._telemetry.prediction_wanted():
            return
        self._shown = start
        image = policy.prediction()
        if image is not None:
            self._seconds = self._clock.now() - start
            self._telemetry.prediction(image, stamp)


class Punctuality:
    """Reports latencies and missed ticks."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._ticks = 0
        self._missed = 0
        self._reported = -math.inf

    def decision(self, latency: float) -> None:
        """Count a decision whose command came `latency` (s) after its last image."""
        self._latencies.append(latency)

    def episode(self, ticks: int, missed: int) -> None:
        """Count an episode, and report if it is time to."""
        self._ticks += ticks
        self._missed += missed
        if self._clock.now() < self._reported + _REPORT_PERIOD or not self._latencies:
            return
        self._reported = self._clock.now()
        p50, p99 = np.percentile(self._latencies, (50, 99)) * 1e3
        late = missed > 0.05 * ticks
        self._telemetry.report(
            "control",
            "warn" if late else "ok",
            f"{missed} of {ticks} ticks were missed in an episode" if late else "in time",
            latency_p50_ms=round(float(p50), 2),
            latency_p99_ms=round(float(p99), 2),
            ticks=self._ticks,
            missed_ticks=self._missed,
        )
