"""Base of everything that stands in a launch description."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .launch_context import LaunchContext

Entities = Sequence["LaunchDescriptionEntity"]
SomeEntitiesType = Any  # an entity, an iterable of entities, or None


class LaunchDescriptionEntity:
    """Visited at launch; described, without a context, by `ros2 launch --show-args`."""

    def describe(self) -> str:
        return repr(self)

    def describe_sub_entities(self) -> Entities:
        """Return the entities that every visit yields."""
        return []

    def describe_conditional_sub_entities(
        self,
    ) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        """Return the entities that a visit may yield, each list with what it depends on."""
        return []

    def visit(self, context: LaunchContext) -> Entities | None:
        """Do what the entity stands for; return the entities to visit next."""
        return None

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        """Return a future for which the launch waits, if the visit left work to be done."""
        return None


def entities_of(value: SomeEntitiesType) -> list[LaunchDescriptionEntity]:
    """Return `value` (an entity, several, or None) as a list.

    :raises TypeError: something in it is no entity.
    """
    if value is None:
        return []
    items = [value] if isinstance(value, LaunchDescriptionEntity) else list(value)
    for item in items:
        if not isinstance(item, LaunchDescriptionEntity):
            raise TypeError(f"expected actions or launch descriptions, got {item!r}")
    return items
