"""What is to be done when an event occurs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .event import Event
from .events import Shutdown
from .events.process import ProcessExited, ProcessStarted
from .launch_context import LaunchContext
from .launch_description_entity import LaunchDescriptionEntity, SomeEntitiesType, entities_of


class BaseEventHandler:
    """Handles the events that its matcher picks."""

    def __init__(self, *, matcher: Callable[[Event], bool], handle_once: bool = False) -> None:
        self._matcher = matcher
        self.handle_once = handle_once

    def matches(self, event: Event) -> bool:
        return self._matcher(event)

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        """Return what the handler is, and the entities that it is known to yield."""
        return type(self).__name__, []

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType:
        """Return the entities to visit now."""
        context.extend_locals({"event": event})
        if self.handle_once:
            context.unregister_event_handler(self)
        return None


class EventHandler(BaseEventHandler):
    """Yields entities, given or returned by a function of event and context."""

    def __init__(
        self,
        *,
        matcher: Callable[[Event], bool],
        entities: SomeEntitiesType = None,
        handle_once: bool = False,
    ) -> None:
        super().__init__(matcher=matcher, handle_once=handle_once)
        self._function = entities if callable(entities) else None
        self.entities = [] if callable(entities) else entities_of(entities)

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        return type(self).__name__, self.entities

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType:
        super().handle(event, context)
        return self.entities if self._function is None else self._function(event, context)


class _OnProcess(EventHandler):
    """Handles one kind of event of one process (an action, or a matcher of actions), or of all."""

    def __init__(self, kind: type[Event], target: Any, entities: SomeEntitiesType, once: bool):
        def matcher(event: Any) -> bool:
            if not isinstance(event, kind):
                return False
            action = event.action  # type: ignore[attr-defined]
            if target is None:
                return True
            return bool(target(action)) if callable(target) else action is target

        super().__init__(matcher=matcher, entities=entities, handle_once=once)


class OnProcessStart(_OnProcess):
    """Handles the start of a process."""

    def __init__(
        self, *, target_action: Any = None, on_start: SomeEntitiesType, handle_once: bool = False
    ) -> None:
        super().__init__(ProcessStarted, target_action, on_start, handle_once)


class OnProcessExit(_OnProcess):
    """Handles the end of a process."""

    def __init__(
        self, *, target_action: Any = None, on_exit: SomeEntitiesType, handle_once: bool = False
    ) -> None:
        super().__init__(ProcessExited, target_action, on_exit, handle_once)


class OnShutdown(EventHandler):
    """Handles the shutdown of the launch."""

    def __init__(self, *, on_shutdown: SomeEntitiesType, handle_once: bool = False) -> None:
        super().__init__(
            matcher=lambda event: isinstance(event, Shutdown),
            entities=on_shutdown,
            handle_once=handle_once,
        )


__all__ = [
    "BaseEventHandler",
    "EventHandler",
    "OnProcessExit",
    "OnProcessStart",
    "OnShutdown",
]
