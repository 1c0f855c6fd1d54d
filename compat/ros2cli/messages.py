"""Messages as text, and text as messages."""

from __future__ import annotations

import array
import importlib
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

TRUNCATE = 128  # elements or characters


def load_type(name: str, kind: str) -> Any:
    """Return the class of `package/<kind>/Name` or `package/Name`; kind is `msg` or `srv`.

    :raises RuntimeError: there is none.
    """
    package, *middle, last = name.split("/")
    try:
        module = importlib.import_module(".".join([package, *(middle or [kind])]))
        return getattr(module, last)
    except (ImportError, AttributeError, ValueError) as error:
        word = {"msg": "message", "srv": "service"}[kind]
        raise RuntimeError(f"The passed {word} type '{name}' is invalid: {error}") from error


def is_message(value: Any) -> bool:
    """Return whether `value` is a message."""
    return hasattr(value, "get_fields_and_field_types")


def to_plain(value: Any, *, limit: int | None = TRUNCATE, arrays: bool = True) -> Any:
    """Return a message or a field's value as what YAML has: dictionaries, lists, scalars.

    What is longer than `limit` is cut, with `...`; without `arrays`, an array is only named.
    """
    if is_message(value):
        plain = {}
        for name, kind in value.get_fields_and_field_types().items():
            field = getattr(value, name)
            named = None if arrays else array_name(kind, field)
            plain[name] = named or to_plain(field, limit=limit, arrays=arrays)
        return plain
    if isinstance(value, bytes):
        value = "".join(chr(byte) if byte else "\\0" for byte in value)
    if isinstance(value, str):
        return value if limit is None or len(value) <= limit else value[:limit] + "..."
    if isinstance(value, (array.array, np.ndarray, list, tuple)):
        shown = value if limit is None else value[:limit]
        items = [to_plain(item, limit=limit, arrays=arrays) for item in shown]
        return items if len(shown) == len(value) else [*items, "..."]
    return value.item() if isinstance(value, np.generic) else value


def array_name(kind: str, field: Any) -> str | None:
    """Return what stands for an array of the type `kind`, None if it is none."""
    if match := re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", kind):
        bound = f"[{match[2]}]" if match[2] else ""
        return f"<sequence type: {match[1]}{bound}, length: {len(field)}>"
    return f"<array type: {kind}>" if kind.endswith("]") else None


def to_yaml(message: Any, *, limit: int | None = TRUNCATE, arrays: bool = True) -> str:
    """Return a message as YAML."""
    plain = to_plain(message, limit=limit, arrays=arrays)
    return yaml.safe_dump(plain, allow_unicode=True, width=sys.maxsize, sort_keys=False)


def set_fields(message: Any, values: Mapping[str, Any]) -> None:
    """Set the fields of a message that `values` names.

    :raises ValueError: there is no such field, or it cannot have the value.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"expected the fields of {type(message).__name__}, got {values!r}")  # noqa: TRY004
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"{type(message).__name__} has no field '{name}', but {list(kinds)}")
        field = getattr(message, name)
        try:
            setattr(message, name, _converted(field, kinds[name], value))
        except (AssertionError, TypeError, OverflowError) as error:
            raise ValueError(f"field '{name}' ({kinds[name]}) cannot be {value!r}") from error


def _converted(field: Any, kind: str, value: Any) -> Any:
    if is_message(field):
        set_fields(field, value)
        return field
    if isinstance(field, array.array):
        return array.array(field.typecode, value)
    if isinstance(field, np.ndarray):
        return np.array(value, dtype=field.dtype)
    if isinstance(field, list):
        item = re.sub(r"^sequence<|(, \d+)?>$|\[\d+\]$", "", kind)
        if "/" not in item:
            return list(value)
        messages = [load_type(item, "msg")() for _ in value]
        for message, values in zip(messages, value, strict=True):
            set_fields(message, values)
        return messages
    return float(value) if isinstance(field, float) and isinstance(value, int) else value
