"""Finds motors whose speed register is wrong, while somebody moves them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np

from ergojr_description.kinematics import JOINT_NAMES, Array
from ergojr_driver.bus import Bus, BusError
from ergojr_driver.servo import MOTORS

PAUSE = 0.01  # s between readings
SPAN = 0.2  # s between the two positions whose difference gives a speed
SLOWEST = 0.15  # rad/s; a slower motion is not judged
LEAST_SHARE = 0.3  # share of the greatest speed that the register must have reached


class SpeedCheck:
    """A context in which a thread reads the bus, so that nobody else may use it.

    The motors must be at rest when the context begins and when it ends. Then the register has
    reached the speed of the motion in between, even if it lags.

    Args:
        bus: the servo bus.
    """

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BusError | None = None
        self._past: list[tuple[float, Array]] = []  # time and positions in the last SPAN
        self._moved: Array = np.zeros(len(MOTORS))  # rad/s, the greatest speed by positions
        self._told: Array = np.zeros(len(MOTORS))  # rad/s, the greatest speed by the register

    def __enter__(self) -> None:
        self._ended.clear()
        self._past.clear()
        self._thread = threading.Thread(target=self._run, name="speed check", daemon=True)
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread; raises BusError if a reading failed and nothing else has."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def silent(self) -> list[str]:
        """Return the names of the motors that moved, but whose register stayed too low."""
        wrong = (self._moved >= SLOWEST) & (self._told < LEAST_SHARE * self._moved)
        return [name for name, one in zip(JOINT_NAMES, wrong.tolist(), strict=True) if one]

    def _run(self) -> None:
        try:
            while not self._ended.wait(PAUSE):
                self.look()
        except BusError as error:
            self._failure = error

    def look(self) -> None:
        """Take one reading into account, if it is complete."""
        motors = self._bus.read_state(MOTORS).motors
        if len(motors) < len(MOTORS):
            return
        now = self._clock()
        place = np.array([motors[motor].position for motor in MOTORS])
        self._told = np.maximum(self._told, [abs(motors[motor].speed) for motor in MOTORS])
        while len(self._past) > 1 and self._past[1][0] <= now - SPAN:
            self._past.pop(0)
        if self._past and (span := now - self._past[0][0]) >= SPAN:
            self._moved = np.maximum(self._moved, np.abs(place - self._past[0][1]) / span)
        self._past.append((now, place))
