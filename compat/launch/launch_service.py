"""The loop that runs a launch."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any

from .entities import LaunchDescription, LaunchDescriptionEntity
from .events import Event, Include, Shutdown
from .launch_context import LaunchContext
from .logging import get_logger, log_dir
from .processes import ProcessGroups

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class LaunchService:
    """Visits launch descriptions and handles events until nothing is left to do.

    SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGQUIT stop everything; a second one passes SIGINT on
    to the processes again.
    """

    def __init__(self, *, debug: bool = False) -> None:
        logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)
        self._logger = get_logger()
        self.context = LaunchContext()
        self._futures: set[asyncio.Future[None]] = set()
        self._return_code = 0

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Visit a launch description when the service runs."""
        self.context.emit_event_sync(Include([launch_description]))

    def run(self) -> int:
        """Run to the end; return 0, or 1 after an error. Call it in the main thread."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        self._logger.info(f"All log files can be found below {log_dir()}")
        level = logging.getLevelName(logging.getLogger().level)
        self._logger.info(f"Default logging verbosity is set to {level}")
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        self.context.asyncio_loop = loop
        self.context.on_event = wake.set
        self.context.processes = ProcessGroups(loop)
        loop.set_exception_handler(self._on_exception)
        # A shell has SIGINT ignored in what it starts with `&`, nohup wants SIGHUP to be.
        wanted = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        for number in (signal.SIGINT, *wanted):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            while True:
                while self.context.queue:
                    self._handle(self.context.queue.popleft(), wake)
                self._futures = {future for future in self._futures if not future.done()}
                if not self._futures and not self.context.queue:
                    return self._return_code
                await wake.wait()
                wake.clear()
        finally:
            self.context.processes.close()

    def _handle(self, event: Event, wake: asyncio.Event) -> None:
        """Visit what the event, or a handler of it, yields."""
        if isinstance(event, Shutdown):
            self.context.is_shutdown = True
        self.context.locals.event = event
        try:
            if isinstance(event, Include):
                self._visit(event.entities, wake)
            for handler in tuple(self.context.event_handlers):
                if isinstance(event, handler.kind):
                    self._visit(handler.handle(event, self.context) or (), wake)
        except Exception as error:  # noqa: BLE001 (a launch file may raise anything)
            self._fail(error)

    def _visit(self, entities: Sequence[LaunchDescriptionEntity], wake: asyncio.Event) -> None:
        for entity in entities:
            following = entity.visit(self.context)
            future = entity.get_asyncio_future()
            if future is not None and not future.done():
                self._futures.add(future)
                future.add_done_callback(lambda _: wake.set())
            self._visit(following, wake)

    def _fail(self, error: BaseException) -> None:
        """Say what went wrong, and stop everything."""
        message = f"Caught exception in launch (see debug for traceback): {error}"
        self._logger.debug("", exc_info=error)
        self._logger.error(message)
        self._return_code = 1
        self._shutdown(message)

    def _shutdown(self, reason: str, *, due_to_sigint: bool = False) -> None:
        if not self.context.is_shutdown:
            self.context.is_shutdown = True
            self.context.emit_event_sync(Shutdown(reason=reason, due_to_sigint=due_to_sigint))

    def _on_exception(self, loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self._fail(details.get("exception") or RuntimeError(details["message"]))

    def _on_signal(self, number: signal.Signals) -> None:
        message = {signal.SIGINT: "user interrupted with ctrl-c (SIGINT)"}.get(
            number, f"stopped with {number.name}"
        )
        if self.context.is_shutdown:
            self._logger.warning(f"{message} again, passing SIGINT on to the processes")
            assert self.context.processes is not None, "the launch is running"
            self.context.processes.signal(signal.SIGINT)
        else:
            self._logger.warning(message)
            self._shutdown(message, due_to_sigint=number == signal.SIGINT)
