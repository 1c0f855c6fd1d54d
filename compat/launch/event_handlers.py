"""What is to be done when an event occurs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .entities import LaunchDescriptionEntity
from .events import Event
from .events.process import ProcessExited
from .launch_context import LaunchContext

# Of an event and the context; returns the entities to visit now.
Handler = Callable[[Any, LaunchContext], Sequence[LaunchDescriptionEntity] | None]


class EventHandler:
    """Calls a function at each event of one kind."""

    def __init__(self, kind: type[Event], function: Handler) -> None:
        self.kind = kind
        self.handle = function


class OnProcessExit(EventHandler):
    """Handles the end of any process."""

    def __init__(self, *, on_exit: Handler) -> None:
        super().__init__(ProcessExited, on_exit)
