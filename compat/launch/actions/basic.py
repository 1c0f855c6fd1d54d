"""Actions that set values, yield others, or wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..action import Action
from ..event import Event
from ..event_handlers import BaseEventHandler, EventHandler
from ..events import Shutdown as ShutdownEvent
from ..events import TimerEvent
from ..events.process import ProcessExited
from ..launch_context import LaunchContext
from ..launch_description_entity import Entities, LaunchDescriptionEntity, SomeEntitiesType
from ..launch_description_source import LaunchDescriptionSource
from ..launch_description_sources import AnyLaunchDescriptionSource
from ..logging import get_logger
from ..substitution import (
    SomeSubstitutionsType,
    Substitution,
    normalize_to_list_of_substitutions,
    perform,
)
from ..utilities.type_utils import perform_typed_substitution

Some = SomeSubstitutionsType


class DeclareLaunchArgument(Action):
    """Declares an argument of the launch file and gives it its default value.

    :raises RuntimeError: at launch, it was not given and has no default, or is not a choice.
    """

    def __init__(
        self,
        name: str,
        *,
        default_value: Some | None = None,
        description: str | None = None,
        choices: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.choices = None if choices is None else list(choices)
        self.default_value: list[Substitution] | None = None
        if default_value is not None:
            self.default_value = normalize_to_list_of_substitutions(default_value)
        self.conditionally_included = False
        if self.choices is not None:
            if not self.choices:
                raise RuntimeError(f"argument '{name}' has an empty list of choices")
            if isinstance(default_value, str) and default_value not in self.choices:
                raise RuntimeError(
                    f"the default '{default_value}' of argument '{name}' is not one of its "
                    f"choices: {self.choices}"
                )
        if description is None:
            described = "no description given" if choices is None else f"One of: {self.choices}"
        elif choices is None:
            described = description
        else:
            stop = "" if description.endswith(".") else "."
            described = f"{description}{stop} Valid choices are: {self.choices}"
        self.description = described

    def execute(self, context: LaunchContext) -> None:
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            context.launch_configurations[self.name] = perform(context, self.default_value)
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{value}" is not valid. '
                f"Valid options are: {self.choices}"
            )


class SetLaunchConfiguration(Action):
    """Sets a launch configuration."""

    def __init__(self, name: Some, value: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations[perform(context, self._name)] = perform(context, self._value)


class ResetLaunchConfigurations(Action):
    """Forgets all launch configurations but the given ones, evaluated before."""

    def __init__(self, launch_configurations: Mapping[Any, Some] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._kept = launch_configurations or {}

    def execute(self, context: LaunchContext) -> None:
        kept = {perform(context, k): perform(context, v) for k, v in self._kept.items()}
        context.launch_configurations.clear()
        context.launch_configurations.update(kept)


class SetEnvironmentVariable(Action):
    """Sets an environment variable, for all processes started later."""

    def __init__(self, name: Some, value: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(context, self._name)] = perform(context, self._value)


class AppendEnvironmentVariable(SetEnvironmentVariable):
    """Adds to the end (or the beginning) of an environment variable's value."""

    def __init__(
        self,
        name: Some,
        value: Some,
        prepend: bool | Some = False,
        separator: Some = os.pathsep,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, value, **kwargs)
        self._prepend, self._separator = prepend, separator

    def execute(self, context: LaunchContext) -> None:
        name, value = perform(context, self._name), perform(context, self._value)
        if name in context.environment:
            parts = [context.environment[name], value]
            if perform_typed_substitution(context, self._prepend, bool):
                parts.reverse()
            value = perform(context, self._separator).join(parts)
        context.environment[name] = value


