"""The operator's part of an episode, without ROS: what they are asked, and what an answer does.

The request follows from facts: what the driver says, whether the roller waits for an episode, and
what was answered before. A new request has a new id, so that no answer meets another question.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import pi

import numpy as np

CONFIRM, PAUSE, RESUME, SKIP, STOP, RELEASE, END = ACTIONS = (
    "confirm",
    "pause",
    "resume",
    "skip",
    "stop",
    "release",
    "end",
)
_OFF = ("inactive", "fault", "stopped")


class AnswerError(Exception):
    """An answer that cannot be taken; one sentence."""


@dataclass(frozen=True)
class OperatorConfig:
    """Where the cube may lie, and how the operator is reached."""

    cube_x: tuple[float, ...] = field(
        default=(-0.12, 0.12),
        metadata={"doc": "Where the cube may lie, to the arm's right: from, to (m)."},
    )
    cube_y: tuple[float, ...] = field(
        default=(0.10, 0.17), metadata={"doc": "In front of the arm: from, to (m)."}
    )
    terminal: str = field(
        default="",
        metadata={"doc": "Terminal to talk on; empty: that of the node itself, if it has one."},
    )
    show_after: float = field(
        default=0.5,
        metadata={
            "doc": "A request is printed unless it is answered within this time (s), as a page "
            "or a script may do.",
            "low": 0.0,
        },
    )
    seed: int = field(
        default=0, metadata={"doc": "Makes the cube's places reproducible.", "low": 0}
    )

    def __post_init__(self) -> None:
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
        order: gets what the driver shall do: activate, stop, unstop, release, hold.
        end: called when the session shall end.
    """

    def __init__(
        self,
        config: OperatorConfig,
        publish: Callable[[Request], None],
        order: Callable[[str], None],
        end: Callable[[], None],
    ) -> None:
        self._config = config
        self._publish = publish
        self._order = order
        self._end = end
        self._rng = np.random.default_rng(config.seed)
        self._lock = threading.RLock()
        self._driver: str | None = None
        self._cause = ""
        self._paused = False
        self._ended = False
        self._placed = False
        self._skips = 0  # since the last episode
        self._place: Place | None = None
        self._waiting: Future[str] | None = None
        self.request = Request(0, "starting", "waiting for the driver", (END,))
        publish(self.request)

    def on_driver(self, state: str, cause: str) -> None:
        """The driver's state, and why the torque is off."""
        with self._lock:
            if state in ("inactive", "fault", "stopped", "unconfigured", "compliant"):
                self._placed = False  # whatever happened, the cube may have moved
            self._driver, self._cause = state, cause
            self._update()

    def want_episode(self, seed: int) -> Future[str]:
        """The roller wants an episode: the answer is '' when it may begin, or why not."""
        with self._lock:
            self._answer("another reset came")
            self._waiting = Future()
            if not self._placed:
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
                self._order("stop")
                return
            if id_ not in (0, self.request.id):
                raise AnswerError(f"request {id_} is over, now it is {self.request.id}")
            if action not in self.request.actions:
                expected = ", ".join(self.request.actions)
                raise AnswerError(f"'{action}' is no answer now, expected one of {expected}")
            if action == CONFIRM and self.request.state == "place_cube":
                self._placed = True
            elif action == CONFIRM:
                self._order("unstop" if self._driver == "stopped" else "activate")
            elif action == PAUSE:
                self._paused = True
            elif action == RESUME:
                self._paused = False
                if self._driver == "compliant":
                    self._order("hold")
            elif action == RELEASE:
                self._paused = True
                self._order("release")
            elif action == SKIP:
                self._skips += 1
                self._answer("the operator skips this episode")
            elif action == END:
                self._ended = True
                self._answer("the operator ends the session")
            self._update()
        if action == END:
            self._end()

    def _answer(self, refusal: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(refusal)

    def _update(self) -> None:
        state, sentence, actions = self._now()
        if state == "running" and self._waiting is not None:
            self._answer("")  # it may begin
        place = self._place if state == "place_cube" else None
        now = (state, sentence, actions, place)
        before = self.request
        if now != (before.state, before.sentence, before.actions, before.place):
            self.request = Request(before.id + 1, *now)
            self._publish(self.request)

    def _now(self) -> tuple[str, str, tuple[str, ...]]:  # noqa: PLR0911 -- a table
        """State, sentence and actions, from the facts."""
        if self._ended:
            return "ended", "the session has ended; the arm goes limp", ()
        if self._driver is None:
            return "starting", "waiting for the driver", (END,)
        if self._driver == "unconfigured":
            why = self._cause or "it looks for the motors"
            return "starting", f"the driver is not ready: {why}", (END,)
        if self._driver == "inactive":
            why = f" ({self._cause})" if self._cause else ""
            sentence = f"torque is off{why}; hands off the arm, then let it have power"
            return "power", sentence, (CONFIRM, END)
        if self._driver in _OFF:
            return (
                "fault",
                f"torque is off: {self._cause}; see to it, then let the arm have power again",
                (CONFIRM, END),
            )
        if self._driver == "compliant":
            return "paused", "the arm is limp and may be moved by hand", (RESUME, STOP, END)
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
