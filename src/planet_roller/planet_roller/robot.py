"""What the control loop needs of a robot; a simulator and a real one are the same to it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

JOINT_TOLERANCE = 2.0
"""Control periods between an image and the joint states that belong to it, at most."""


class RobotError(Exception):
    """The robot does not do its part; one sentence says what is missing. The episode is lost."""


class StoppedError(Exception):
    """The roller is asked to stop."""


@dataclass(frozen=True)
class RobotSpec:
    """What the robot is. Raises ValueError, one sentence, for one that cannot be controlled."""

    name: str
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    """Lowest action per action name, in the robot's units."""
    action_high: tuple[float, ...]
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    control_period: float
    """One tick, s (simulated seconds in a simulator)."""
    max_steps: int
    """Length of an episode, ticks."""
    real_time_factor: float
    """Simulated seconds per second; 0 = lockstep: the robot waits for each command."""

    def __post_init__(self) -> None:
        where = f"robot_spec of '{self.name}'"
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", self.name):
            raise ValueError(f"{where}: the name must be 1 to 64 of [A-Za-z0-9._-]")
        for what, names in (("action_names", self.action_names), ("cameras", self.cameras)):
            if not names:
                raise ValueError(f"{where}: {what} is empty")
        for what in ("action_names", "cameras", "state_names"):
            names = getattr(self, what)
            if len(set(names)) != len(names):
                raise ValueError(f"{where}: {what} names something twice: {', '.join(names)}")
        if not len(self.action_low) == len(self.action_high) == len(self.action_names):
            raise ValueError(
                f"{where}: {len(self.action_low)} action_low and {len(self.action_high)} "
                f"action_high for {len(self.action_names)} action_names"
            )
        limits = np.array([self.action_low, self.action_high])
        if not np.isfinite(limits).all() or (limits[0] >= limits[1]).any():
            raise ValueError(f"{where}: action_low must be finite and less than action_high")
        if not (np.isfinite(self.control_period) and self.control_period > 0.0):
            raise ValueError(f"{where}: control_period is {self.control_period} s, not positive")
        if self.max_steps < 1:
            raise ValueError(f"{where}: max_steps is {self.max_steps}, expected at least 1 tick")
        if not (np.isfinite(self.real_time_factor) and self.real_time_factor >= 0.0):
            raise ValueError(f"{where}: real_time_factor is {self.real_time_factor}, negative")

    @property
    def action_size(self) -> int:
        """A, the number of values in an action."""
        return len(self.action_names)

    @property
    def lockstep(self) -> bool:
        """Whether the robot waits for each command."""
        return self.real_time_factor == 0.0

    @property
    def tick(self) -> float:
        """One control period on the steady clock, s; meaningless in lockstep."""
        return self.control_period / self.real_time_factor

    def scale(self, action: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The action, [A] in [-1, 1], in the robot's units: -1 is its low, +1 its high."""
        low, high = np.asarray(self.action_low), np.asarray(self.action_high)
        return np.asarray(low + (action.astype(np.float64) + 1.0) / 2.0 * (high - low))


@dataclass(frozen=True)
class JointSample:
    """The joints at one time, in the order of the spec's state_names."""

    stamp: int
    """ns"""
    position: npt.NDArray[np.float32]
    """rad, [J]"""
    velocity: npt.NDArray[np.float32]
    """rad/s, [J]"""
    effort: npt.NDArray[np.float32]
    """N m, [J]"""


@dataclass(frozen=True)
class RewardSample:
    """The task's verdict on one tick."""

    stamp: int
    """That of the observation it belongs to, ns."""
    reward: float
    valid: bool
    terminated: bool
    truncated: bool
    touched: bool

    @property
    def last(self) -> bool:
        """Whether the episode ends here."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Observation:
    """One image of each camera, taken together; in lockstep with the reward of its stamp."""

    stamp: int
    """Time of capture of the newest of the images, ns."""
    oldest: int
    """Time of capture of the oldest of the images, ns."""
    images: npt.NDArray[np.uint8]
    """uint8 [64, 64 N, 3] RGB, the N cameras side by side in the spec's order."""
    arrival: float
    """When the last of the images came, s on the steady clock."""
    age: float
    """How old the newest image was when it came, s."""
    reward: RewardSample | None = None
    joints: JointSample | None = None
    """Of the same stamp or, in real time, the nearest to it that had come; None without any."""

    @property
    def state(self) -> npt.NDArray[np.float32] | None:
        """Joint positions (rad) | velocities (rad/s), [2 J]; None without joint states."""
        if self.joints is None:
            return None
        return np.concatenate([self.joints.position, self.joints.velocity])


@dataclass(frozen=True)
class Wanted:
    """Which observation is wanted of those there are."""

    reward: bool = False
    """In lockstep: wait for its reward as well."""
    oldest: bool = False
    """In real time: the oldest, not the newest."""
    expected: int = 0
    """In real time: one of this stamp, ns, or later is about to come and worth waiting for..."""
    grace: float = 0.0
    """... for this time, s; after that an older one will do."""


ANY = Wanted()
"""The newest."""


class Robot(Protocol):
    """A robot as the control loop sees it. All methods are called from the loop's thread only."""

    @property
    def spec(self) -> RobotSpec: ...

    def reset(self, seed: int, evaluation: bool) -> None:
        """Begin an episode; what was observed before it is forgotten.

        Raises RobotError when the robot refuses or does not answer in time.
        """

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Observation:
        """The newest observation with a stamp greater than `after` (None: any).

        In lockstep, returns the observation of `after` itself again when the robot repeats it: it
        has not got its command. Raises RobotError, naming what is missing, after `timeout` seconds
        on the steady clock.
        """

    def newer(self, after: int, until: float) -> Observation | None:
        """In real time: the newest observation with a stamp greater than `after`, once there is
        one; None if there is none `until` this time on the steady clock.
        """

    def command(self, effort: npt.NDArray[np.float64], stamp: int) -> None:
        """Send a command, [A] in the robot's units; all images up to `stamp`, ns, were seen."""

    def drain(self) -> tuple[list[JointSample], list[RewardSample]]:
        """The joint states and the rewards that came since the last call, in this episode.

        Raises RobotError when the robot has started anew in the meantime.
        """

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        """Wait until a reward of `stamp` or later has come; false after `timeout` seconds."""


class Clock(Protocol):
    """The steady clock, and waiting by it; tests have one of their own."""

    def now(self) -> float:
        """Seconds since some fixed time, never going back."""

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """Wait for a notification of `condition`, which the caller holds, or `timeout` seconds."""


class SteadyClock:
    """time.monotonic."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        condition.wait(max(0.0, timeout))
