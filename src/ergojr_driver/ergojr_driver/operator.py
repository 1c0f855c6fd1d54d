"""The operator's part of an episode, without ROS: what they are asked, and what an answer does.

The request follows from facts: what the driver says, whether the roller waits for an episode, and
what was answered before. A new request has a new id, so that no answer meets another question.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from math import pi

import numpy as np

from ergojr_driver.orders import ACTIVATE, HOLD, UNSTOP, DriverSnapshot, Order, OrderError, Orders
from planet_core.config import Config, setting

CONFIRM, PAUSE, RESUME, SKIP, STOP, RELEASE, END = ACTIONS = (
    "confirm",
    "pause",
    "resume",
    "skip",
    "stop",
    "release",
    "end",
)
_OFF = ("fault", "stopped")
_MOVED = ("unconfigured", "checking", "inactive", *_OFF, "compliant")
"""States of the driver in which hands are on the table: the cube may have moved."""
_FIRST_SECONDS = 10.0  # that the driver may take until it is heard of at all
_SILENT_SECONDS = 3.0  # without its status, which comes every second, until it counts as missing


class AnswerError(Exception):
    """An answer that cannot be taken; one sentence."""


@dataclass(frozen=True)
class OperatorConfig(Config):
    """Where the cube may lie, and how the operator is reached."""

    cube_x: tuple[float, ...] = setting(
        (-0.12, 0.12),
        "Least and greatest distance in m to the right of the arm's axis at which the operator is "
        "asked to put the cube; a negative distance is to the left.",
    )
    cube_y: tuple[float, ...] = setting(
        (0.10, 0.17),
        "Least and greatest distance in m in front of the arm's axis at which the operator is "
        "asked to put the cube.",
    )
    terminal: str = setting(
        "",
        "Path of the terminal on which the operator is asked; empty stands for the node's own "
        "terminal, if it has one.",
    )
    show_after: float = setting(
        0.5,
        "Time in seconds after which a request is printed, unless a page or a script has answered "
        "it.",
        low=0.0,
    )
    seed: int = setting(0, "Seed of the random positions of the cube.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, limits in (("cube_x", self.cube_x), ("cube_y", self.cube_y)):
            if len(limits) != 2 or not limits[0] <= limits[1]:
                raise ValueError(f"{name} is {list(limits)}, expected two lengths in m: from, to")


@dataclass(frozen=True)
class Place:
    """A place of the cube in the arm's base frame: m, m, rad."""

    x: float
    y: float
    yaw: float

    def __str__(self) -> str:
        side = "right" if self.x >= 0 else "left"
        return (
            f"{100 * self.y:.0f} cm in front of the arm's axis, {100 * abs(self.x):.0f} cm to "
            f"its {side}, turned by {math.degrees(self.yaw):.0f} degrees"
        )


@dataclass(frozen=True)
class Request:
    """What the operator is asked; names of planet_msgs/OperatorRequest."""

    id: int
    state: str
    sentence: str
    actions: tuple[str, ...]
    place: Place | None = None


