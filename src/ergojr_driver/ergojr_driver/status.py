"""The driver's status."""

from __future__ import annotations

from dataclasses import dataclass, field

POWERED = ("resetting", "ready", "driving", "holding")


class DriverError(Exception):
    """The driver cannot do what was requested; one sentence."""


@dataclass(frozen=True)
class Status:
    """The driver's status, with the fields of planet_msgs/DriverStatus.

    Attributes:
        state: the driver's state.
        torque: whether a motor may have torque.
        cause: why the driver is in this state; may be empty.
        stamp: when the cause was found, in ns.
    """

    state: str
    torque: bool
    cause: str
    stamp: int = field(default=0, compare=False)

    @property
    def powered(self) -> bool:
        """Whether the driver holds or moves the arm."""
        return self.state in POWERED

    @property
    def active(self) -> bool:
        """Whether the driver may move the arm, or would if the arm were not compliant."""
        return self.powered or self.state == "compliant"
