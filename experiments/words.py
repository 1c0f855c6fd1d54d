"""Durations and lists in words."""

from __future__ import annotations

from collections.abc import Iterable


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def listed(words: Iterable[str], last: str) -> str:
    """`a, b and c` where `last` is "and"."""
    *first, final = words
    return f"{', '.join(first)} {last} {final}" if first else final
