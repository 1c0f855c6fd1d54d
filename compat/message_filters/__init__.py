"""Messages of several topics brought together by their stamps: the part of `message_filters`."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["ApproximateTimeSynchronizer", "SimpleFilter", "Subscriber", "TimeSynchronizer"]


class SimpleFilter:
    """Passes messages on to the callbacks registered with it."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:  # noqa: N802
        """Have `cb(*messages, *args)` called."""
        self._callbacks.append((cb, args))
        return len(self._callbacks) - 1

    def signalMessage(self, *messages: Any) -> None:  # noqa: N802
        """Call the callbacks."""
        for callback, arguments in self._callbacks:
            callback(*messages, *arguments)


class Subscriber(SimpleFilter):
    """A subscription: `Subscriber(node, type, topic, qos_profile=10)`."""

    def __init__(
        self, node: Any, msg_type: Any, topic: str, *args: Any, qos_profile: Any = 10, **kwargs: Any
    ) -> None:
        super().__init__()
        self.topic = topic
        self.sub = node.create_subscription(
            msg_type, topic, self.signalMessage, *args, qos_profile=qos_profile, **kwargs
        )


class ApproximateTimeSynchronizer(SimpleFilter):
    """Calls back with one message of each input, their stamps within `slop` seconds.

    Of each input at most `queue_size` messages wait, the oldest stamps give way. A message that
    arrives is matched with the waiting ones closest to it.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__()
        self._queue_size = queue_size
        self._slop = round(slop * 1e9)
        self._queues: list[dict[int, Any]] = [{} for _ in fs]
        self._lock = threading.Lock()  # callbacks may come from several threads
        for index, source in enumerate(fs):
            source.registerCallback(self.add, index)

    def add(self, message: Any, index: int) -> None:
        """Take a message of one input."""
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        with self._lock:
            queue = self._queues[index]
            queue[stamp] = message
            while len(queue) > self._queue_size:
                del queue[min(queue)]
            matched = self._match(stamp, index) if stamp in queue else None
            if matched is None:
                return
            messages = [q.pop(s) for q, s in zip(self._queues, matched, strict=True)]
        self.signalMessage(*messages)

    def _match(self, stamp: int, index: int) -> tuple[int, ...] | None:
        candidates = [
            [stamp]
            if i == index
            else sorted(
                (s for s in queue if abs(s - stamp) <= self._slop), key=lambda s: abs(s - stamp)
            )
            for i, queue in enumerate(self._queues)
        ]
        for stamps in itertools.product(*candidates):
            if max(stamps) - min(stamps) <= self._slop:
                return stamps
        return None


class TimeSynchronizer(ApproximateTimeSynchronizer):
    """Calls back with one message of each input, all of the same stamp."""

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__(fs, queue_size, 0.0)
