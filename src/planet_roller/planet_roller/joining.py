"""How what a robot's topics bring becomes observations: by equal stamps, or by near ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from planet_core.robot_spec import RobotSpec
from planet_roller.robot import JOINT_TOLERANCE, JointSample, RewardSample, Snapshot, Wanted

Source = str
"""A camera's name, "joint_states" or "reward"."""


@dataclass(frozen=True)
class Frame:
    """One image, as it came."""

    stamp: int
    """Time of capture, ns."""
    image: npt.NDArray[np.uint8]
    """uint8 [64, 64, 3]; [64, 0, 3] of a robot without cameras."""
    arrival: float
    """s on the steady clock."""
    age: float
    """How old it was when it came, s."""


Sample = TypeVar("Sample", Frame, JointSample, RewardSample)


@dataclass(frozen=True)
class Heard:
    """The last that came, oldest first."""

    frames: dict[Source, deque[Frame]]
    """Of each camera. Without one, an empty image comes with each joint state."""
    joints: deque[JointSample]
    rewards: deque[RewardSample]


class Join(Protocol):
    """Makes observations of what was heard."""

    limit: str
    """How close in time the images of an observation are."""

    def find(self, heard: Heard, after: int, wanted: Wanted, repeated: bool) -> Snapshot | None:
        """Return the observation that is wanted, with a stamp greater than `after` (ns), if any.

        Args:
            repeated: the robot has sent the observation of `after` once more.
        """

    def missing(self, heard: Heard, after: int, wanted: Wanted, silent: bool) -> list[Source]:
        """Return what has brought nothing after `after`; `silent`: no joint states come."""


class ExactJoin:
    """In lockstep: all parts have the very same stamp, those of the reward included."""

    limit = "with the same stamp"

    def __init__(self, spec: RobotSpec) -> None:
        self._joints = bool(spec.state_names)

    def find(self, heard: Heard, after: int, wanted: Wanted, repeated: bool) -> Snapshot | None:
        """See :class:`Join`; the one of `after` itself, once it was repeated."""
        first = next(iter(heard.frames.values()))
        for frame in reversed(first):
            stamp = frame.stamp
            if stamp < after or (stamp == after and not repeated):
                return None
            frames = [_at(frames, stamp) for frames in heard.frames.values()]
            verdict = _at(heard.rewards, stamp)
            joints = _at(heard.joints, stamp)
            # A repeated observation may be an episode's first, which has no reward.
            judged = verdict is not None or not wanted.reward or stamp == after
            complete = (joints is not None or not self._joints) and judged
            if complete and all(frames):
                return _snapshot([f for f in frames if f is not None], verdict, joints)
        return None

    def missing(self, heard: Heard, after: int, wanted: Wanted, silent: bool) -> list[Source]:
        """See :class:`Join`."""
        missing = _blind(heard, after)
        if self._joints and not newer(heard.joints, after):
            missing.append("joint_states")
        if wanted.reward and not newer(heard.rewards, after):
            missing.append("reward")
        return missing


class NearestJoin:
    """In real time: images within half a control period, with the joint states nearest to them."""

    def __init__(self, spec: RobotSpec) -> None:
        self._joints = bool(spec.state_names)
        self._max_skew = int(spec.control_period / 2 * 1e9)
        self._joint_tolerance = int(JOINT_TOLERANCE * spec.control_period * 1e9)
        self.limit = f"within {self._max_skew / 1e6:g} ms"

    def find(self, heard: Heard, after: int, wanted: Wanted, repeated: bool) -> Snapshot | None:
        """See :class:`Join`; the others' nearest are taken to each image of the first camera."""
        if after < 0 and self._joints and not heard.joints:
            return None  # an episode does not begin without joint states
        first, *others = heard.frames.values()
        for frame in first if wanted.oldest else reversed(first):
            chosen = [frame]
            for frames in others:
                if not frames:
                    return None
                chosen.append(min(frames, key=lambda other: abs(other.stamp - frame.stamp)))
            stamps = [f.stamp for f in chosen]
            if max(stamps) - min(stamps) <= self._max_skew and max(stamps) > after:
                return _snapshot(chosen, None, self._joints_near(heard.joints, max(stamps)))
        return None

    def missing(self, heard: Heard, after: int, wanted: Wanted, silent: bool) -> list[Source]:
        """See :class:`Join`; rewards are joined when the episode is stored."""
        return _blind(heard, after) + ["joint_states"] * silent

    def _joints_near(self, joints: Iterable[JointSample], stamp: int) -> JointSample | None:
        """The joint states nearest to `stamp` among those that have come, if any are near."""
        nearest = min(joints, key=lambda j: abs(j.stamp - stamp), default=None)
        if nearest is None or abs(nearest.stamp - stamp) > self._joint_tolerance:
            return None
        return nearest


def make_join(spec: RobotSpec) -> Join:
    """Return the robot's way to join."""
    return ExactJoin(spec) if spec.lockstep else NearestJoin(spec)


def newer(samples: Iterable[Sample], after: int) -> bool:
    """Whether any sample has a stamp greater than `after`, ns."""
    return any(sample.stamp > after for sample in samples)


def _blind(heard: Heard, after: int) -> list[Source]:
    """The cameras without an image after `after`."""
    return [camera for camera, frames in heard.frames.items() if not newer(frames, after)]


def _at(samples: deque[Sample], stamp: int) -> Sample | None:
    """The sample with this stamp, or None."""
    return next((sample for sample in reversed(samples) if sample.stamp == stamp), None)


def _snapshot(
    frames: list[Frame], reward: RewardSample | None, joints: JointSample | None
) -> Snapshot:
    newest = max(frames, key=lambda frame: frame.stamp)
    images = frames[0].image if len(frames) == 1 else np.hstack([f.image for f in frames])
    return Snapshot(
        stamp=newest.stamp,
        oldest=min(frame.stamp for frame in frames),
        images=images,
        arrival=max(frame.arrival for frame in frames),
        age=newest.age,
        reward=reward,
        joints=joints,
    )
