"""What the control loop needs of a way to hold an action for the ticks of a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from planet_core.method import Action, TimeLeft
from planet_roller.policy import Policy
from planet_roller.recorder import Recorder
from planet_roller.robot import Snapshot


@dataclass(frozen=True)
class Decision:
    """An action that was chosen, and on what."""

    policy: Policy
    action: Action
    snapshot: Snapshot
    recorder: Recorder
    origin: float
    """Of the episode's ticks, s on the steady clock."""
    tick: int
    """At which the decision began, counted from the origin."""


@dataclass(frozen=True)
class Held:
    """What came of holding one decision's action."""

    snapshot: Snapshot | None
    """What is seen after it; None: the episode had ended before the decision."""
    ticks: int
    """Between this snapshot and the one before."""
    missed: int
    latency: float
    """From the last image to the command, s."""
    tick: int
    """Of the next decision."""
    ended: bool


class Hold(Protocol):
    """A way to hold actions."""

    @property
    def decision_time(self) -> float | None:
        """What a decision lasts on the steady clock, s; None when the robot waits for each."""

    def first(self) -> Snapshot:
        """Return what is seen first after a reset. Raises RobotError."""

    def time_left(self, origin: float, tick: int) -> TimeLeft | None:
        """Return what tells how long the decision that began at `tick` still lasts."""

    def hold(self, decision: Decision) -> Held:
        """Send the action for each tick of the decision, then look again. Raises RobotError."""

    def last(self, recorder: Recorder) -> None:
        """Record what an episode that has ended still sends."""
