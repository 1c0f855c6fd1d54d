"""What a launch file writes where a text is known only at launch."""

from __future__ import annotations

from collections.abc import Iterable

from .launch_context import LaunchContext


class SubstitutionFailure(RuntimeError):  # noqa: N818 (the real name)
    """A substitution had no value to give."""


class Substitution:
    """Base of all substitutions: `perform` gives the text at launch."""

    def perform(self, context: LaunchContext) -> str:
        """Return the text in this context."""
        raise NotImplementedError


# A text, a substitution, or several of them that are to be joined.
SomeSubstitutionsType = str | Substitution | Iterable[str | Substitution]


def perform(context: LaunchContext, value: SomeSubstitutionsType) -> str:
    """Return the text of `value`, whichever way it was written.

    :raises TypeError: something in it is neither a text nor a substitution.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Substitution):
        return value.perform(context)
    if not isinstance(value, Iterable):
        raise TypeError(f"expected a str or a Substitution, got {value!r}")
    return "".join(perform(context, part) for part in value)


class LaunchConfiguration(Substitution):
    """The value of a launch configuration, such as an argument."""

    def __init__(self, variable_name: str, *, default: str | None = None) -> None:
        self._name, self._default = variable_name, default

    def perform(self, context: LaunchContext) -> str:
        value = context.launch_configurations.get(self._name, self._default)
        if value is None:
            raise SubstitutionFailure(f"launch configuration '{self._name}' does not exist")
        return value
