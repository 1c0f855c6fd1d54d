"""The limiter's configuration, and the hard maxima that no configuration can exceed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

MAX_EFFORT = 0.16  # N m, 41 % of the XL-320's stall torque
MAX_SUSTAINED_EFFORT = 0.078  # N m, 20 % of stall
MAX_SPEED = 2.5  # rad/s
MAX_SPHERE_RADIUS = 0.235  # m around the axis of m2; the straight arm reaches 0.244 m


def _limit(doc: str, default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True)
class LimiterConfig:
    """Limits in SI units; `low` and `high` of each field are hard.

    Raises:
        ValueError: if a value is outside its bounds or not finite.
    """

    max_effort: float = _limit("Greatest effort of a joint, in N m.", MAX_EFFORT, 0.0, MAX_EFFORT)
    sustained_effort: float = _limit(
        "Greatest mean effort of a joint over sustained_seconds, in N m.",
        MAX_SUSTAINED_EFFORT,
        0.0,
        MAX_SUSTAINED_EFFORT,
    )
    sustained_seconds: float = _limit("Time constant of the mean effort, in s.", 30.0, 0.1, 30.0)
    max_speed: float = _limit("Greatest joint speed, in rad/s.", MAX_SPEED, 0.01, MAX_SPEED)
    range_margin: float = _limit(
        "Distance kept from the ends of each joint's range, in rad.", 0.02, 0.0, 1.0
    )
    floor_clearance: float = _limit(
        "Height that every critical point keeps over table and base, in m.", 0.004, 0.0, 0.05
    )
    sphere_radius: float = _limit(
        "Greatest distance of the tip from the axis of m2, in m.",
        MAX_SPHERE_RADIUS,
        0.10,
        MAX_SPHERE_RADIUS,
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            low, high = item.metadata["low"], item.metadata["high"]
            if not low <= value <= high:
                raise ValueError(
                    f"limiter: {item.name} is {value}, expected {low} to {high}; "
                    "a limit can be tightened, not widened"
                )
