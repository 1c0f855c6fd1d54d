"""The loop that runs a launch."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterable
from typing import Any

from .event import Event
from .event_handlers import EventHandler, OnShutdown
from .events import IncludeLaunchDescription, Shutdown
from .events.process import SignalProcess
from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .launch_description_entity import LaunchDescriptionEntity, entities_of
from .logging import get_logger, log_dir, set_level
from .processes import ProcessGroups

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class LaunchService:
    """Visits launch descriptions and handles events until nothing is left to do.

    SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGQUIT stop everything; a second one passes SIGINT on
    to the processes again.
    """

    def __init__(
        self,
        *,
        argv: Iterable[str] | None = None,
        noninteractive: bool = False,
        debug: bool = False,
    ) -> None:
        self._debug = debug
        set_level(logging.DEBUG if debug else logging.INFO)
        self._logger = get_logger()
        self.context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self.context.register_event_handler(
            EventHandler(
                matcher=lambda event: isinstance(event, IncludeLaunchDescription),
                entities=lambda event, context: event.launch_description,
            )
        )
        self.context.register_event_handler(OnShutdown(on_shutdown=self._on_shutdown))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._futures: set[asyncio.Future[None]] = set()
        self._return_code = 0

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while the service runs."""
        return self._loop

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Visit a launch description, now or when the service runs. Thread-safe."""
        self.emit_event(IncludeLaunchDescription(launch_description))

    def emit_event(self, event: Event) -> None:
        """Emit an event. Thread-safe."""
        if self._loop is None:
            self.context.emit_event_sync(event)
        else:
            self._loop.call_soon_threadsafe(self.context.emit_event_sync, event)

    def shutdown(self) -> None:
        """Stop everything; `run` returns when that is done. Thread-safe."""
        if self._loop is not None:
            self.emit_event(Shutdown(reason="LaunchService.shutdown() called"))

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """Run to the end; return 0, or 1 after an error. Call it in the main thread."""
        return asyncio.run(self.run_async(shutdown_when_idle=shutdown_when_idle))

    async def run_async(self, *, shutdown_when_idle: bool = True) -> int:
        """Do the work of `run` in the main thread's running loop."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("LaunchService can only be run in the main thread.")
        self._logger.info(f"All log files can be found below {log_dir()}")
        level = logging.getLevelName(logging.getLogger().level)
        self._logger.info(f"Default logging verbosity is set to {level}")
        self._loop = loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        self.context.asyncio_loop = loop
        self.context.on_event = wake.set
        self.context.processes = ProcessGroups(loop)
        loop.set_exception_handler(self._on_exception)
        # A shell has SIGINT ignored in what it starts with `&`, nohup wants SIGHUP to be.
        wanted = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        signals = [signal.SIGINT, *wanted]
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            while True:
                while self.context.queue:
                    self._handle(self.context.queue.popleft(), wake)
                self._futures = {future for future in self._futures if not future.done()}
                if not self._futures and not self.context.queue:
                    if self.context.is_shutdown:
                        return self._return_code
                    if shutdown_when_idle:
                        self._shutdown("idle")
                        continue
                await wake.wait()
                wake.clear()
        finally:
            self.context.processes.close()
            for number in signals:
                loop.remove_signal_handler(number)
            self._loop = self.context.asyncio_loop = None

    def _handle(self, event: Event, wake: asyncio.Event) -> None:
        """Let every handler of the event yield its entities, and visit them."""
        for handler in tuple(self.context.event_handlers):
            if not handler.matches(event):
                continue
            self.context._push_locals()
            try:
                for entity in entities_of(handler.handle(event, self.context)):
                    self._visit(entity, wake)
            except Exception as error:  # noqa: BLE001 (a launch file may raise anything)
                self._fail(error)
            finally:
                self.context._pop_locals()

    def _visit(self, entity: LaunchDescriptionEntity, wake: asyncio.Event) -> None:
        following = entity.visit(self.context)
        future = entity.get_asyncio_future()
        if future is not None and not future.done():
            self._futures.add(future)
            future.add_done_callback(lambda _: wake.set())
        for child in entities_of(following):
            self._visit(child, wake)

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

    def _on_shutdown(self, event: Event, context: LaunchContext) -> None:
        context.is_shutdown = True

    def _on_exception(self, loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self._fail(details.get("exception") or RuntimeError(details["message"]))

    def _on_signal(self, number: signal.Signals) -> None:
        message = {signal.SIGINT: "user interrupted with ctrl-c (SIGINT)"}.get(
            number, f"stopped with {number.name}"
        )
        if self.context.is_shutdown:
            self._logger.warning(f"{message} again, passing SIGINT on to the processes")
            self.context.emit_event_sync(
                SignalProcess(signal_number=signal.SIGINT, process_matcher=lambda _: True)
            )
        else:
            self._logger.warning(message)
            self._shutdown(message, due_to_sigint=number == signal.SIGINT)
