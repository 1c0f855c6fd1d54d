"""Parameters: a wrong one is named in one sentence, a right one arrives typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from planet_node.main import StartupError
from planet_node.parameters import declare


@dataclass(frozen=True)
class Config:
    name: str = field(metadata={"doc": "A text without a default."})
    horizon: int = field(default=12, metadata={"doc": "Horizon.", "low": 1, "high": 50})
    noise: float = field(default=0.3, metadata={"doc": "Noise.", "low": 0.0})
    mode: str = field(default="async", metadata={"doc": "Mode.", "choices": ("async", "sync")})
    holds: tuple[int, ...] = field(default=(1, 2), metadata={"doc": "Holds."})

    def __post_init__(self) -> None:
        if self.horizon < len(self.holds):
            raise ValueError(f"horizon {self.horizon} must be at least the number of holds")


@pytest.fixture(autouse=True)
def _ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.shutdown()


def configure(**values: object) -> Config:
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    node = Node("tested", parameter_overrides=overrides)
    try:
        return declare(node, Config, "planner")
    finally:
        node.destroy_node()


def test_values_and_defaults_arrive_with_their_types() -> None:
    config = configure(planner__name="x", planner__holds=[1, 2, 5])
    assert config == Config(name="x", holds=(1, 2, 5))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"horizon": "long"}, "parameter planner.horizon is 'long', but must be a whole number"),
        ({"horizon": 0}, "planner.horizon is 0, but must be a whole number between 1 and 50"),
        ({"noise": -1.0}, "planner.noise is -1.0, but must be a number with a decimal point"),
        ({"mode": "fast"}, "planner.mode is 'fast', but must be one of async, sync"),
        ({"horizon": 1}, "planner.*: horizon 1 must be at least the number of holds"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    values: dict[str, object], sentence: str
) -> None:
    given = {f"planner__{name}": value for name, value in values.items()}
    with pytest.raises(StartupError) as raised:
        configure(planner__name="x", **given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_parameter_without_default_must_be_given() -> None:
    with pytest.raises(StartupError, match=r"planner\.name is not set; it must be a text"):
        configure()


def test_descriptors_carry_the_documentation_and_forbid_changes() -> None:
    node = Node("described", parameter_overrides=[Parameter("name", value="x")])
    declare(node, Config)
    descriptor = node.describe_parameter("horizon")
    assert descriptor.description == "Horizon."
    assert descriptor.integer_range[0].to_value == 50
    assert not node.set_parameters([Parameter("horizon", value=3)])[0].successful
    node.destroy_node()
