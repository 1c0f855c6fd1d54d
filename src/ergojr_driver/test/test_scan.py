"""What a scan suggests to who mends the bus."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from ergojr_description import xl320
from ergojr_driver.bus import FoundMotor, Scan
from ergojr_driver.scan import describe, who_answers

MEGABAUD = 1_000_000


def scan(ids: Iterable[int]) -> Scan:
    return Scan([FoundMotor(motor, xl320.MODEL, MEGABAUD) for motor in ids])


@pytest.mark.parametrize(
    ("seen", "missing", "sentence"),
    [
        (Scan(), range(1, 7), r"^no motor answered a scan\. Is the supply on, and are the cable"),
        (
            scan((1, 2)),
            (3, 4, 5, 6),
            r"^id 1 \(XL-320, 1000000 baud\) and id 2 \(XL-320, 1000000 baud\) answered a scan\. "
            "Is the cable between m2 and m3 plugged in",
        ),
        (
            Scan(scan((2, 4, 5, 6)).found, (MEGABAUD,), (1,)),
            (1,),
            "Two motors have the id 1: connect m3 alone and .* `ros2 run ergojr_driver set_id m3`$",
        ),
        (
            Scan(scan((1, 2)).found, (57_600,)),
            (3,),
            "Garbled answers come at 57600 baud, as from two motors with one id: connect m3 alone",
        ),
        (
            Scan([*scan((1, 2)).found, FoundMotor(3, xl320.MODEL, 57_600)]),
            (3,),
            "One motor talks at 57600 baud: connect m3 alone",
        ),
        (scan((1, 2, 4, 5, 6, 9)), (3,), "The motor with the id 9 may be m3: connect m3 alone"),
        (scan((1, 2, 4, 5, 6)), (3,), "m3 may have the id of another motor, or be broken"),
        (scan(range(1, 7)), (3,), "All of them answer now: is a plug loose"),
    ],
)
def test_each_picture_has_its_advice(seen: Scan, missing: Iterable[int], sentence: str) -> None:
    words = who_answers(seen, tuple(missing))
    assert re.search(sentence, words), words
    assert words[-1] != "."


def test_another_model_is_named() -> None:
    assert describe([FoundMotor(3, 12, MEGABAUD)]) == "id 3 (model 12, 1000000 baud)"
