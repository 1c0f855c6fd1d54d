"""Joining what a robot's topics bring into observations.

Messages come from the executor's threads, observations are taken by the control loop. In lockstep
an observation is complete when all its parts with the very same stamp are there. In real time it is
the newest set of images, one of each camera, taken within half a control period, with the joint
states nearest in time; rewards are joined by stamp when the episode is stored.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_core.episode import IMAGE_SIZE
from planet_core.robot_spec import RobotSpec
from planet_roller.robot import (
    ANY,
    JOINT_TOLERANCE,
    JointSample,
    Observation,
    RewardSample,
    RobotError,
    StoppedError,
    Wanted,
)

# Bounds of what is kept: images of a camera, and joint states and rewards between two drains.
_IMAGES = 8
_SAMPLES = 1024
# Joint states to choose an image's from: an image may come late, and joint states are many.
_JOINTS = 64

Source = str
"""A camera's name, "joint_states" or "reward"."""
OnFault = Callable[[Source, "str | None"], None]
"""Told once when a source becomes faulty (a sentence) and once when it is well again (None)."""


def fit_image(camera: str, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image, uint8 [height, width, 3], cut to its centre square and reduced to 64x64.

    The reduction averages areas. An image is never enlarged: raises ValueError for a smaller one.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{camera} sends {image.dtype} {image.shape}, expected RGB images")
    height, width = image.shape[:2]
    side = min(height, width)
    if side < IMAGE_SIZE:
        raise ValueError(
            f"{camera} sends {width}x{height} images, but at least {IMAGE_SIZE}x{IMAGE_SIZE} "
            "are needed"
        )
    if height == width == IMAGE_SIZE:
        return image
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == IMAGE_SIZE:
        return square
    reduced = cv2.resize(square, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8)


@dataclass(frozen=True)
class _Frame:
    stamp: int
    image: npt.NDArray[np.uint8]
    arrival: float
    age: float


_Sample = TypeVar("_Sample", _Frame, JointSample, RewardSample)


class Assembler:
    """Thread-safe and of bounded size. Newest wins: an image older than its camera's last is lost.

    `on_fault` is called without a lock held, from whichever thread found out.
    """

    def __init__(self, spec: RobotSpec, clock: Clock, on_fault: OnFault) -> None:
        self._spec = spec
        self._clock = clock
        self._on_fault = on_fault
        self._max_skew = int(spec.control_period / 2 * 1e9)
        self._joint_tolerance = int(JOINT_TOLERANCE * spec.control_period * 1e9)
        self._condition = threading.Condition()
        self._frames: dict[str, deque[_Frame]] = {
            camera: deque(maxlen=_IMAGES) for camera in spec.cameras
        }
        self._joints: deque[JointSample] = deque(maxlen=_SAMPLES)
        self._rewards: deque[RewardSample] = deque(maxlen=_SAMPLES)
        self._last_joints: deque[JointSample] = deque(maxlen=_JOINTS)
        self._last_rewards: deque[RewardSample] = deque(maxlen=_IMAGES)
        self._joints_heard = clock.now()
        self._bad_joints: str | None = None
        self._interruption: str | None = None
        self._taken: int | None = None
        self._repeated = False
        self._faults: dict[Source, str] = {}
        self._closed = False
        # What the loop waits for: it is woken when that is there, not for every part of it.
        self._awaited: Callable[[], bool] = lambda: False

    # What the topics bring.

    def put_image(
        self, camera: str, stamp: int, image: npt.NDArray[np.uint8], age: float = 0.0
    ) -> None:
        """A camera's image, uint8 [height, width, 3] RGB, `age` seconds old. Never raises."""
        arrival = self._clock.now()
        try:
            fitted = fit_image(camera, image)
        except ValueError as error:
            self.put_fault(camera, str(error))
            return
        with self._condition:
            frames = self._frames[camera]
            if not frames or stamp > frames[-1].stamp:
                frames.append(_Frame(stamp, fitted, arrival, age))
            elif stamp == self._taken and camera == self._spec.cameras[0]:
                self._repeated = True
            self._wake()
        self._set_fault(camera, None)

    def put_joints(
        self,
        stamp: int,
        names: Sequence[str],
        position: Sequence[float],
        velocity: Sequence[float],
        effort: Sequence[float],
    ) -> None:
        """Joint states (rad, rad/s, N m) in the order of `names`. Never raises."""
        try:
            sample = self._joint_sample(stamp, names, position, velocity, effort)
        except ValueError as error:
            with self._condition:
                self._bad_joints = str(error)
                self._condition.notify_all()
            self.put_fault("joint_states", str(error))
            return
        with self._condition:
            self._joints_heard = self._clock.now()
            self._bad_joints = None
            self._joints.append(sample)
            self._last_joints.append(sample)
            self._wake()
        self._set_fault("joint_states", None)

    def put_reward(self, sample: RewardSample) -> None:
        """A reward; one that is not finite counts as not valid."""
        if sample.valid and not np.isfinite(sample.reward):
            self.put_fault("reward", f"the reward is {sample.reward}, but said to be valid")
            sample = RewardSample(
                sample.stamp, 0.0, False, sample.terminated, sample.truncated, sample.touched
            )
        else:
            self._set_fault("reward", None)
        with self._condition:
            self._rewards.append(sample)
            self._last_rewards.append(sample)
            self._wake()

    def put_fault(self, source: Source, sentence: str) -> None:
        """A message of `source` that cannot be used."""
        self._set_fault(source, sentence)

    def interrupt(self, sentence: str) -> None:
        """Whatever has been observed since the last :meth:`clear` is no episode."""
        with self._condition:
            self._interruption = sentence
            self._condition.notify_all()

    # What the control loop takes.

    def clear(self) -> None:
        """Forget everything, before a reset: the robot's time may begin anew with it."""
        with self._condition:
            for frames in self._frames.values():
                frames.clear()
            for samples in (self._joints, self._rewards, self._last_joints, self._last_rewards):
                samples.clear()
            self._bad_joints = None
            self._interruption = None
            self._taken = None
            self._repeated = False
            self._joints_heard = self._clock.now()

    def begin(self, first_stamp: int) -> None:
        """Forget what is older than an episode's `first_stamp`, ns, after its reset."""
        with self._condition:
            for frames in self._frames.values():
                while frames and frames[0].stamp < first_stamp:
                    frames.popleft()
            for name in ("_joints", "_rewards", "_last_joints", "_last_rewards"):
                old = getattr(self, name)
                kept = (sample for sample in old if sample.stamp >= first_stamp)
                setattr(self, name, deque(kept, maxlen=old.maxlen))
            self._joints_heard = self._clock.now()

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Observation:
        """See :meth:`planet_roller.robot.Robot.observe`; StoppedError after :meth:`close`."""
        after = -1 if after is None else after
        start = self._clock.now()
        deadline, patient_until = start + timeout, start + wanted.grace
        with self._condition:
            self._repeated = False
            self._awaited = lambda: self._find(after, wanted) is not None
            while True:
                if self._closed:
                    raise StoppedError
                self._raise_interruption()
                if self._bad_joints is not None:
                    raise RobotError(self._bad_joints)
                found = self._find(after, wanted)
                now = self._clock.now()
                if found is not None and found.stamp < wanted.expected and now < patient_until:
                    self._clock.wait(self._condition, patient_until - now)
                    continue
                silent = self._spec.state_names and now - self._joints_heard > timeout
                if found is not None and not silent:
                    self._taken = found.stamp
                    self._repeated = False
                    return found
                if now >= deadline or (found is not None and silent):
                    missing = self._missing(after, wanted.reward, timeout)
                    break
                self._clock.wait(self._condition, deadline - now)
        for source, sentence in missing.items():
            self._set_fault(source, sentence)
        raise RobotError("; ".join(missing.values()))

    def newer(self, after: int, until: float) -> Observation | None:
        """See :meth:`planet_roller.robot.Robot.newer`; StoppedError after :meth:`close`."""
        with self._condition:
            self._awaited = lambda: self._find_nearest(after, oldest=False) is not None
            while True:
                if self._closed:
                    raise StoppedError
                self._raise_interruption()
                found = self._find_nearest(after, oldest=False)
                remaining = until - self._clock.now()
                if found is not None or remaining <= 0.0:
                    return found
                self._clock.wait(self._condition, remaining)

    def drain(self) -> tuple[list[JointSample], list[RewardSample]]:
        """See :meth:`planet_roller.robot.Robot.drain`."""
        with self._condition:
            self._raise_interruption()
            drained = list(self._joints), list(self._rewards)
            self._joints.clear()
            self._rewards.clear()
            return drained

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        """See :meth:`planet_roller.robot.Robot.wait_reward`."""
        deadline = self._clock.now() + timeout
        with self._condition:
            self._awaited = lambda: _newer(self._last_rewards, stamp - 1)
            while not self._awaited():
                if self._closed:
                    raise StoppedError
                remaining = deadline - self._clock.now()
                if remaining <= 0.0:
                    return False
                self._clock.wait(self._condition, remaining)
            return True

    def close(self) -> None:
        """Wake whoever waits; nothing is observed any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _wake(self) -> None:
        if self._awaited():
            self._condition.notify_all()

    def _raise_interruption(self) -> None:
        if self._interruption is not None:
            raise RobotError(self._interruption)

    # The join.

    def _find(self, after: int, wanted: Wanted) -> Observation | None:
        if self._spec.lockstep:
            return self._find_exact(after, wanted.reward)
        if after < 0 and self._spec.state_names and not self._last_joints:
            return None  # an episode does not begin without joint states
        return self._find_nearest(after, wanted.oldest)

    def _find_exact(self, after: int, reward: bool) -> Observation | None:
        """The newest set with one and the same stamp: of images, joint states, and reward."""
        for frame in reversed(self._frames[self._spec.cameras[0]]):
            stamp = frame.stamp
            if stamp < after or (stamp == after and not self._repeated):
                return None
            frames = [_at(frames, stamp) for frames in self._frames.values()]
            verdict = _at(self._last_rewards, stamp)
            joints = _at(self._last_joints, stamp)
            # A repeated observation may be an episode's first, which has no reward.
            judged = verdict is not None or not reward or stamp == after
            complete = (joints is not None or not self._spec.state_names) and judged
            if complete and all(frames):
                return _observation([f for f in frames if f is not None], verdict, joints)
        return None

    def _find_nearest(self, after: int, oldest: bool) -> Observation | None:
        """The newest, or oldest, set of images within the greatest skew that is newer than `after`.

        Around each image of the first camera the others' nearest are taken.
        """
        first, *others = self._frames.values()
        for frame in first if oldest else reversed(first):
            chosen = [frame]
            for frames in others:
                if not frames:
                    return None
                chosen.append(min(frames, key=lambda other: abs(other.stamp - frame.stamp)))
            stamps = [f.stamp for f in chosen]
            if max(stamps) - min(stamps) <= self._max_skew and max(stamps) > after:
                return _observation(chosen, None, self._joints_near(max(stamps)))
        return None

    def _joints_near(self, stamp: int) -> JointSample | None:
        """The joint states nearest to `stamp` among those that have come, if any are near."""
        nearest = min(self._last_joints, key=lambda j: abs(j.stamp - stamp), default=None)
        if nearest is None or abs(nearest.stamp - stamp) > self._joint_tolerance:
            return None
        return nearest

    def _missing(self, after: int, reward: bool, timeout: float) -> dict[Source, str]:
        """What keeps the next observation from being complete: source -> sentence."""
        lasted = f"for {timeout:.1f} s"
        missing: dict[Source, str] = {}
        for camera, frames in self._frames.items():
            if not frames or frames[-1].stamp <= after:
                missing[camera] = self._faults.get(camera, f"no image on {camera} {lasted}")
        if self._spec.lockstep:
            if self._spec.state_names and not _newer(self._last_joints, after):
                missing["joint_states"] = f"no joint_states {lasted}"
            if reward and not _newer(self._last_rewards, after):
                missing["reward"] = f"no reward {lasted}"
        elif self._spec.state_names and self._clock.now() - self._joints_heard >= timeout:
            missing["joint_states"] = f"no joint_states {lasted}"
        if missing:
            return missing
        newest = {camera: frames[-1].stamp for camera, frames in self._frames.items()}
        apart = (max(newest.values()) - min(newest.values())) / 1e6
        limit = (
            "with the same stamp" if self._spec.lockstep else f"within {self._max_skew / 1e6:g} ms"
        )
        late = min(newest, key=lambda camera: newest[camera])
        return {
            late: f"no images of {' and '.join(newest)} {limit} {lasted}: the newest are "
            f"{apart:g} ms apart"
        }

    def _joint_sample(
        self,
        stamp: int,
        names: Sequence[str],
        position: Sequence[float],
        velocity: Sequence[float],
        effort: Sequence[float],
    ) -> JointSample:
        index = {name: i for i, name in enumerate(names)}
        absent = [name for name in self._spec.state_names if name not in index]
        if absent:
            raise ValueError(f"joint_states lacks {', '.join(absent)}")
        order = [index[name] for name in self._spec.state_names]
        arrays = []
        values = (("position", position), ("velocity", velocity), ("effort", effort))
        for what, sequence in values:
            if len(sequence) != len(names):
                raise ValueError(
                    f"joint_states has {len(sequence)} values of {what} for {len(names)} names"
                )
            array = np.asarray(sequence, dtype=np.float32)[order]
            if not np.isfinite(array).all():
                bad = self._spec.state_names[int(np.argmin(np.isfinite(array)))]
                raise ValueError(f"joint_states: the {what} of {bad} is not finite")
            arrays.append(array)
        return JointSample(stamp, *arrays)

    def _set_fault(self, source: Source, sentence: str | None) -> None:
        with self._condition:
            before = self._faults.get(source)
            if sentence is None:
                self._faults.pop(source, None)
            else:
                self._faults[source] = sentence
        if sentence != before:
            self._on_fault(source, sentence)


def _at(samples: deque[_Sample], stamp: int) -> _Sample | None:
    """The sample with this stamp, or None."""
    return next((sample for sample in reversed(samples) if sample.stamp == stamp), None)


def _newer(samples: deque[_Sample], after: int) -> bool:
    return any(sample.stamp > after for sample in samples)


def _observation(
    frames: list[_Frame], reward: RewardSample | None, joints: JointSample | None
) -> Observation:
    newest = max(frames, key=lambda frame: frame.stamp)
    images = frames[0].image if len(frames) == 1 else np.hstack([f.image for f in frames])
    return Observation(
        stamp=newest.stamp,
        oldest=min(frame.stamp for frame in frames),
        images=images,
        arrival=max(frame.arrival for frame in frames),
        age=newest.age,
        reward=reward,
        joints=joints,
    )
