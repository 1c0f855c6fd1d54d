"""Base of all actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .launch_description_entity import (
    Entities,
    LaunchDescriptionEntity,
    SomeEntitiesType,
    entities_of,
)

if TYPE_CHECKING:
    from .conditions import Condition
    from .launch_context import LaunchContext


class Action(LaunchDescriptionEntity):
    """Something to do at launch, if its condition holds."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        self.condition = condition

    def get_sub_entities(self) -> Entities:
        """Return the entities that `execute` yields, as far as they are known before."""
        return []

    def describe_sub_entities(self) -> Entities:
        return self.get_sub_entities() if self.condition is None else []

    def describe_conditional_sub_entities(
        self,
    ) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        if self.condition is None:
            return []
        return [(f"Conditionally included by {self.describe()}", self.get_sub_entities())]

    def visit(self, context: LaunchContext) -> Entities | None:
        if self.condition is not None and not self.condition.evaluate(context):
            return None
        return entities_of(self.execute(context))

    def execute(self, context: LaunchContext) -> SomeEntitiesType:
        """Do it; return the entities to visit next."""
        return None
