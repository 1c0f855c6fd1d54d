"""What a scan of the bus says about motors that do not answer, in words for who mends it."""

from __future__ import annotations

from collections.abc import Sequence

from ergojr_description import xl320
from ergojr_driver.bus import FoundMotor, Scan
from ergojr_driver.servo import MOTORS


def who_answers(scan: Scan, missing: Sequence[int]) -> str:
    """Who is there, what that suggests, and what to do: sentences without the last full stop.

    Args:
        missing: ids of the motors that do not answer, at least one.
    """
    there = f"{describe(scan.found)} answered a scan" if scan.found else "no motor answered a scan"
    first = min(missing)
    advice = _twins(scan, first) or _strangers(scan.found, first) or _cable(scan.found, missing)
    return f"{there}. {advice}"


def describe(found: Sequence[FoundMotor]) -> str:
    """E.g. 'id 1 (XL-320, 1000000 baud) and id 7 (model 12, 57600 baud)'."""
    words = [f"id {m.id} ({_model(m.model)}, {m.baud_rate} baud)" for m in found]
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _twins(scan: Scan, first: int) -> str:
    """Advice where two motors with one id garble each other's answers."""
    heard = {motor.id for motor in scan.found}
    absent = [motor for motor in MOTORS if motor not in heard and motor not in scan.doubled]
    first = min(absent, default=first)  # one of the twins is that one
    if scan.doubled:
        ids = " and ".join(str(motor) for motor in scan.doubled)
        return f"Two motors have the id {ids}: {_set_id(first)}"
    if scan.garbled:
        rates = " and ".join(str(rate) for rate in scan.garbled)
        come = f"Garbled answers come at {rates} baud"
        return f"{come}, as from two motors with one id: {_set_id(first)}"
    return ""


def _strangers(found: Sequence[FoundMotor], first: int) -> str:
    """Advice where a motor is as no motor of the arm should be."""
    for motor in found:
        if motor.baud_rate != xl320.BAUD_RATE:
            return f"One motor talks at {motor.baud_rate} baud: {_set_id(first)}"
        if motor.id not in MOTORS:
            return f"The motor with the id {motor.id} may be m{first}: {_set_id(first)}"
    return ""


def _cable(found: Sequence[FoundMotor], missing: Sequence[int]) -> str:
    """Advice where all who answer are as they should be."""
    first, answering = min(missing), {motor.id for motor in found}
    if not answering:
        return "Is the supply on, and are the cable of the base and the adapter plugged in?"
    if answering.issuperset(missing):
        return "All of them answer now: is a plug loose?"
    if first < max(answering):  # the cable is good as far as there
        return f"m{first} may have the id of another motor, or be broken: {_set_id(first)}"
    return f"Is the cable between m{first - 1} and m{first} plugged in? If it is, {_set_id(first)}"


def _set_id(motor: int) -> str:
    return (
        f"connect m{motor} alone and give it its id with `ros2 run ergojr_driver set_id m{motor}`"
    )


def _model(model: int) -> str:
    return "XL-320" if model == xl320.MODEL else f"model {model}"
