"""Nodes, and what is set for all nodes of a scope."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import yaml
from launch.action import Action
from launch.actions import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.logging import get_logger, log_dir
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import perform

from .names import check_node_name, join_namespace
from .parameter_descriptions import Parameter, ParameterFile, evaluate_parameter_dict
from .substitutions import ExecutableInPackage

__all__ = [
    "Node",
    "PushROSNamespace",
    "PushRosNamespace",
    "SetParameter",
    "SetParametersFromFile",
    "SetRemap",
]

Some = SomeSubstitutionsType
# Launch configurations that a scope holds for its nodes.
NAMESPACE, PARAMETERS, REMAPS = "ros_namespace", "global_params", "ros_remaps"


class Node(ExecuteProcess):
    """Runs a node's process.

    `executable` is looked up in lib/<package> of the ament index, or is a path if there is no
    `package`. `parameters` is a list of files and (nested) dictionaries, a later one overriding;
    each dictionary is passed as a file of its own, under the node's full name if the launch file
    gives name and namespace, else under `/**`. `namespace` is relative to PushRosNamespace.
    All else is as for ExecuteProcess, whose `name` is here `exec_name`.
    """

    def __init__(
        self,
        *,
        executable: Some,
        package: Some | None = None,
        name: Some | None = None,
        namespace: Some | None = None,
        exec_name: Some | None = None,
        parameters: Sequence[Any] | None = None,
        remappings: Iterable[tuple[Some, Some]] | None = None,
        ros_arguments: Iterable[Some] | None = None,
        arguments: Iterable[Some] | None = None,
        **kwargs: Any,
    ) -> None:
        if package is not None:
            executable = ExecutableInPackage(package=package, executable=executable)
        cmd = [executable, *(arguments or ())]
        if ros_arguments is not None:
            cmd += ["--ros-args", *ros_arguments]
        if isinstance(parameters, (str, Mapping)):
            raise TypeError(f"parameters is a list of files and dictionaries, not {parameters!r}")
        super().__init__(cmd=cmd, name=exec_name, **kwargs)
        self._node_name = name
        self._namespace = namespace
        self._parameters = list(parameters or ())
        self._remappings = list(remappings or ())

    def expand_cmd(self, context: LaunchContext) -> list[str]:
        cmd = [*super().expand_cmd(context), "--ros-args"]
        name = namespace = None
        if self._node_name is not None:
            name = check_node_name(perform(context, self._node_name))
            cmd += ["-r", f"__node:={name}"]
        if self._namespace is not None:
            namespace = perform(context, self._namespace)
        namespace = join_namespace(context.launch_configurations.get(NAMESPACE), namespace)
        if namespace is not None:
            cmd += ["-r", f"__ns:={namespace}"]
        known = name is not None and namespace is not None
        target = f"{(namespace or '').rstrip('/')}/{name}" if known else "/**"

        for item in context.launch_configurations.get(PARAMETERS, []):
            cmd += ["-p", f"{item[0]}:={item[1]}"] if isinstance(item, tuple) else file(item)
        for item in self._parameters:
            cmd += self._parameter(context, target, item)
        remappings = [
            *context.launch_configurations.get(REMAPS, []),
            *((perform(context, old), perform(context, new)) for old, new in self._remappings),
        ]
        for old, new in remappings:
            cmd += ["-r", f"{old}:={new}"]
        return cmd

    def _parameter(self, context: LaunchContext, target: str, item: Any) -> list[str]:
        if isinstance(item, Parameter):
            name, value = item.evaluate(context)
            return ["-p", f"{name}:={yaml.safe_dump(value)}"]
        if isinstance(item, Mapping):
            values = evaluate_parameter_dict(context, item)
            # It is kept beside the logs: a respawned node reads it again.
            with tempfile.NamedTemporaryFile(
                "w", prefix="launch_params_", suffix=".yaml", dir=log_dir(), delete=False
            ) as stream:
                yaml.safe_dump({target: {"ros__parameters": values}}, stream)
            return file(stream.name)
        parameter_file = item if isinstance(item, ParameterFile) else ParameterFile(item)
        path = parameter_file.evaluate(context)
        if not os.path.isfile(path):
            get_logger("launch_ros.actions.node").warning(
                f"Parameter file path is not a file: {path}"
            )
            return []
        return file(path)


def file(path: str | PathLike[str]) -> list[str]:
    """Return the arguments that pass a file of parameters."""
    return ["--params-file", os.fspath(path)]


class PushROSNamespace(Action):
    """Puts the nodes of the scope into a namespace, under the one that they are in."""

    def __init__(self, namespace: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        configurations = context.launch_configurations
        configurations[NAMESPACE] = join_namespace(
            configurations.get(NAMESPACE), perform(context, self._namespace)
        )


PushRosNamespace = PushROSNamespace


def _append(context: LaunchContext, key: str, items: Iterable[Any]) -> None:
    # A new list, not a longer one: the scope around has the old one.
    context.launch_configurations[key] = [*context.launch_configurations.get(key, []), *items]


class SetParameter(Action):
    """Sets a parameter of all nodes of the scope."""

    def __init__(self, name: Some, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name, self._value = name, value

    def execute(self, context: LaunchContext) -> None:
        name = perform(context, self._name)
        _append(context, PARAMETERS, evaluate_parameter_dict(context, {name: self._value}).items())


class SetParametersFromFile(Action):
    """Gives a file of parameters to all nodes of the scope."""

    def __init__(self, filename: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._filename = filename

    def execute(self, context: LaunchContext) -> None:
        _append(context, PARAMETERS, [os.path.abspath(perform(context, self._filename))])


class SetRemap(Action):
    """Sets a remapping rule of all nodes of the scope."""

    def __init__(self, src: Some, dst: Some, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rule = (src, dst)

    def execute(self, context: LaunchContext) -> None:
        src, dst = (perform(context, part) for part in self._rule)
        _append(context, REMAPS, [(src, dst)])