class Operator:
    """Thread-safe; everything else is told through the callbacks, which may not call back.

    Args:
        publish: gets each new request.
        send: gets an order for the driver, and gets it again until `answered`.
        tell: gets a sentence for the operator.
        end: called when the session shall end.
        clock: steady, s.
    """

    def __init__(
        self,
        config: OperatorConfig,
        publish: Callable[[Request], None],
        send: Callable[[Order], None],
        tell: Callable[[str], None],
        end: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._publish = publish
        self._end = end
        self._orders = Orders(send, tell, clock)
        self._clock = clock
        self._rng = np.random.default_rng(config.seed)
        self._lock = threading.RLock()
        self._driver: DriverSnapshot | None = None
        self._heard = clock()  # when its status was heard last, or the start
        self._paused = False
        self._ended = False
        self._placed = False
        self._skips = 0  # since the last episode
        self._place: Place | None = None
        self._seed = -1  # of the episode that is waited for
        self._waiting: Future[str] | None = None
        self.missing = ""
        """A sentence for as long as nothing is heard of the driver, else empty."""
        self.request = Request(0, "starting", "waiting for the driver", (END,))
        publish(self.request)

    @property
    def driver(self) -> str:
        """The driver's state, '' while nothing is heard of it."""
        with self._lock:
            return self._driver.state if self._driver is not None and not self.missing else ""

    def on_driver(self, driver: DriverSnapshot) -> None:
        """The driver's status, new or said again."""
        with self._lock:
            if driver.state in _MOVED:
                self._placed = False
            self._heard, self.missing = self._clock(), ""
            self._driver = driver
            self._update(again=self._orders.on_driver(driver))

    def look(self) -> None:
        """Notice what did not happen; to be called twice a second."""
        with self._lock:
            limit = _FIRST_SECONDS if self._driver is None else _SILENT_SECONDS
            if self._clock() - self._heard > limit and not self.missing:
                self.missing = (
                    f"no driver_status for more than {limit:g} s: is the driver running? See its "
                    "lines above"
                )
                self._placed = False  # whatever comes back, it is not what was there before
                self._orders.on_silence()
            self._update(again=self._orders.look())

    def answered(self, order: Order, ok: bool, why: str = "") -> None:
        """The driver has answered `order`, and says why if it refuses."""
        with self._lock:
            self._orders.answered(order, ok, why)

    def want_episode(self, seed: int) -> Future[str]:
        """The roller wants an episode: the answer is '' when it may begin, or why not.

        Asked again with the same seed, the cube's place stays.
        """
        with self._lock:
            same = self._waiting is not None and self._place is not None and seed == self._seed
            self._answer("another reset came")
            self._waiting, self._seed = Future(), seed
            if not self._placed and not same:
                # A place that was skipped must not come again, whatever the seed.
                rng = np.random.default_rng((seed, self._skips)) if seed >= 0 else self._rng
                (left, right), (near, far) = self._config.cube_x, self._config.cube_y
                self._place = Place(
                    x=rng.uniform(left, right),
                    y=rng.uniform(near, far),
                    yaw=rng.uniform(0.0, pi / 2),  # a quarter turn more looks the same
                )
            waiting = self._waiting
            self._update()
            return waiting

    def on_reset(self, ok: bool) -> None:
        """The driver has answered the reset; only then is the cube's place used up."""
        with self._lock:
            self._placed = self._placed and not ok
            self._skips = 0

    def answer(self, id_: int, action: str) -> None:
        """The operator's answer to request `id_`, 0 for whichever is current. Raises AnswerError.

        Stop is always taken.
        """
        with self._lock:
            if action == STOP:
                self._give(STOP)
                return
            if id_ not in (0, self.request.id):
                raise AnswerError(f"request {id_} is over, now it is {self.request.id}")
            if action not in self.request.actions:
                expected = ", ".join(self.request.actions)
                raise AnswerError(f"'{action}' is no answer now, expected one of {expected}")
            if action == CONFIRM and self.request.state == "place_cube":
                self._placed = True
            elif action == CONFIRM:
                self._give(UNSTOP if self.driver == "stopped" else ACTIVATE)
            elif action == PAUSE:
                self._paused = True
            elif action == RESUME:
                if self.driver == "compliant":
                    self._give(HOLD)
                self._paused = False
            elif action == RELEASE:
                self._give(RELEASE)
                self._paused = True
            elif action == SKIP:
                self._skips += 1
                self._answer("the operator skips this episode")
            elif action == END:
                self._ended = True
                self._answer("the operator ends the session")
            self._update()
        if action == END:
            self._end()

    def _give(self, name: str) -> None:
        try:
            self._orders.give(name, self._driver)
        except OrderError as error:
            raise AnswerError(str(error)) from error

    def _answer(self, refusal: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(refusal)

    def _update(self, again: bool = False) -> None:
        """Publish the request if it is another one, or is to be asked `again`."""
        state, sentence, actions = self._now()
        if state == "running" and self._waiting is not None:
            self._answer("")  # it may begin
        place = self._place if state == "place_cube" else None
        now = (state, sentence, actions, place)
        before = self.request
        if again or now != (before.state, before.sentence, before.actions, before.place):
            self.request = Request(before.id + 1, *now)
            self._publish(self.request)

    def _now(self) -> tuple[str, str, tuple[str, ...]]:  # noqa: PLR0911 -- a table
        """State, sentence and actions, from the facts."""
        if self._ended:
            return "ended", "the session has ended; the arm goes limp", ()
        driver = self._driver
        if self.missing or driver is None:
            return "starting", self.missing or "waiting for the driver", (END,)
        cause, off = driver.cause, "torque is off"
        if driver.torque:
            off = "motors may still have torque"
        if driver.state == "unconfigured":
            also = f", and {off}" if driver.torque else ""
            why = cause or "it looks for the motors"
            return "starting", f"the driver is not ready{also}: {why}", (END,)
        if driver.state == "checking":
            why = cause or "the driver measures whether this computer keeps the pace"
            return "starting", f"{off}: {why}" if driver.torque else why, (END,)
        if driver.state == "inactive":
            why = f" ({cause})" if cause else ""
            sentence = f"{off}{why}; hands off the arm, then let it have power"
            return "power", sentence, (CONFIRM, END)
        if driver.state in _OFF:
            return (
                "fault",
                f"{off}: {cause}; see to it, then let the arm have power again",
                (CONFIRM, END),
            )
        if driver.state == "compliant":
            sentence = "the arm is limp and may be moved by hand"
            if driver.torque:
                sentence = f"{off}: {cause}; do not move the arm by hand yet"
            return "paused", sentence, (RESUME, STOP, END)
        if self._waiting is not None and self._paused:
            return "paused", "paused; the arm holds its pose", (RESUME, STOP, RELEASE, END)
        if self._waiting is not None and not self._placed:
            return (
                "place_cube",
                f"put the cube {self._place}; then take your hand away: the arm moves",
                (CONFIRM, PAUSE, SKIP, STOP, RELEASE, END),
            )
        if self._paused:
            return "running", "pauses after this episode", (RESUME, STOP, RELEASE, END)
        return "running", "the arm moves", (PAUSE, STOP, RELEASE, END)
