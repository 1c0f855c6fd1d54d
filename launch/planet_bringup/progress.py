"""What a person wants to read every few seconds while the robot learns, as one line."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

RECENT_EPISODES = 20
RECENT_DECISIONS = 500
_EXPECTED = 10.0  # minutes that learning takes where nothing is said of it
_SILENT = 5.0  # s without word of the operator node until it counts as missing


@dataclass(frozen=True)
class EpisodeEnd:
    """The last decision of an episode."""

    policy: str
    episode_return: float
    touched: bool


@dataclass
class Progress:
    """Collects what the nodes publish; `line` says it in one line, and who is waited for.

    Returns and touches are those of the last 20 episodes that planned; random episodes count only
    until there are some. Latencies (s) are those of the last 500 decisions.
    """

    started: float
    robot: bool = False
    """Whether the robot has announced itself."""
    replay: bool = False
    """Whether the replay has said what it holds."""
    usual_updates: int = 0
    """Updates after which the task is usually learnt; 0 = not known."""
    asked: str = ""
    """What the operator is asked before the arm goes on, empty while it moves."""
    asked_at: float | None = None
    """When that was heard last, which is twice a second; None where there is no operator."""
    episodes_stored: int = 0
    updates: int = 0
    updates_per_second: float = 0.0
    weights_version: int = 0
    random: deque[EpisodeEnd] = field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))
    planned: deque[EpisodeEnd] = field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_DECISIONS))

    def add(self, end: EpisodeEnd) -> None:
        """Take notice of an episode that has ended."""
        (self.random if end.policy == "random" else self.planned).append(end)

    def line(self, now: float) -> str:
        """Return the line. `now` and `started` are of one steady clock (s)."""
        minutes, seconds = divmod(int(now - self.started), 60)
        parts = [f"{minutes:3d}:{seconds:02d}", f"{self.episodes_stored} episodes"]
        recent = self.planned or self.random
        if recent:
            name = "planned" if self.planned else "random"
            touches = sum(end.touched for end in recent)
            mean = float(np.mean([end.episode_return for end in recent]))
            parts.append(f"last {len(recent)} {name}: {touches} touched, return {mean:.2f}")
        if self.updates:
            parts.append(f"{self.updates} updates, {self.updates_per_second:.1f}/s")
        parts += self._expected(now)
        if self.weights_version:
            parts.append(f"weights {self.weights_version}")
        if self.latencies:
            p50, p99 = 1000 * np.percentile(self.latencies, [50, 99])
            parts.append(f"image to command {p50:.0f} ms (p99 {p99:.0f})")
        return " | ".join(parts + self._missing(now))

    def _expected(self, now: float) -> list[str]:
        """What to expect of a computer that is slower than most."""
        left = self.usual_updates - self.updates
        # Before there are weights the learner is as fast as the robot makes its seed episodes.
        if left <= 0 or self.updates_per_second <= 0.0 or self.weights_version == 0:
            return []
        minutes = (now - self.started + left / self.updates_per_second) / 60
        return [f"usually learnt after {minutes:.0f} minutes"] if minutes > _EXPECTED else []

    def _missing(self, now: float) -> list[str]:
        missing = []
        if not self.robot:
            missing.append("waiting for the robot: is its driver running, or the simulator?")
        elif self.asked_at is not None and now - self.asked_at > _SILENT:
            missing.append("the operator node is silent: is it running? See its lines above")
        elif self.asked:
            missing.append(f"operator: {self.asked}")
        elif not self.latencies:
            missing.append("waiting for the first decision of the roller")
        if not self.replay:
            missing.append("waiting for the replay")
        if not self.weights_version:
            missing.append("no weights yet")
        return missing
