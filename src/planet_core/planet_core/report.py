"""How a part of a program tells the operator its state."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["ok", "warn", "error"]


class Report(Protocol):
    """Tells the operator the state of one part: a level, and one sentence."""

    def __call__(self, name: str, level: Level, message: str, **values: object) -> None:
        """`values` are figures that belong to the sentence."""
