"""What stands in a launch description: actions, and descriptions themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .actions import DeclareLaunchArgument
    from .launch_context import LaunchContext


class LaunchDescriptionEntity:
    """Visited at launch."""

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity]:
        """Do what the entity stands for; return the entities to visit next."""
        raise NotImplementedError

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """Return the arguments that the entity declares, as far as that is known before launch."""
        return []

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        """Return a future for which the launch waits, if the visit left work to be done."""
        return None


class Action(LaunchDescriptionEntity):
    """Something to do at launch."""

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity]:
        return self.execute(context) or ()

    def execute(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity] | None:
        """Do it; return the entities to visit next."""
        raise NotImplementedError


class LaunchDescription(LaunchDescriptionEntity):
    """What a launch file describes."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity]) -> None:
        self.entities = list(initial_entities)

    def visit(self, context: LaunchContext) -> Sequence[LaunchDescriptionEntity]:
        return self.entities

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        found = [argument for one in self.entities for argument in one.get_launch_arguments()]
        return list({argument.name: argument for argument in reversed(found)}.values())[::-1]
