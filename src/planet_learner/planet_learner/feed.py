"""Brings each of the replay's episodes to the learner once, in the order of their sequences.

The learner's thread takes items and never waits for the replay while it can train; the other
side asks for more, one request at a time, whoever does the asking (a service client, or a test).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from planet_core.episode import Episode
from planet_core.episode_format import EpisodeError
from planet_core.report import Report

MAX_ANSWER_BYTES = 16_000_000  # several times a paper's episode; answers are copied under the GIL
MAX_WAITING_BYTES = 64_000_000
TIMEOUT = 5.0  # s, after which an answer is not waited for any longer
ASK_AGAIN = 10.0  # s, after which an idle feed asks anew: word of an episode may have been lost
PATIENCE = 3.0  # s, for which a replay may be absent before that is reported


class Send(Protocol):
    """Asks for episodes after a sequence."""

    def __call__(self, after: int, max_bytes: int, token: int) -> Callable[[], None]:
        """Do not wait; :meth:`Feed.answer` gets the same `token`.

        Returns what to call when the answer is not waited for any longer.
        """


@dataclass(frozen=True)
class Arrived:
    """An episode, or None for bytes that are no valid one."""

    sequence: int
    episode: Episode | None
    time: float
    """When it was received, on the feed's clock."""
    size: int


@dataclass(frozen=True)
class CaughtUp:
    """There is no further episode up to this sequence, the newest that the replay has given."""

    newest_sequence: int


@dataclass(frozen=True)
class Replaced:
    """The replay holds less than was received: it is another one. All its episodes follow."""


Item = Arrived | CaughtUp | Replaced


class Feed:
    """A queue of items, and the one request that fills it.

    Args:
        send: asks the replay.
        report: is told whether the replay answers.
        clock: monotonic seconds.
    """

    def __init__(self, send: Send, report: Report, clock: Callable[[], float]) -> None:
        self._send = send
        self._report = report
        self._clock = clock
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._waiting_bytes = 0
        self._cursor = 0  # sequence of the newest episode received
        self._wanted = True  # there may be something to receive
        self._token = 0
        self._cancel: Callable[[], None] | None = None  # of the request in flight
        self._sent_at = 0.0
        self._failed = False
        self._present_at = clock()
        self._stopped = False

    # The learner's side.

    def peek(self) -> Item | None:
        """Return the next item without taking it, None when there is none yet."""
        with self._changed:
            return self._items[0] if self._items else None

    def take(self) -> Item:
        """Take the next item, which `peek` has shown."""
        with self._changed:
            item = self._items.popleft()
            if isinstance(item, Arrived):
                self._waiting_bytes -= item.size
            return item

    def wait(self, timeout: float) -> None:
        """Wait until there is an item, or `stop` was called, or `timeout` seconds are over."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._stopped, timeout)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # The replay's side.

    def status(self, newest_sequence: int) -> None:
        """Take notice of the replay's newest sequence; `poll` asks for what is missing."""
        with self._changed:
            if newest_sequence != self._cursor:
                self._wanted = True

    def poll(self, available: bool) -> None:
        """Ask for more, if there may be more, and there is room; to be called a few times a second.

        Args:
            available: whether there is a replay to ask.
        """
        with self._changed:
            cancel, after = None, None
            late = self._clock() - self._sent_at > TIMEOUT
            if self._cancel is not None and (late or not available):
                cancel, self._cancel = self._cancel, None
                self._failed = self._wanted = True
            if not self._items and self._clock() - self._sent_at > ASK_AGAIN:
                self._wanted = True
            room = self._waiting_bytes < MAX_WAITING_BYTES
            if self._cancel is None and available and self._wanted and room:
                after = self._cursor
                self._wanted = False  # a status that comes before the answer sets it again
                self._token += 1
                self._sent_at = self._clock()
                self._cancel = _nothing  # an answer may come before `send` returns
            if available:
                self._present_at = self._clock()
            absent = self._clock() - self._present_at > PATIENCE
            token, failed = self._token, self._failed
        if cancel is not None:
            cancel()
        if absent or failed:
            self._report("replay", "warn", "the replay does not answer; going on without it")
        if after is not None:
            cancel = self._send(after, MAX_ANSWER_BYTES, token)
            with self._changed:
                if self._cancel is _nothing and self._token == token:
                    self._cancel = cancel

    def answer(
        self, token: int, episodes: Sequence[tuple[int, bytes]], newest_sequence: int
    ) -> None:
        """Take the answer to a request; one that was given up is ignored."""
        now = self._clock()
        arrived = [
            Arrived(sequence, self._decode(sequence, data), now, len(data))
            for sequence, data in episodes
        ]
        with self._changed:
            if token != self._token or self._cancel is None:
                return
            self._cancel, self._failed = None, False
            if newest_sequence < self._cursor:
                self._items.append(Replaced())
                self._cursor = 0
                self._wanted = True
            elif arrived:
                self._items.extend(arrived)
                self._waiting_bytes += sum(item.size for item in arrived)
                self._cursor = arrived[-1].sequence
                self._wanted = True
            else:
                self._items.append(CaughtUp(newest_sequence))
                self._cursor = newest_sequence
            self._changed.notify_all()
        self._report("replay", "ok", "receiving episodes", sequence=newest_sequence)

    def fail(self, token: int) -> None:
        """Take notice that a request will have no answer."""
        with self._changed:
            if token == self._token and self._cancel is not None:
                self._cancel = None
                self._failed = self._wanted = True

    def _decode(self, sequence: int, data: bytes) -> Episode | None:
        try:
            return Episode.from_bytes(data)
        except EpisodeError as error:
            self._report("episodes", "warn", f"episode of sequence {sequence} is skipped: {error}")
            return None


def _nothing() -> None:
    """Stand in for the cancellation of a request that is just being sent."""
