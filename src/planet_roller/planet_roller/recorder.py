"""From what happened to an episode: the join of rewards and joint states by stamp.

Row t of an episode holds (o_t, a_{t-1}, r_t); r_t is the reward of the decision's ticks: their
number times the mean of the valid rewards whose stamps lie in (stamp of o_{t-1}, stamp of o_t].
That is their sum where there is one of each tick, as in a simulator. Cameras have a rhythm of their
own (30 images in 20 ticks); then it is the same to the scale. It is valid where there are at least
as many valid rewards as ticks.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from planet_core.episode import Episode
from planet_core.robot_spec import RobotSpec
from planet_roller.robot import JOINT_TOLERANCE, JointSample, Observation, RewardSample, RobotError


@dataclass(frozen=True)
class Verdict:
    """What the rewards say of one decision."""

    reward: float
    """Of all the ticks; 0 when not valid."""
    valid: bool
    """False when fewer rewards were measured than there were ticks."""
    terminated: bool
    truncated: bool
    touched: bool


@dataclass(frozen=True)
class _Row:
    stamp: int
    images: npt.NDArray[np.uint8]
    joints: JointSample | None  # what the policy saw
    action: npt.NDArray[np.float32]
    ticks: int
    missed: int


class Recorder:
    """Records one episode, from its first observation to its last."""

    def __init__(self, spec: RobotSpec, first: Observation) -> None:
        """`first` is o_0, the observation that the first decision is made on."""
        self._spec = spec
        none = np.zeros(spec.action_size, np.float32)
        self._rows = [_Row(first.stamp, first.images, first.joints, none, 0, 0)]
        self._rewards: list[RewardSample] = []
        self._joints: dict[int, JointSample] = {}

    @property
    def steps(self) -> int:
        """Decisions recorded."""
        return len(self._rows) - 1

    @property
    def stamp(self) -> int:
        """That of the last observation recorded, ns."""
        return self._rows[-1].stamp

    def signals(self, joints: Iterable[JointSample], rewards: Iterable[RewardSample]) -> None:
        """Take what the robot has sent besides images; the same stamp twice counts once."""
        for joint in joints:
            self._joints[joint.stamp] = joint
        for reward in rewards:
            place = bisect_left(self._rewards, reward.stamp, key=_stamp)
            known = place < len(self._rewards) and self._rewards[place].stamp == reward.stamp
            if reward.stamp > self._rows[0].stamp and not known:
                insort(self._rewards, reward, key=_stamp)

    def step(
        self, observation: Observation, action: npt.NDArray[np.float32], ticks: int, missed: int
    ) -> None:
        """Record a decision: the action, [A] in [-1, 1], and the observation it led to.

        `ticks` is how many ticks it lasted, of which `missed` passed without a command.
        """
        o = observation
        self._rows.append(_Row(o.stamp, o.images, o.joints, action, ticks, missed))

    def end(self) -> RewardSample | None:
        """The reward that ends the episode, if it has come."""
        return next((sample for sample in self._rewards if sample.last), None)

    def verdict(self, back: int = 0) -> Verdict:
        """What has come so far of the last decision's rewards, or of one `back` decisions ago.

        In real time the last decision's rewards may still be on their way.
        """
        return self._verdict(max(1, len(self._rows) - 1 - back), self.end())

    def build(self, *, id_: str, policy: str, weights_version: int, metadata: Any) -> Episode:
        """The episode; what was recorded after its end is cut off.

        It is truncated when no reward says how it ended. Raises RobotError when the robot has
        ended it before the first decision, or when a row's joint states are missing.
        """
        end = self.end()
        if end is not None:
            reached = [i for i, row in enumerate(self._rows) if row.stamp >= end.stamp]
            del self._rows[reached[0] + 1 if reached else len(self._rows) :]
        rows = self._rows
        if len(rows) < 2:
            raise RobotError("the robot ended the episode before the first decision")
        verdicts = [self._verdict(i, end) for i in range(1, len(rows))]
        joints = [row.joints or self._joints_at(row.stamp) for row in rows]
        truncated = np.array([False] + [v.truncated for v in verdicts])
        truncated[-1] |= end is None
        return Episode(
            id=id_,
            robot=self._spec.name,
            policy=policy,
            weights_version=weights_version,
            images=np.stack([row.images for row in rows]),
            action=np.stack([row.action for row in rows]),
            reward=np.array([0.0] + [v.reward for v in verdicts], np.float32),
            reward_valid=np.array([False] + [v.valid for v in verdicts]),
            terminated=np.array([False] + [v.terminated for v in verdicts]),
            truncated=truncated,
            touched=np.array([False] + [v.touched for v in verdicts]),
            position=np.stack([joint.position for joint in joints]),
            velocity=np.stack([joint.velocity for joint in joints]),
            applied_effort=np.stack([joint.effort for joint in joints]),
            stamp=np.array([row.stamp for row in rows], np.int64),
            missed_ticks=np.array([row.missed for row in rows], np.uint16),
            metadata={
                "cameras": json.dumps(self._spec.cameras),
                "action_names": json.dumps(self._spec.action_names),
                "state_names": json.dumps(self._spec.state_names),
                "control_period": repr(self._spec.control_period),
                **metadata,
            },
        )

    def _verdict(self, index: int, end: RewardSample | None) -> Verdict:
        before, row = self._rows[index - 1], self._rows[index]
        final = end is not None and end.stamp > before.stamp and index == len(self._rows) - 1
        until = row.stamp
        ticks = row.ticks
        if end is not None and (final or end.stamp <= row.stamp):
            # The robot ended the decision early (or its last image is older than its verdict).
            until = end.stamp
            lasted = (until - before.stamp) * 1e-9 / self._spec.control_period
            ticks = min(ticks, max(1, math.floor(lasted + 0.5)))
        low = bisect_right(self._rewards, before.stamp, key=_stamp)
        samples = self._rewards[low : bisect_right(self._rewards, until, key=_stamp)]
        measured = [sample.reward for sample in samples if sample.valid]
        ticks = max(1, ticks)
        valid = len(measured) >= ticks
        return Verdict(
            reward=ticks * sum(measured) / len(measured) if valid else 0.0,
            valid=valid,
            terminated=any(sample.terminated for sample in samples),
            truncated=any(sample.truncated for sample in samples),
            touched=any(sample.touched for sample in samples),
        )

    def _joints_at(self, stamp: int) -> JointSample:
        """The joint states nearest to `stamp`, for an observation that came without.

        Empty ones for a robot without joints.
        """
        if not self._spec.state_names:
            empty = np.zeros(0, np.float32)
            return JointSample(stamp, empty, empty, empty)
        exact = self._joints.get(stamp)
        if exact is not None:
            return exact
        tolerance = int(JOINT_TOLERANCE * self._spec.control_period * 1e9)
        nearest = min(self._joints, key=lambda other: abs(other - stamp), default=None)
        if nearest is None or abs(nearest - stamp) > tolerance:
            raise RobotError(f"no joint_states within {tolerance * 1e-6:g} ms of an observation")
        return self._joints[nearest]


def _stamp(sample: RewardSample) -> int:
    return sample.stamp
