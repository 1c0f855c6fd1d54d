"""What happens in a launch."""

from __future__ import annotations

from collections.abc import Sequence

from ..entities import LaunchDescriptionEntity


class Event:
    """Something that happened, or that somebody asks for."""


class Include(Event):
    """Entities are to be visited."""

    def __init__(self, entities: Sequence[LaunchDescriptionEntity]) -> None:
        self.entities = entities


class Shutdown(Event):
    """Everything is to stop."""

    def __init__(self, *, reason: str = "reason not given", due_to_sigint: bool = False) -> None:
        self.reason = reason
        self.due_to_sigint = due_to_sigint
