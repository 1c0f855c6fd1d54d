"""The actions that launch files use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from .entities import Action, LaunchDescriptionEntity
from .event_handlers import EventHandler
from .events import Include
from .events import Shutdown as ShutdownEvent
from .events.process import ProcessExited
from .execute_process import ExecuteProcess
from .launch_context import LaunchContext
from .launch_description_sources import PythonLaunchDescriptionSource
from .logging import get_logger
from .substitutions import SomeSubstitutionsType, perform

__all__ = [
    "DeclareLaunchArgument",
    "ExecuteProcess",
    "IncludeLaunchDescription",
    "OpaqueFunction",
    "RegisterEventHandler",
    "Shutdown",
    "TimerAction",
]

Entities = Sequence[LaunchDescriptionEntity]


class DeclareLaunchArgument(Action):
    """Declares an argument of the launch file and gives it its default value.

    :raises RuntimeError: at launch, it was not given and has no default, or is not a choice.
    """

    def __init__(
        self,
        name: str,
        *,
        default_value: str | None = None,
        description: str = "no description given",
        choices: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.default_value = default_value
        self.choices = choices
        if choices is not None:
            stop = "" if description.endswith(".") else "."
            description = f"{description}{stop} Valid choices are: {choices}"
        self.description = description

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        return [self]

    def execute(self, context: LaunchContext) -> None:
        value = context.launch_configurations.get(self.name, self.default_value)
        if value is None:
            raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{value}" is not valid. '
                f"Valid options are: {self.choices}"
            )
        context.launch_configurations[self.name] = value


class OpaqueFunction(Action):
    """Calls a function of the context, which may return entities to visit."""

    def __init__(self, *, function: Callable[[LaunchContext], Entities | None]) -> None:
        self._function = function

    def execute(self, context: LaunchContext) -> Entities | None:
        return self._function(context)


class IncludeLaunchDescription(Action):
    """Visits another launch file's description, with arguments."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource,
        *,
        launch_arguments: Iterable[tuple[str, SomeSubstitutionsType]] = (),
    ) -> None:
        self._source = launch_description_source
        self._arguments = list(launch_arguments)

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        return self._source.get_launch_description().get_launch_arguments()

    def execute(self, context: LaunchContext) -> Entities:
        for name, value in self._arguments:
            context.launch_configurations[name] = perform(context, value)
        return [self._source.get_launch_description()]


class RegisterEventHandler(Action):
    """Registers an event handler."""

    def __init__(self, event_handler: EventHandler) -> None:
        self._event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        context.register_event_handler(self._event_handler)


class Shutdown(Action):
    """Stops everything."""

    def __init__(self, *, reason: str = "reason not given") -> None:
        self._reason = reason

    def execute(self, context: LaunchContext) -> None:
        event = context.locals.event
        if isinstance(event, ProcessExited):
            get_logger().info(
                f"process[{event.process_name}] was required: shutting down launched system"
            )
        context.emit_event_sync(ShutdownEvent(reason=self._reason))


class TimerAction(Action):
    """Yields its actions after `period` (s), unless the launch stops before."""

    def __init__(self, *, period: float, actions: Sequence[LaunchDescriptionEntity]) -> None:
        self._period = period
        self._actions = actions
        self._done: asyncio.Future[None] | None = None

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        return self._done

    def execute(self, context: LaunchContext) -> None:
        assert context.asyncio_loop is not None, "actions are executed by a running launch"
        self._done = done = context.asyncio_loop.create_future()

        def expire() -> None:
            context.emit_event_sync(Include(self._actions))
            done.set_result(None)

        def cancel(event: ShutdownEvent, context: LaunchContext) -> None:
            timer.cancel()
            if not done.done():
                done.set_result(None)

        timer = context.asyncio_loop.call_later(self._period, expire)
        context.register_event_handler(EventHandler(ShutdownEvent, cancel))
