"""What the entities of a launch share while it runs."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from .substitution import Substitution

if TYPE_CHECKING:
    from .event import Event
    from .event_handlers import BaseEventHandler
    from .processes import ProcessGroups


class Locals:
    """Read access to the context's locals as attributes, e.g. `context.locals.event`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


class LaunchContext:
    """Launch configurations, environment, locals, event handlers and the queue of events."""

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False) -> None:
        self.argv = [] if argv is None else list(argv)
        self.noninteractive = noninteractive
        # Values are texts, but for what launch_ros keeps here so that it is scoped with them.
        self.launch_configurations: dict[str, Any] = {}
        self.is_shutdown = False
        self.asyncio_loop: asyncio.AbstractEventLoop | None = None
        self.processes: ProcessGroups | None = None
        self.queue: deque[Event] = deque()
        self.event_handlers: deque[BaseEventHandler] = deque()
        self.on_event: Callable[[], None] = lambda: None
        self._locals: dict[str, Any] = {}
        self._locals_stack: list[dict[str, Any]] = []
        self._configurations_stack: list[dict[str, Any]] = []
        self._environment_stack: list[dict[str, str]] = []
        self._environment_at_start = dict(os.environ)

    @property
    def environment(self) -> MutableMapping[str, str]:
        """The environment that processes inherit: this process's own."""
        return os.environ

    @property
    def locals(self) -> Locals:
        """What event handlers and includes left for the entities that they yield."""
        return Locals(self._locals)

    def get_locals_as_dict(self) -> dict[str, Any]:
        return self._locals

    def extend_locals(self, extensions: dict[str, Any]) -> None:
        """Add locals until the event at hand has been handled."""
        self._locals = {**self._locals, **extensions}

    def _push_locals(self) -> None:
        self._locals_stack.append(self._locals)

    def _pop_locals(self) -> None:
        self._locals = self._locals_stack.pop()

    def _push_launch_configurations(self) -> None:
        self._configurations_stack.append(dict(self.launch_configurations))

    def _pop_launch_configurations(self) -> None:
        self.launch_configurations = self._configurations_stack.pop()

    def _push_environment(self) -> None:
        self._environment_stack.append(dict(os.environ))

    def _pop_environment(self) -> None:
        self._set_environment(self._environment_stack.pop())

    def _reset_environment(self) -> None:
        self._set_environment(self._environment_at_start)

    @staticmethod
    def _set_environment(values: dict[str, str]) -> None:
        os.environ.clear()
        os.environ.update(values)

    def register_event_handler(self, handler: BaseEventHandler, append: bool = False) -> None:
        """Add a handler, before the others unless `append`."""
        if append:
            self.event_handlers.append(handler)
        else:
            self.event_handlers.appendleft(handler)

    def unregister_event_handler(self, handler: BaseEventHandler) -> None:
        self.event_handlers.remove(handler)

    def emit_event_sync(self, event: Event) -> None:
        """Queue an event; from the loop's thread only."""
        self.queue.append(event)
        self.on_event()

    async def emit_event(self, event: Event) -> None:
        """Queue an event; from the loop's thread only."""
        self.emit_event_sync(event)

    def perform_substitution(self, substitution: Substitution) -> str:
        return substitution.perform(self)
