"""What the line of progress can be told."""

from __future__ import annotations

from dataclasses import dataclass

from planet_core.config import Config, setting


@dataclass(frozen=True)
class ProgressConfig(Config):
    """The parameters of the line of progress."""

    period: float = setting(5.0, "A line is printed each time this time (s) has passed.", low=0.1)
    usual_updates: int = setting(
        0,
        "Updates after which the task is usually learnt; 0 = not known. On a computer "
        "that needs more than ten minutes for them, the line says how long it takes.",
        low=0,
    )
