"""A motor gets its id: on virtual servos, at any baud rate."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ergojr_description import xl320
from ergojr_driver.bus import FoundMotor, PortError, Scan
from ergojr_driver.set_id import SetIdError, find_motor, give

FRESH = FoundMotor(1, xl320.MODEL, 1_000_000)


def connect(wire: Any, *ids: int, baud_rate: int = 1_000_000) -> None:
    """Only motors with these ids are on the bus."""
    del wire.servos[len(ids) :]
    wire.bus.connect(wire.servos)
    for servo, motor in zip(wire.servos, ids, strict=True):
        servo.write(xl320.BAUD_RATE_CODE.address, bytes([xl320.BAUD_RATES.index(baud_rate)]))
        servo.write(xl320.ID.address, bytes([motor]))


def run(wire: Any, motor: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from ergojr_driver.set_id import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, motor, "--port", wire.port],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )


@pytest.mark.parametrize("baud_rate", xl320.BAUD_RATES)
def test_a_motor_gets_id_and_baud_rate_and_has_no_torque(wire: Any, baud_rate: int) -> None:
    connect(wire, 9, baud_rate=baud_rate)
    wire.servos[0].write(xl320.TORQUE_ENABLE.address, b"\1")
    give(wire.port, FoundMotor(9, xl320.MODEL, baud_rate), 4)
    (servo,) = wire.servos
    assert (servo.motor, servo.baud_rate, servo.get(xl320.TORQUE_ENABLE)) == (4, 1_000_000, 0)


def test_the_tool_finds_a_fresh_motor_and_says_what_it_did(wire: Any) -> None:
    connect(wire, 1, baud_rate=57_600)
    done = run(wire, "m3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"m3 on {wire.port}: id 1 (XL-320, 57600 baud) is id 3 at 1 Mbaud now.\n"
    )
    assert wire.servos[0].motor == 3


def test_the_tool_changes_nothing_where_several_motors_are_connected(wire: Any) -> None:
    done = run(wire, "m3")
    assert done.returncode == 1
    assert "and id 6 (XL-320, 1000000 baud) are connected: connect m3 alone" in done.stderr
    assert [servo.motor for servo in wire.servos] == [1, 2, 3, 4, 5, 6]


def test_two_fresh_motors_are_told_from_one(wire: Any) -> None:
    connect(wire, 1, 1)
    with pytest.raises(SetIdError, match=r"garbled answers come on .*: connect m3 alone"):
        find_motor("m3", [wire.port])


def test_a_motor_that_does_not_do_it_is_told(wire: Any) -> None:
    connect(wire, 1)
    with pytest.raises(SetIdError, match="the motor does not answer as id 4 at 1000000 baud"):
        give(wire.port, FoundMotor(2, xl320.MODEL, 1_000_000), 4)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (Scan(), r"^no motor answers on a: is the supply on, and m2 plugged in\?$"),
        (
            Scan([FRESH, FoundMotor(2, xl320.MODEL, 57_600)]),
            "57600 baud. are connected: connect m2",
        ),
        (
            Scan([FoundMotor(1, 12, 1_000_000)]),
            r"id 1 \(model 12, 1000000 baud\) is connected, expected",
        ),
    ],
)
def test_what_is_not_one_xl320_is_one_sentence(seen: Scan, sentence: str) -> None:
    with pytest.raises(SetIdError, match=sentence):
        find_motor("m2", ["a"], lambda port: seen)


def test_each_port_is_tried() -> None:
    def scan(port: str) -> Scan:
        if port == "a":
            raise PortError("port a is taken")
        return Scan([FRESH] if port == "c" else [])

    assert find_motor("m2", ["a", "b", "c"], scan) == ("c", FRESH)
    with pytest.raises(SetIdError, match=r"^port a is taken; no motor answers on b: is"):
        find_motor("m2", ["a", "b"], scan)
