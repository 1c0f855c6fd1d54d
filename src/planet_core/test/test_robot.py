"""Commands by the names of their joints."""

from __future__ import annotations

import pytest

from planet_core.robot import CommandError, command_values

NAMES = ("m1", "m2", "m3", "m5")


def test_a_command_is_sorted_by_its_names() -> None:
    command = command_values(NAMES, ("m5", "m1", "m3", "m2"), (4.0, 1.0, 3.0, 2.0))
    assert command.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("names", "values", "sentence"),
    [
        (("m1", "m2", "m3", "m4"), [0.0] * 4, "names m1, m2, m3, m4, expected m1, m2, m3, m5"),
        (NAMES[:3], [0.0] * 3, "names m1, m2, m3, expected"),
        ((), [], "names nothing, expected"),
        (("m1", "m1", "m3", "m5"), [0.0] * 4, "names m1, m1, m3, m5, expected"),
        (("m1", *NAMES), [0.0] * 5, "names m1, m1, m2, m3, m5, expected"),
        (NAMES, [0.0] * 3, "3 values for 4 joints"),
        (NAMES, [0.0, float("nan"), 0.0, 0.0], "m2 is nan, expected a finite number"),
        (NAMES, [0.0, 0.0, 0.0, float("inf")], "m5 is inf, expected a finite number"),
    ],
)
def test_a_command_that_cannot_be_used_says_why(
    names: tuple[str, ...], values: list[float], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence):
        command_values(NAMES, names, values)
