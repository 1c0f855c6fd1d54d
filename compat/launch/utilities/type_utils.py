"""Substitutions whose text stands for a bool, a number or a list."""

from __future__ import annotations

import typing
from typing import Any

import yaml

from ..launch_context import LaunchContext
from ..substitution import SomeSubstitutionsType, Substitution, perform

SCALARS = (bool, int, float, str)


def coerce_to_type(text: str, data_type: Any = None) -> Any:
    """Return what `text` says, read as `data_type` (a scalar, `list[scalar]`; None: YAML's rules).

    :raises ValueError: the text does not say such a value.
    """
    if data_type is str:
        return text
    if data_type in (int, float):
        return data_type(text)
    if data_type is bool:
        text = {"1": "true", "0": "false"}.get(text, text)
    if not text and data_type is None:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"'{text}' is not YAML") from error
    if data_type is None:
        valid = isinstance(value, SCALARS) or is_uniform_list(value, SCALARS)
    elif data_type is bool:
        valid = isinstance(value, bool)
    else:
        valid = is_uniform_list(value, (item_type(data_type),))
    if not valid:
        wanted = "a bool, number, text or list of one of them" if data_type is None else data_type
        raise ValueError(f"'{text}' is not {wanted}")
    return value


def is_uniform_list(value: Any, types: tuple[type, ...]) -> bool:
    """Return whether `value` is a list whose items are all of the same of `types`."""
    if not isinstance(value, list):
        return False
    return any(all(isinstance(item, kind) for item in value) for kind in types)


def item_type(data_type: Any) -> type:
    """Return T of `list[T]`.

    :raises ValueError: `data_type` is no such list.
    """
    arguments = typing.get_args(data_type)
    if typing.get_origin(data_type) is not list or arguments[0] not in SCALARS:
        raise ValueError(f"{data_type} is not bool, int, float, str or a list of one of them")
    return typing.cast(type, arguments[0])


def perform_typed_substitution(context: LaunchContext, value: Any, data_type: Any = None) -> Any:
    """Return `value`, which is a scalar, a list, or substitutions whose text says one.

    :raises TypeError: a value that is no substitution is not of `data_type`.
    :raises ValueError: the substitutions' text does not say such a value.
    """
    if is_substitution(value):
        return coerce_to_type(perform(context, value), data_type)
    if isinstance(value, (list, tuple)):
        wanted = None if data_type is None else item_type(data_type)
        return [perform_typed_substitution(context, item, wanted) for item in value]
    if data_type is not None and not isinstance(value, data_type):
        raise TypeError(f"expected {data_type.__name__}, got {value!r}")
    return value


def is_substitution(value: SomeSubstitutionsType | Any) -> bool:
    """Return whether `value` is a substitution, or texts and substitutions to be joined."""
    if isinstance(value, Substitution):
        return True
    return (
        isinstance(value, (list, tuple))
        and any(isinstance(item, Substitution) for item in value)
        and all(isinstance(item, (str, Substitution)) for item in value)
    )