class UnsetEnvironmentVariable(Action):
    """Removes an environment variable."""

    def __init__(self, name: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = name

    def execute(self, context: LaunchContext) -> None:
        context.environment.pop(perform(context, self._name), None)


class OpaqueFunction(Action):
    """Calls a function of the context, which may return entities to visit."""

    def __init__(
        self,
        *,
        function: Callable[..., SomeEntitiesType],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        **left_over: Any,
    ) -> None:
        super().__init__(**left_over)
        if not callable(function):
            raise TypeError(f"OpaqueFunction takes a function, not {function!r}")
        self._function, self._args, self._kwargs = function, tuple(args or ()), kwargs or {}

    def execute(self, context: LaunchContext) -> SomeEntitiesType:
        return self._function(context, *self._args, **self._kwargs)


class _Scope(OpaqueFunction):
    """One step in or out of a group's scope."""

    def __init__(self, function: Callable[[LaunchContext], None]) -> None:
        super().__init__(function=function)


class GroupAction(Action):
    """Yields its actions; what they set is undone at its end, if it is scoped.

    With `forwarding=False`, launch configurations and environment are not seen inside, but for
    the given `launch_configurations`.
    """

    def __init__(
        self,
        actions: Iterable[LaunchDescriptionEntity],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: Mapping[Any, Some] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = launch_configurations or {}
        sets = [SetLaunchConfiguration(name, value) for name, value in given.items()]
        self._entities: list[LaunchDescriptionEntity] = [*sets, *actions]
        if not scoped:
            return
        if not forwarding:
            self._entities[: len(sets)] = [
                _Scope(LaunchContext._reset_environment),
                ResetLaunchConfigurations(given),
            ]
        self._entities = [
            _Scope(LaunchContext._push_launch_configurations),
            _Scope(LaunchContext._push_environment),
            *self._entities,
            _Scope(LaunchContext._pop_environment),
            _Scope(LaunchContext._pop_launch_configurations),
        ]

    def get_sub_entities(self) -> Entities:
        return self._entities

    def execute(self, context: LaunchContext) -> Entities:
        return self._entities


class IncludeLaunchDescription(Action):
    """Visits another launch description, with arguments.

    :raises RuntimeError: at launch, an argument without a default is missing.
    """

    def __init__(
        self,
        launch_description_source: LaunchDescriptionSource | Some,
        *,
        launch_arguments: Iterable[tuple[Some, Some]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(launch_description_source, LaunchDescriptionSource):
            launch_description_source = AnyLaunchDescriptionSource(launch_description_source)
        self.launch_description_source = launch_description_source
        self.launch_arguments = tuple(launch_arguments or ())

    def get_sub_entities(self) -> Entities:
        found = self.launch_description_source.try_get_launch_description_without_context()
        return [] if found is None else [found]

    def argument_names(self, context: LaunchContext) -> list[str]:
        return [perform(context, name) for name, _ in self.launch_arguments]

    def execute(self, context: LaunchContext) -> Entities:
        description = self.launch_description_source.get_launch_description(context)
        location = self.launch_description_source.location
        path = os.path.abspath(location)
        context.extend_locals(
            {
                "current_launch_file_path": path,
                "current_launch_file_directory": (
                    os.path.dirname(path) if os.path.exists(path) else location
                ),
            }
        )
        names = self.argument_names(context)
        for argument, includes in description.get_launch_arguments_with_includes():
            if argument.conditionally_included or argument.default_value is not None:
                continue
            given = [*names, *(n for i in includes for n in i.argument_names(LaunchContext()))]
            if argument.name not in given:
                raise RuntimeError(
                    f"Included launch description missing required argument '{argument.name}' "
                    f"(description: '{argument.description}'), given: [{', '.join(given)}]"
                )
        sets = [SetLaunchConfiguration(name, value) for name, value in self.launch_arguments]
        return [*sets, description]


class RegisterEventHandler(Action):
    """Registers an event handler."""

    def __init__(self, event_handler: BaseEventHandler, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event_handler = event_handler

    def describe_conditional_sub_entities(
        self,
    ) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        return [self.event_handler.describe()]

    def execute(self, context: LaunchContext) -> None:
        context.register_event_handler(self.event_handler)


class UnregisterEventHandler(RegisterEventHandler):
    """Unregisters an event handler."""

    def execute(self, context: LaunchContext) -> None:
        context.unregister_event_handler(self.event_handler)


class EmitEvent(Action):
    """Emits an event."""

    def __init__(self, *, event: Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        context.emit_event_sync(self.event)


class Shutdown(EmitEvent):
    """Stops everything."""

    def __init__(self, *, reason: str = "reason not given", **kwargs: Any) -> None:
        super().__init__(event=ShutdownEvent(reason=reason), **kwargs)

    def execute(self, context: LaunchContext) -> None:
        event = context.get_locals_as_dict().get("event")
        if isinstance(event, ProcessExited):
            get_logger().info(
                f"process[{event.process_name}] was required: shutting down launched system"
            )
        super().execute(context)


class LogInfo(Action):
    """Says something."""

    def __init__(self, *, msg: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._msg = normalize_to_list_of_substitutions(msg)

    def execute(self, context: LaunchContext) -> None:
        get_logger("launch.user").info(perform(context, self._msg))


class TimerAction(Action):
    """Yields its actions after `period` seconds, unless cancelled (also by a shutdown) before."""

    def __init__(
        self,
        *,
        period: float | Some,
        actions: Iterable[LaunchDescriptionEntity],
        cancel_on_shutdown: bool | Some = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(period, int):
            raise TypeError(f"TimerAction's period is a float (or a substitution), not {period!r}")
        self._period = float(period) if isinstance(period, str) else period
        self._actions = list(actions)
        self._cancel_on_shutdown = cancel_on_shutdown
        self._cancelled = False
        self._done: asyncio.Future[None] | None = None

    def describe_conditional_sub_entities(
        self,
    ) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        return [(f"{self._period} seconds pass without being canceled", self._actions)]

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        return self._done

    def cancel(self) -> None:
        """Never yield the actions, if that has not been done yet."""
        self._cancelled = True
        if self._done is not None and not self._done.done():
            self._timer.cancel()
            self._done.set_result(None)

    def execute(self, context: LaunchContext) -> None:
        if self._cancelled:
            return
        assert context.asyncio_loop is not None, "actions are executed by a running launch"
        period = perform_typed_substitution(context, self._period, float)
        locals_here = context.get_locals_as_dict()
        self._done = context.asyncio_loop.create_future()

        def expire() -> None:
            context.emit_event_sync(TimerEvent(timer_action=self))
            self.cancel()

        def handle(event: Event, context: LaunchContext) -> Entities:
            context.extend_locals(locals_here)
            return self._actions

        context.register_event_handler(
            EventHandler(
                matcher=lambda event: isinstance(event, TimerEvent) and event.timer_action is self,
                entities=handle,
                handle_once=True,
            )
        )
        if perform_typed_substitution(context, self._cancel_on_shutdown, bool):
            context.register_event_handler(
                EventHandler(
                    matcher=lambda event: isinstance(event, ShutdownEvent),
                    entities=lambda event, context: self.cancel(),
                )
            )
        self._timer = context.asyncio_loop.call_later(period, expire)
