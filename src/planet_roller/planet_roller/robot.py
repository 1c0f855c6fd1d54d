"""What the control loop needs of a robot; a simulator and a real one are the same to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from planet_core.robot_spec import RobotSpec

JOINT_TOLERANCE = 2.0
"""Control periods between an image and the joint states that belong to it, at most."""


class RobotError(Exception):
    """The robot does not do its part; one sentence says what is missing. The episode is lost."""


class StoppedError(Exception):
    """The roller is asked to stop."""


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
class Snapshot:
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
    def spec(self) -> RobotSpec:
        """What the robot is."""

    def reset(self, seed: int, evaluation: bool) -> None:
        """Begin an episode; what was observed before it is forgotten.

        Raises RobotError when the robot refuses or does not answer in time.
        """

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Snapshot:
        """The newest observation with a stamp greater than `after` (None: any).

        In lockstep, returns the observation of `after` itself again when the robot repeats it: it
        has not got its command. Raises RobotError, naming what is missing, after `timeout` seconds
        on the steady clock.
        """

    def newer(self, after: int, until: float) -> Snapshot | None:
        """In real time: the newest observation with a stamp greater than `after`.

        It waits for one `until` this time on the steady clock, then returns None.
        """

    def command(self, effort: npt.NDArray[np.float64], stamp: int) -> None:
        """Send a command, [A] in the robot's units; all images up to `stamp`, ns, were seen."""

    def drain(self) -> tuple[list[JointSample], list[RewardSample]]:
        """The joint states and the rewards that came since the last call, in this episode.

        Raises RobotError when the robot has started anew in the meantime.
        """

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        """Wait until a reward of `stamp` or later has come; false after `timeout` seconds."""
