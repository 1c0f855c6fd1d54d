"""Decides which speed to trust: the motor's register, or the differences of its positions.

Some XL-320s report speed 0 in joint mode. The limiter brakes by the speed, so it must not trust
such a register. Each register is compared with the mean speed between two older positions. By then
the register, which may lag, has had time to follow. Its values since the first position must reach
the mean speed, up to the positions' resolution and a tolerance. A motor for which this fails
several times in a row is distrusted from then on.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from ergojr_description import xl320
from ergojr_description.kinematics import JOINT_NAMES, Array

WINDOW = 0.04  # s between the two positions
LAG = 0.03  # s by which a register may be late
GAP = 0.1  # s between two readings after which the earlier ones are forgotten
MOVING = 0.3  # rad/s; a slower mean speed is not judged
SLACK = 0.03  # rad/s by which a register may be wrong
SHARE = 0.25  # share of the mean speed by which a register may be wrong
IN_A_ROW = 3  # readings in which a register must be wrong until it is distrusted,
FOR = 0.02  # and s for which it must be so
FIT = 0.045  # s of positions whose slope is the speed of a distrusted motor, with half of it as lag


class Speeds:
    """Judges the speed registers of six motors. A motor that is distrusted once stays so.

    Attributes:
        distrusted: indices of the motors whose register is not trusted.
    """

    def __init__(self) -> None:
        count = len(JOINT_NAMES)
        self.distrusted: tuple[int, ...] = ()
        self._times: deque[float] = deque()
        self._positions: deque[Array] = deque()
        self._registers: deque[Array] = deque()
        self._wrong = np.zeros(count, np.int64)  # times in a row
        self._since: Array = np.zeros(count)  # when a register began to be wrong, s
        self._velocity: Array = np.zeros(count)

    def update(self, position: Array, register: Array, now: float) -> Array:
        """Return the velocity to trust after a reading, [6] rad/s.

        Args:
            position: [6] rad.
            register: [6] rad/s, which the motors report.
            now: s of the steady clock; a reading that is not later than the last one is ignored.
        """
        if self._times and now <= self._times[-1]:
            return self._velocity
        if self._times and now - self._times[-1] > GAP:
            self._forget()
        self._times.append(now)
        self._positions.append(position)
        self._registers.append(register)
        # One reading older than the span is kept, so that two positions are at least WINDOW apart.
        while len(self._times) > 2 and self._times[1] <= now - max(WINDOW + LAG, FIT):
            self._times.popleft()
            self._positions.popleft()
            self._registers.popleft()
        self._judge(now)
        self._velocity = register
        if self.distrusted:
            self._velocity = register.copy()
            motors = list(self.distrusted)
            self._velocity[motors] = self._slope(now)[motors]
        return self._velocity

    def _forget(self) -> None:
        self._times.clear()
        self._positions.clear()
        self._registers.clear()
        self._wrong[:] = 0

    def _judge(self, now: float) -> None:
        times = list(self._times)
        end = next((i for i in reversed(range(len(times))) if times[i] <= now - LAG), 0)
        start = next((i for i in reversed(range(end)) if times[i] <= times[end] - WINDOW), end)
        if start == end:
            return  # there are too few readings yet
        span = times[end] - times[start]
        mean = (self._positions[end] - self._positions[start]) / span
        said = np.array(self._registers)[start:]
        allowed = xl320.RESOLUTION / span + SLACK + SHARE * np.abs(mean)
        wrong = (mean < said.min(axis=0) - allowed) | (mean > said.max(axis=0) + allowed)
        wrong &= np.abs(mean) >= MOVING
        self._since[wrong & (self._wrong == 0)] = now
        self._wrong = (self._wrong + 1) * wrong
        found = (self._wrong >= IN_A_ROW) & (now - self._since >= FOR)
        if found.any():
            self.distrusted = tuple(sorted({*self.distrusted, *map(int, np.flatnonzero(found))}))

    def _slope(self, now: float) -> Array:
        """Fit lines to the positions of the last FIT s, and at least two, and return [6] rad/s."""
        times = np.array(self._times)
        if len(times) < 2:  # after a gap
            return np.zeros(len(JOINT_NAMES))
        recent = times >= now - FIT
        recent[-2:] = True
        apart = times[recent] - times[recent].mean()
        return np.asarray(apart @ np.array(self._positions)[recent] / (apart @ apart))
