"""A list of entities, and the arguments that they declare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .launch_description_entity import Entities, LaunchDescriptionEntity

if TYPE_CHECKING:
    from .actions import DeclareLaunchArgument, IncludeLaunchDescription
    from .launch_context import LaunchContext

    Declared = tuple[DeclareLaunchArgument, list[IncludeLaunchDescription]]


class LaunchDescription(LaunchDescriptionEntity):
    """What a launch file describes."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self.entities = list(initial_entities or ())

    def add_entity(self, entity: LaunchDescriptionEntity) -> None:
        self.entities.append(entity)

    add_action = add_entity

    def visit(self, context: LaunchContext) -> Entities:
        return self.entities

    def describe_sub_entities(self) -> Entities:
        return self.entities

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """Return the declared arguments, those of included files too, each name once."""
        return [argument for argument, _ in self.get_launch_arguments_with_includes()]

    def get_launch_arguments_with_includes(self) -> list[Declared]:
        """Return the declared arguments, each with the includes through which it was reached.

        Files whose path is known only at launch are not looked into.
        """
        from .actions import (
            DeclareLaunchArgument,
            IncludeLaunchDescription,
            ResetLaunchConfigurations,
        )

        found: dict[str, Declared] = {}

        def search(
            entities: Iterable[LaunchDescriptionEntity],
            conditional: bool,
            includes: list[IncludeLaunchDescription],
        ) -> None:
            for entity in entities:
                if isinstance(entity, DeclareLaunchArgument) and entity.name not in found:
                    entity.conditionally_included = conditional or entity.condition is not None
                    found[entity.name] = (entity, includes)
                if isinstance(entity, ResetLaunchConfigurations):
                    return  # what follows cannot be set from outside
                inner = includes
                if isinstance(entity, IncludeLaunchDescription):
                    inner = [*includes, entity]
                search(entity.describe_sub_entities(), conditional, inner)
                for _, conditional_entities in entity.describe_conditional_sub_entities():
                    search(conditional_entities, True, inner)

        search(self.entities, False, [])
        return list(found.values())
