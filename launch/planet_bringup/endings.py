"""How a launch ends because a node did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection

MISCONFIGURED = 2  # exit code of a node that another start would not help
WORKED = 20.0  # s; a node that lived so long once has worked, and is always started again
DEATHS = 3  # of a node that never worked


class Endings:
    """Decides at each end of a node whether the launch goes on.

    Args:
        essential: names of nodes whose end, however it comes, ends everything.
        ends: names of nodes that end everything by exiting with 0: as a person asked, or because
            what the launch is for is done.
        clock: s, steady.
    """

    def __init__(
        self,
        essential: Collection[str] = (),
        ends: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._essential = essential
        self._ends = ends
        self._clock = clock
        self._begin = clock()
        self._died: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._worked: set[str] = set()

    def reason(self, process: str, code: int) -> str:
        """Return why the launch ends as was intended, now that `process` has ended with `code`.

        Returns:
            "" if it goes on.

        Args:
            process: name of a node, and a number: "roller-3".

        Raises:
            RuntimeError: the launch cannot go on; the message is one sentence for its user.
        """
        name = process.rpartition("-")[0]
        if code == MISCONFIGURED:
            raise RuntimeError(f"{process} cannot start as it is configured: see its error.")
        if name in self._ends and code == 0:
            return f"the {name} ends the session"
        if name in self._essential:
            raise RuntimeError(
                f"{process} has ended with exit code {code}, "
                "and is not started again by itself: see its last lines."
            )
        if self._died_young(name) == DEATHS:
            raise RuntimeError(
                f"{name} has ended {DEATHS} times before it ever worked, the last time with "
                f"exit code {code}: see its last lines."
            )
        return ""

    def _died_young(self, name: str) -> int:
        """Count this death of `name`; 0 for one that worked, now or earlier."""
        now = self._clock()
        # Its life began when the one before it ended, or with the launch; a second is its delay.
        if now - self._died.get(name, self._begin) >= WORKED:
            self._worked.add(name)
        self._died[name] = now
        if name in self._worked:
            return 0
        self._deaths[name] += 1
        return self._deaths[name]
