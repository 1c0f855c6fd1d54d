"""What a launch file writes where a value is known only at launch: the substitution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch_context import LaunchContext


class SubstitutionFailure(RuntimeError):  # noqa: N818 (the real name)
    """A substitution had no value to give."""


class Substitution:
    """Base of all substitutions: `perform` gives the text at launch."""

    def describe(self) -> str:
        """Return how `ros2 launch --show-args` shows it."""
        return f"{type(self).__name__}()"

    def perform(self, context: LaunchContext) -> str:
        """Return the text in this context."""
        raise NotImplementedError


SomeSubstitutionsType = str | Substitution | Iterable[str | Substitution]


class TextSubstitution(Substitution):
    """A text that is known already."""

    def __init__(self, *, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"TextSubstitution takes a str, not {type(text).__name__}")
        self.text = text

    def describe(self) -> str:
        return f"'{self.text}'"

    def perform(self, context: LaunchContext) -> str:
        return self.text


def normalize_to_list_of_substitutions(value: SomeSubstitutionsType) -> list[Substitution]:
    """Return `value` (a text, a substitution, or several of them) as a list of substitutions."""
    if isinstance(value, str):
        return [TextSubstitution(text=value)]
    if isinstance(value, Substitution):
        return [value]
    parts: list[Substitution] = []
    for part in value:
        if not isinstance(part, (str, Substitution)):
            raise TypeError(f"expected a str or a Substitution, got {part!r}")
        parts += normalize_to_list_of_substitutions(part)
    return parts


def perform_substitutions(context: LaunchContext, parts: Sequence[Substitution]) -> str:
    """Return the texts of `parts`, joined."""
    return "".join(part.perform(context) for part in parts)


def perform(context: LaunchContext, value: SomeSubstitutionsType) -> str:
    """Return the text of `value`, whichever way it was written."""
    return perform_substitutions(context, normalize_to_list_of_substitutions(value))


def describe(parts: Iterable[Substitution]) -> str:
    """Return how `ros2 launch --show-args` shows several substitutions."""
    return " + ".join(part.describe() for part in parts)
