"""The steady clock, which timeouts, intervals and latencies are measured by."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A steady clock, and waiting by it; tests have one of their own."""

    def now(self) -> float:
        """Return the seconds since some fixed time; they never go back."""

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """Wait for a notification of `condition`, which the caller holds, or `timeout` seconds."""


class SteadyClock:
    """time.monotonic."""

    def now(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """See :class:`Clock`."""
        condition.wait(max(0.0, timeout))
