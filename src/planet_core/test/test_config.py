from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from planet_core.config import Config, setting


@dataclass(frozen=True)
class Example(Config):
    """One field of each kind."""

    count: int = setting(3, "Number of things.", low=1, high=5)
    share: float = setting(0.5, "Share of things.")
    name: str = setting("a", "Name of the thing.", choices=("a", "b"))
    many: tuple[int, ...] = setting((1, 2), "Several numbers.")


def test_a_field_carries_what_it_was_described_with() -> None:
    found = {field.name: dict(field.metadata) for field in fields(Example)}
    assert found["count"] == {"doc": "Number of things.", "low": 1, "high": 5}
    assert found["name"] == {"doc": "Name of the thing.", "choices": ("a", "b")}


def test_a_configuration_goes_to_json_and_back() -> None:
    example = Example(count=4, share=1, many=[7])  # type: ignore[arg-type]
    assert Example.from_json(example.to_json()) == example
    assert (example.share, example.many) == (1.0, (7,))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "Example.count is 0, expected at least 1"),
        ({"count": 6}, "Example.count is 6, expected at most 5"),
        ({"count": True}, "Example.count is True, expected int"),
        ({"share": float("nan")}, "Example.share is nan, expected a finite number"),
        ({"name": "c"}, "Example.name is 'c', expected one of a, b"),
        ({"many": ["x"]}, r"Example.many is \['x'\], expected tuple"),
        ({"odd": 1}, "Example does not know 'odd'"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Example.from_dict(Example().to_dict() | values)


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="Example lacks 'many'"):
        Example.from_dict({"count": 1, "share": 0.1, "name": "a"})
