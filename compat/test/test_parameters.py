"""What the parameters of a launch file come to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.names import join_namespace
from launch_ros.parameter_descriptions import ParameterValue, evaluate_parameter_dict


def evaluate(value: Any, **configurations: str) -> Any:
    context = LaunchContext()
    context.launch_configurations.update(configurations)
    return evaluate_parameter_dict(context, {"x": value})["x"]


@settings(max_examples=50)
@given(st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats())
def test_a_value_keeps_its_type_through_the_file(value: Any) -> None:
    read = yaml.safe_load(yaml.safe_dump(evaluate(value)))
    assert type(read) is type(value)
    assert read == value or (math.isnan(read) and math.isnan(value))


def test_a_substitution_is_read_as_yaml_unless_its_type_is_given() -> None:
    x = LaunchConfiguration("x")
    assert evaluate(x, x="5") == 5
    assert evaluate(x, x="[1.5, 2.0]") == [1.5, 2.0]
    assert evaluate(ParameterValue(x, value_type=str), x="5") == "5"
    assert evaluate(ParameterValue(x, value_type=bool), x="1") is True
    assert evaluate([x, ".5"], x="5") == 5.5
    assert evaluate([[x], ["6"]], x="5") == [5, 6]


def test_nested_dictionaries_become_dotted_names() -> None:
    values = evaluate_parameter_dict(
        LaunchContext(), {"a": {"b": {"c": 1}}, (TextSubstitution(text="d"), "e"): 2}
    )
    assert values == {"a.b.c": 1, "de": 2}


@pytest.mark.parametrize(
    "value", [[], [1, "a"], None, {1, 2}, [None], TextSubstitution(text="{a: 1}")]
)
def test_a_value_that_no_parameter_can_have_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="parameter 'x'"):
        evaluate(value)


@pytest.mark.parametrize(
    ("base", "namespace", "joined"),
    [
        (None, None, None),
        (None, "a", "/a"),
        ("/a", None, "/a"),
        ("/a", "b/c", "/a/b/c"),
        ("/a", "/b", "/b"),
        ("/", "b", "/b"),
        (None, "/", "/"),
    ],
)
def test_namespaces_are_joined(base: str | None, namespace: str | None, joined: str | None) -> None:
    assert join_namespace(base, namespace) == joined


def test_an_invalid_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="'1a' is not a valid namespace"):
        join_namespace(None, "1a")
