"""Whether this computer keeps the pace: measured with everything running but torque."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ENOUGH = 0.9  # of the bus cycles in time; below, the driver does not begin
_HELP = (
    "close other programs, give the cameras fewer or smaller images, allow real-time priority "
    "(docs/real-robot.md), or take a computer with more cores"
)


@dataclass(frozen=True)
class PaceVerdict:
    """What was found; `fits`: whether the arm may have torque, `tight`: it may often let go."""

    fits: bool
    tight: bool
    sentence: str


class PaceCheck:
    """Collects how well bus and images keep time.

    Args:
        longest: greatest age of an image that a command may answer, s.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._cycles = 0
        self._in_time = 0
        self._ages: list[float] = []
        self._last: int | None = None

    def bus(self, cycles: int, in_time: int) -> None:
        """The bus process has made so many cycles more, and so many of them in time."""
        self._cycles += cycles
        self._in_time += in_time

    def images(self, stamp: int, arrival: int) -> None:
        """A set of images of `stamp` was judged, and `arrival` is now; ns of the same clock.

        Just before, the newest one known was that of the set before: so old do images get.
        """
        if self._last is not None:
            self._ages.append((arrival - self._last) * 1e-9)
        self._last = stamp

    def verdict(self) -> PaceVerdict:
        """What was found so far."""
        if not self._cycles:
            return PaceVerdict(False, False, "the bus process has not reported its cycles yet")
        share = self._in_time / self._cycles
        bus = f"bus {self._in_time} of {self._cycles} cycles in time"
        limit = 1e3 * self._longest
        if len(self._ages) < 2:
            images, fits, tight = "no images yet", True, False
        else:
            median, late = 1e3 * np.quantile(self._ages, (0.5, 0.99))
            images = f"images p99 {late:.0f} of {limit:.0f} ms"
            fits, tight = bool(median <= limit), bool(late > limit)
        if share < _ENOUGH or not fits:
            return PaceVerdict(False, True, f"{bus}, {images}: too slow; {_HELP}")
        if tight:
            return PaceVerdict(
                True, True, f"{bus}, {images}: tight, the arm may let go at times; {_HELP}"
            )
        return PaceVerdict(True, False, f"{bus}, {images}: fits")
