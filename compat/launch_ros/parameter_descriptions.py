"""Parameters of a node as a launch file writes them, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import Substitution, perform
from launch.utilities.type_utils import perform_typed_substitution

SCALARS = (bool, int, float, str)


class ParameterValue:
    """A value with its type: a scalar, `list[scalar]`, or None for YAML's rules."""

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        self.value = value
        self.value_type = value_type

    def evaluate(self, context: LaunchContext) -> Any:
        return perform_typed_substitution(context, self.value, self.value_type)


class Parameter:
    """One parameter, passed on the command line."""

    def __init__(self, name: SomeSubstitutionsType, value: Any, *, value_type: Any = None) -> None:
        self.name = name
        self._value = ParameterValue(value, value_type=value_type)

    def evaluate(self, context: LaunchContext) -> tuple[str, Any]:
        return perform(context, self.name), self._value.evaluate(context)


class ParameterFile:
    """A file of parameters."""

    def __init__(self, param_file: SomeSubstitutionsType | PathLike[str]) -> None:
        self.param_file = param_file

    def evaluate(self, context: LaunchContext) -> str:
        if isinstance(self.param_file, PathLike):
            return fspath(self.param_file)
        return perform(context, self.param_file)


def evaluate_parameter_dict(
    context: LaunchContext, parameters: Mapping[Any, Any], prefix: str = ""
) -> dict[str, Any]:
    """Return the values of a nested dictionary by their dotted names.

    The text of a substitution is read as YAML. A list of texts and substitutions is one text, a
    list of such lists is a list. Integers among floats become floats.

    :raises TypeError: a value is not of a type that parameters have.
    """
    values: dict[str, Any] = {}
    for key, value in parameters.items():
        name = prefix + perform(context, key)
        if isinstance(value, Mapping):
            values.update(evaluate_parameter_dict(context, value, f"{name}."))
        else:
            values[name] = _evaluate(context, name, value)
    return values


def _evaluate(context: LaunchContext, name: str, value: Any) -> Any:
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if isinstance(value, (*SCALARS, bytes)):
        return value
    if isinstance(value, Substitution):
        return _from_yaml(name, perform(context, value))
    if not isinstance(value, Sequence):
        raise TypeError(f"parameter '{name}' cannot be {value!r}")
    if any(isinstance(item, Substitution) for item in value) and all(
        isinstance(item, (str, Substitution)) for item in value
    ):
        return _from_yaml(name, perform(context, value))
    if {type(item) for item in value} == {int, float}:
        return [float(item) for item in value]
    return _uniform(name, [_item(context, name, item) for item in value])


def _item(context: LaunchContext, name: str, item: Any) -> Any:
    if isinstance(item, SCALARS):
        return item
    if not isinstance(item, (Substitution, Sequence)):
        raise TypeError(f"parameter '{name}' cannot have {item!r} in a list")
    return yaml.safe_load(perform(context, item))


def _from_yaml(name: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError as error:
        raise TypeError(
            f"parameter '{name}': '{text}' is not YAML; if it is a text, wrap it in "
            "ParameterValue(value, value_type=str)"
        ) from error
    if isinstance(value, list):
        return _uniform(name, value)
    if not isinstance(value, (*SCALARS, bytes)):
        raise TypeError(
            f"parameter '{name}': '{text}' is read as {value!r}; if it is a text, wrap it in "
            "ParameterValue(value, value_type=str)"
        )
    return value


def _uniform(name: str, items: list[Any]) -> list[Any]:
    kinds = {type(item) for item in items}
    if len(kinds) != 1 or not kinds <= set(SCALARS):
        raise TypeError(
            f"parameter '{name}' is a list of one type of bool, int, float or str, and not empty; "
            f"got {items!r}"
        )
    return items
