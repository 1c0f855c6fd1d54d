"""What the driver says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

POWERED = ("resetting", "ready", "driving", "holding")


class DriverError(Exception):
    """Something asked for cannot be done; one sentence."""


@dataclass(frozen=True)
class Status:
    """What DriverStatus says; `stamp` (ns) is when its cause was found."""

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
