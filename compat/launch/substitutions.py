"""The substitutions that launch files use."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterable
from typing import Any

from .launch_context import LaunchContext
from .substitution import (
    SomeSubstitutionsType,
    Substitution,
    SubstitutionFailure,
    TextSubstitution,
    describe,
    normalize_to_list_of_substitutions,
    perform_substitutions,
)
from .utilities.type_utils import is_substitution, perform_typed_substitution

__all__ = [
    "AllSubstitution",
    "AndSubstitution",
    "AnySubstitution",
    "EnvironmentVariable",
    "EqualsSubstitution",
    "IfElseSubstitution",
    "LaunchConfiguration",
    "NotEqualsSubstitution",
    "NotSubstitution",
    "OrSubstitution",
    "PathJoinSubstitution",
    "PythonExpression",
    "SubstitutionFailure",
    "TextSubstitution",
    "ThisLaunchFile",
    "ThisLaunchFileDir",
]


def _as_text(value: Any) -> SomeSubstitutionsType:
    """Return a default or an operand, which may be of any type, as something to be performed."""
    if isinstance(value, (str, Substitution)) or is_substitution(value):
        return value  # type: ignore[no-any-return]
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable):
        return [item if isinstance(item, (str, Substitution)) else str(item) for item in value]
    return str(value)


class LaunchConfiguration(Substitution):
    """The value of a launch configuration, such as an argument."""

    def __init__(self, variable_name: SomeSubstitutionsType, *, default: Any = None) -> None:
        self.variable_name = normalize_to_list_of_substitutions(variable_name)
        self._default = (
            None if default is None else normalize_to_list_of_substitutions(_as_text(default))
        )

    def describe(self) -> str:
        return f"LaunchConfig({describe(self.variable_name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.variable_name)
        if name in context.launch_configurations:
            return str(context.launch_configurations[name])
        if self._default is None:
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist")
        return perform_substitutions(context, self._default)


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(
        self, name: SomeSubstitutionsType, *, default_value: SomeSubstitutionsType | None = None
    ) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self._default = (
            None if default_value is None else normalize_to_list_of_substitutions(default_value)
        )

    def describe(self) -> str:
        return f"EnvVar({describe(self.name)})"

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self._default is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return perform_substitutions(context, self._default)


class PathJoinSubstitution(Substitution):
    """The parts of a path, joined."""

    def __init__(self, substitutions: Iterable[str | Substitution]) -> None:
        self.substitutions = normalize_to_list_of_substitutions(substitutions)

    def describe(self) -> str:
        return f"PathJoin('{describe(self.substitutions)}')"

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*[part.perform(context) for part in self.substitutions])


class PythonExpression(Substitution):
    """The value of a Python expression, in which the modules (and all of `math`) are known."""

    def __init__(
        self, expression: SomeSubstitutionsType, python_modules: SomeSubstitutionsType = ("math",)
    ) -> None:
        self.expression = normalize_to_list_of_substitutions(expression)
        self.python_modules = normalize_to_list_of_substitutions(python_modules)

    def describe(self) -> str:
        modules = ", ".join(part.describe() for part in self.python_modules)
        return f"PythonExpr({describe(self.expression)}, [{modules}])"

    def perform(self, context: LaunchContext) -> str:
        names: dict[str, Any] = {}
        for part in self.python_modules:
            name = part.perform(context)
            names[name] = importlib.import_module(name)
            if name == "math":
                names.update(vars(math))
        expression = perform_substitutions(context, self.expression)
        try:
            # Launch files are programs; an expression in one is no more than they are.
            return str(eval(expression, {}, names))  # noqa: S307
        except Exception as error:
            raise SubstitutionFailure(
                f"cannot evaluate '{expression}': {type(error).__name__}: {error}"
            ) from error


class ThisLaunchFile(Substitution):
    """The path of the launch file at hand."""

    _local = "current_launch_file_path"

    def perform(self, context: LaunchContext) -> str:
        try:
            return str(context.get_locals_as_dict()[self._local])
        except KeyError:
            name = type(self).__name__
            raise SubstitutionFailure(f"{name} used outside of a launch file") from None


class ThisLaunchFileDir(ThisLaunchFile):
    """The folder of the launch file at hand."""

    _local = "current_launch_file_directory"


def _truth(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class EqualsSubstitution(Substitution):
    """Whether two texts are equal, as booleans or numbers where both are such."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left = normalize_to_list_of_substitutions(_as_text(left))
        self.right = normalize_to_list_of_substitutions(_as_text(right))

    def describe(self) -> str:
        return f"{type(self).__name__}({describe(self.left)} {describe(self.right)})"

    def _equal(self, context: LaunchContext) -> bool:
        left = perform_substitutions(context, self.left)
        right = perform_substitutions(context, self.right)
        truths = _truth(left), _truth(right)
        if None not in truths:
            return truths[0] == truths[1]
        a, b = _number(left), _number(right)
        if a is not None and b is not None:
            return math.isclose(a, b)
        return left == right

    def perform(self, context: LaunchContext) -> str:
        return str(self._equal(context)).lower()


class NotEqualsSubstitution(EqualsSubstitution):
    """The opposite of EqualsSubstitution."""

    def perform(self, context: LaunchContext) -> str:
        return str(not self._equal(context)).lower()


class _Boolean(Substitution):
    """`true` or `false`, from the truth of some texts (YAML's words)."""

    def __init__(self, *values: SomeSubstitutionsType) -> None:
        self.values = [normalize_to_list_of_substitutions(value) for value in values]

    def describe(self) -> str:
        return f"{type(self).__name__}({' '.join(describe(value) for value in self.values)})"

    def _truths(self, context: LaunchContext) -> list[bool]:
        try:
            return [perform_typed_substitution(context, value, bool) for value in self.values]
        except (TypeError, ValueError) as error:
            raise SubstitutionFailure(str(error)) from error


class AllSubstitution(_Boolean):
    """Whether all are true."""

    def perform(self, context: LaunchContext) -> str:
        return str(all(self._truths(context))).lower()


class AnySubstitution(_Boolean):
    """Whether any is true."""

    def perform(self, context: LaunchContext) -> str:
        return str(any(self._truths(context))).lower()


class AndSubstitution(AllSubstitution):
    """Whether both are true."""

    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__(left, right)


class OrSubstitution(AnySubstitution):
    """Whether one of both is true."""

    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__(left, right)


class NotSubstitution(_Boolean):
    """Whether it is not true."""

    def __init__(self, value: SomeSubstitutionsType) -> None:
        super().__init__(value)

    def perform(self, context: LaunchContext) -> str:
        return str(not self._truths(context)[0]).lower()


class IfElseSubstitution(_Boolean):
    """One of two texts, by the truth of a third."""

    def __init__(
        self,
        condition: SomeSubstitutionsType,
        if_value: SomeSubstitutionsType = "",
        else_value: SomeSubstitutionsType = "",
    ) -> None:
        super().__init__(condition)
        self._if_value = normalize_to_list_of_substitutions(if_value)
        self._else_value = normalize_to_list_of_substitutions(else_value)

    def perform(self, context: LaunchContext) -> str:
        chosen = self._if_value if self._truths(context)[0] else self._else_value
        return perform_substitutions(context, chosen)
