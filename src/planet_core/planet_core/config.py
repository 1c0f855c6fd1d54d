"""Configurations: frozen dataclasses that check themselves and describe every field.

Each field is a :func:`setting`. Nodes declare the fields as parameters with descriptors. All
configurations go to JSON and back unchanged.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

C = TypeVar("C", bound="Config")
T = TypeVar("T")


def setting(
    default: T,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[T, ...] | None = None,
) -> T:
    """A field of a :class:`Config`.

    Args:
        default: the value of a field that nobody sets.
        doc: what the field means, in sentences that a user reads; units stand in them.
        low: the smallest value that is allowed.
        high: the largest value that is allowed.
        choices: the only values that are allowed.
    """
    limits = {"low": low, "high": high, "choices": choices}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    field: T = dataclasses.field(default=default, metadata={"doc": doc, **given})
    return field


@dataclass(frozen=True)
class Config:
    """Checks its fields against their types and metadata; raises ValueError, one sentence."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value = _typed(getattr(self, f.name), hints[f.name])
            where = f"{type(self).__name__}.{f.name}"
            if value is None:
                raise ValueError(f"{where} is {getattr(self, f.name)!r}, expected {f.type}")
            object.__setattr__(self, f.name, value)
            if isinstance(value, (int, float)):
                if not math.isfinite(value):
                    raise ValueError(f"{where} is {value}, expected a finite number")
                if "low" in f.metadata and value < f.metadata["low"]:
                    raise ValueError(f"{where} is {value}, expected at least {f.metadata['low']}")
                if "high" in f.metadata and value > f.metadata["high"]:
                    raise ValueError(f"{where} is {value}, expected at most {f.metadata['high']}")
            if "choices" in f.metadata and value not in f.metadata["choices"]:
                choices = ", ".join(map(str, f.metadata["choices"]))
                raise ValueError(f"{where} is {value!r}, expected one of {choices}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types (tuples as lists)."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def to_json(self) -> str:
        """The fields as canonical JSON (sorted keys, no spaces)."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration with exactly these fields; ValueError when one is odd or missing."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__}: {values!r} is no object of fields")  # noqa: TRY004
        names = {f.name for f in dataclasses.fields(cls)}
        odd = sorted(names ^ set(values))
        if odd:
            kind = "lacks" if odd[0] in names else "does not know"
            raise ValueError(f"{cls.__name__} {kind} '{odd[0]}'")
        return cls(**values)

    @classmethod
    def from_json(cls: type[C], text: str) -> C:
        """The configuration that :meth:`to_json` wrote; ValueError when `text` is not one."""
        return cls.from_dict(json.loads(text))


def _typed(value: Any, kind: Any) -> Any:
    """`value` as `kind` (an int passes as float, a list as tuple), or None when it is not one."""
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            return None
        items = tuple(_typed(v, get_args(kind)[0]) for v in value)
        return None if None in items else items
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None
