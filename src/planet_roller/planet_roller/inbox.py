"""What comes to the control loop from other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from planet_core.clocks import Clock
from planet_core.weights import Weights
from planet_roller.robot import StoppedError


@dataclass(frozen=True)
class ReplayStatus:
    """What the replay holds."""

    training_episodes: int
    """Ever stored."""
    newest_sequence: int
    decisions: int = 0
    """Of the episodes held."""


class Inbox:
    """The newest of each kind that came, and the wish to stop."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.status: ReplayStatus | None = None
        self.weights: Weights | None = None
        self.stopped = False

    def put_status(self, status: ReplayStatus) -> None:
        """Take what the replay holds now."""
        with self.condition:
            self.status = status
            self.condition.notify_all()

    def put_weights(self, weights: Weights) -> None:
        """Take the newest weights."""
        with self.condition:
            self.weights = weights
            self.condition.notify_all()

    def stop(self) -> None:
        """Ask the loop to stop; a wait for the robot is ended by the robot."""
        with self.condition:
            self.stopped = True
            self.condition.notify_all()

    def notify(self) -> None:
        """Let the loop look again at what it waits for."""
        with self.condition:
            self.condition.notify_all()

    def wait(self, clock: Clock, met: Callable[[], bool], timeout: float) -> bool:
        """Wait until `met`, looked at on every notification; false after `timeout` seconds.

        Raises StoppedError.
        """
        deadline = clock.now() + timeout
        with self.condition:
            while not self.stopped:
                if met():
                    return True
                remaining = deadline - clock.now()
                if remaining <= 0.0:
                    return False
                # A lock cannot be waited for endlessly, so an endless wait is many of a second.
                clock.wait(self.condition, min(remaining, 1.0))
        raise StoppedError
