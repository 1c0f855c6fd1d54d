"""Conditions of actions."""

from __future__ import annotations

from .launch_context import LaunchContext
from .substitution import SomeSubstitutionsType, describe, normalize_to_list_of_substitutions
from .substitution import perform as perform_any

WORDS = {"true": True, "1": True, "false": False, "0": False}


class InvalidConditionExpressionError(ValueError):
    """A condition's text is neither true nor false."""


class Condition:
    """Whether an action is to be executed."""

    def evaluate(self, context: LaunchContext) -> bool:
        raise NotImplementedError


class IfCondition(Condition):
    """Holds when the expression's text is `true` or `1`.

    :raises InvalidConditionExpressionError: on evaluation, when it is not `false` or `0` either.
    """

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        self._expression = normalize_to_list_of_substitutions(predicate_expression)

    def evaluate(self, context: LaunchContext) -> bool:
        text = perform_any(context, self._expression).strip().lower()
        if text not in WORDS:
            raise InvalidConditionExpressionError(
                f"invalid condition expression, expected one of [{', '.join(WORDS)}] but got "
                f"'{text}', expanded from '{describe(self._expression)}'"
            )
        return WORDS[text]


class UnlessCondition(IfCondition):
    """Holds when IfCondition does not."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)


class LaunchConfigurationEquals(Condition):
    """Holds when the launch configuration has the value (None: when it is not set)."""

    def __init__(
        self, launch_configuration_name: str, expected_value: SomeSubstitutionsType | None
    ) -> None:
        self._name = launch_configuration_name
        self._expected = expected_value

    def evaluate(self, context: LaunchContext) -> bool:
        expected = None if self._expected is None else perform_any(context, self._expected)
        return bool(context.launch_configurations.get(self._name) == expected)


class LaunchConfigurationNotEquals(LaunchConfigurationEquals):
    """Holds when LaunchConfigurationEquals does not."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)
