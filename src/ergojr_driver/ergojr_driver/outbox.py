"""Words for others, said on a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Outbox:
    """Makes calls in the order in which they are put, for who must not wait for them.

    To publish may take long: through shared memory it waits for a lock that a subscriber may hold,
    and that one waits for a processor, for 100 ms and more where all are busy.

    Args:
        on_error: is told what a call raised, which is the last one then.
    """

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._on_error = on_error
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None]) -> None:
        """Have this called soon."""
        self._calls.put(call)

    def close(self, timeout: float) -> bool:
        """Wait until all is said, for `timeout` seconds at most; whether it is."""
        self._calls.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the node is to end with it
            self._on_error(error)
