"""Nodes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from launch.actions import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.logging import get_logger, log_dir
from launch.substitutions import SomeSubstitutionsType, perform

from .substitutions import ExecutableInPackage

__all__ = ["Node"]

Some = SomeSubstitutionsType
SCALARS = (bool, int, float, str)


class _Dumper(yaml.SafeDumper):
    """Quotes every text: ROS reads n, 0928 and 1e5 as other types than PyYAML does."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


class Node(ExecuteProcess):
    """Runs a node's process.

    `executable` is looked up in lib/<package> of the ament index, or is a path if there is no
    `package`. `parameters` is a list of files and dictionaries of plain values, a later one
    overriding; each dictionary is passed as a file of its own, under the node's full name if the
    launch file gives name and namespace, else under `/**`. All else is as for ExecuteProcess,
    whose `name` is here `exec_name`.
    """

    def __init__(
        self,
        *,
        executable: Some,
        package: str | None = None,
        name: Some | None = None,
        namespace: Some | None = None,
        exec_name: Some | None = None,
        parameters: Sequence[str | Mapping[str, Any]] = (),
        remappings: Iterable[tuple[Some, Some]] = (),
        ros_arguments: Sequence[Some] = (),
        arguments: Iterable[Some] = (),
        **kwargs: Any,
    ) -> None:
        if package is not None:
            executable = ExecutableInPackage(executable, package)
        ros = ["--ros-args", *ros_arguments] if ros_arguments else []
        super().__init__(cmd=[executable, *arguments, *ros], name=exec_name, **kwargs)
        self._node_name = name
        self._namespace = namespace
        self._parameters = list(parameters)
        self._remappings = list(remappings)

    def expand_cmd(self, context: LaunchContext) -> list[str]:
        cmd = [*super().expand_cmd(context), "--ros-args"]
        target = "/**"
        if self._node_name is not None:
            name = perform(context, self._node_name)
            cmd += ["-r", f"__node:={name}"]
        if self._namespace is not None:
            namespace = "/" + perform(context, self._namespace).strip("/")
            cmd += ["-r", f"__ns:={namespace}"]
            if self._node_name is not None:
                target = f"{namespace.rstrip('/')}/{name}"
        for item in self._parameters:
            if isinstance(item, Mapping):
                cmd += ["--params-file", write_parameters(target, item)]
            elif os.path.isfile(item):
                cmd += ["--params-file", item]
            else:
                get_logger("launch_ros.actions.node").warning(
                    f"Parameter file path is not a file: {item}"
                )
        for old, new in self._remappings:
            cmd += ["-r", f"{perform(context, old)}:={perform(context, new)}"]
        return cmd


def write_parameters(target: str, parameters: Mapping[str, Any]) -> str:
    """Write parameters of the node `target` to a new file beside the logs; return its path.

    It stays: a respawned node reads it again.

    :raises TypeError: a value is not of a type that parameters have.
    """
    for name, value in parameters.items():
        items = value if isinstance(value, (list, tuple)) else [value]
        if len({type(item) for item in items}) != 1 or not isinstance(items[0], SCALARS):
            raise TypeError(
                f"parameter '{name}' cannot be {value!r}: a bool, int, float, str or a list of "
                "values of one of these types was expected"
            )
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in parameters.items()}
    with tempfile.NamedTemporaryFile(
        "w", prefix="launch_params_", suffix=".yaml", dir=log_dir(), delete=False
    ) as stream:
        yaml.dump({target: {"ros__parameters": plain}}, stream, _Dumper)
    return stream.name
