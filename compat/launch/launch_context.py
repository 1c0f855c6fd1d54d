"""What the entities of a launch share while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .event_handlers import EventHandler
    from .events import Event
    from .processes import ProcessGroups


class LaunchContext:
    """Launch configurations, event handlers and the queue of events.

    `locals.event` is the event that is being handled, None where none is.
    """

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.locals = SimpleNamespace(event=None)
        self.is_shutdown = False
        self.asyncio_loop: asyncio.AbstractEventLoop | None = None
        self.processes: ProcessGroups | None = None
        self.queue: deque[Event] = deque()
        self.event_handlers: list[EventHandler] = []
        self.on_event: Callable[[], None] = lambda: None

    def register_event_handler(self, handler: EventHandler) -> None:
        """Add a handler, before the others."""
        self.event_handlers.insert(0, handler)

    def emit_event_sync(self, event: Event) -> None:
        """Queue an event; from the loop's thread only."""
        self.queue.append(event)
        self.on_event()
