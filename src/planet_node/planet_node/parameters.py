"""A node's parameters are the fields of a frozen dataclass, declared with descriptors.

A field's metadata says what it means: ``doc`` (a sentence), and where they apply ``low``, ``high``
and ``choices``. The plain-Python modules define the dataclasses and know nothing of ROS.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, get_type_hints

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from planet_node.main import StartupError

Config = TypeVar("Config")

_TYPES: dict[Any, tuple[int, str]] = {
    bool: (ParameterType.PARAMETER_BOOL, "true or false"),
    int: (ParameterType.PARAMETER_INTEGER, "a whole number"),
    float: (ParameterType.PARAMETER_DOUBLE, "a number with a decimal point"),
    str: (ParameterType.PARAMETER_STRING, "a text"),
    tuple[int, ...]: (ParameterType.PARAMETER_INTEGER_ARRAY, "a list of whole numbers"),
    tuple[float, ...]: (
        ParameterType.PARAMETER_DOUBLE_ARRAY,
        "a list of numbers with decimal points",
    ),
    tuple[str, ...]: (ParameterType.PARAMETER_STRING_ARRAY, "a list of texts"),
}


def declare(node: Node, config_class: type[Config], prefix: str = "", **fixed: Any) -> Config:
    """Declare one read-only parameter per field of `config_class` and return their values.

    Args:
        prefix: put before each name, with a dot: ``planner`` makes ``planner.horizon``.
        fixed: fields that the caller sets itself and that are no parameters.

    Raises:
        StartupError: a value has the wrong type, is out of range or is none of the choices.
    """
    hints = get_type_hints(config_class)
    values = dict(fixed)
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        if field.name not in fixed:
            values[field.name] = _declare(node, prefix, field, hints[field.name])
    try:
        return config_class(**values)
    except ValueError as error:
        where = f"{prefix}.*" if prefix else "its parameters"
        raise StartupError(f"{node.get_name()}: {where}: {error}") from error


def _declare(node: Node, prefix: str, field: dataclasses.Field[Any], kind: Any) -> Any:
    name = f"{prefix}.{field.name}" if prefix else field.name
    ros_type, expected = _TYPES[kind]
    low, high = field.metadata.get("low"), field.metadata.get("high")
    choices = field.metadata.get("choices")
    descriptor = ParameterDescriptor(
        name=name,
        type=ros_type,
        description=field.metadata.get("doc", ""),
        additional_constraints=f"one of {', '.join(map(str, choices))}" if choices else "",
        read_only=True,
    )
    if kind is int and (low is not None or high is not None):
        limits = IntegerRange(
            from_value=-(2**63) if low is None else low,
            to_value=2**63 - 1 if high is None else high,
        )
        descriptor.integer_range = [limits]
    elif kind is float and (low is not None or high is not None):
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float("-inf") if low is None else float(low),
                to_value=float("inf") if high is None else float(high),
            )
        ]
    default: Any = Parameter.Type(ros_type)
    if field.default is not dataclasses.MISSING:
        default = list(field.default) if isinstance(field.default, tuple) else field.default
    given = node._parameter_overrides.get(name)  # the only way to name a value that is refused
    wrong = f"{node.get_name()}: parameter {name} is {given.value!r}" if given else ""
    try:
        parameter = node.declare_parameter(name, default, descriptor)
    except InvalidParameterTypeException as error:
        raise StartupError(f"{wrong}, but must be {expected}.") from error
    except InvalidParameterValueException as error:
        bounds = f"between {'-∞' if low is None else low} and {'∞' if high is None else high}"
        raise StartupError(f"{wrong}, but must be {expected} {bounds}.") from error
    value = parameter.value
    if value is None:
        raise StartupError(
            f"{node.get_name()}: parameter {name} is not set; it must be {expected}."
        )
    if choices and value not in choices:
        raise StartupError(
            f"{node.get_name()}: parameter {name} is '{value}', but must be one of "
            f"{', '.join(map(str, choices))}."
        )
    return tuple(value) if isinstance(field.default, tuple) else value
