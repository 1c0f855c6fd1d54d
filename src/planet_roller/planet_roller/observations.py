"""From what a robot's topics bring to observations, across threads.

Messages come from the executor's threads, observations are taken by the control loop. How the one
becomes the other, :mod:`planet_roller.joining` says; rewards of real time are joined by stamp when
the episode is stored.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_core.episode_format import image_shape
from planet_core.robot_spec import RobotSpec
from planet_roller.fitting import fit_image
from planet_roller.joining import Frame, Heard, Source, make_join, newer
from planet_roller.robot import (
    ANY,
    JointSample,
    RewardSample,
    RobotError,
    Snapshot,
    StoppedError,
    Wanted,
)

# Bounds of what is kept: images of a camera, and joint states and rewards between two drains.
_IMAGES = 8
_SAMPLES = 1024
# Joint states to choose an image's from: an image may come late, and joint states are many.
_JOINTS = 64

OnFault = Callable[[Source, "str | None"], None]
"""Told once when a source becomes faulty (a sentence) and once when it is well again (None)."""


class Assembler:
    """Thread-safe and of bounded size. Newest wins: an image older than its camera's last is lost.

    `on_fault` is called without a lock held, from whichever thread found out.
    """

    def __init__(self, spec: RobotSpec, clock: Clock, on_fault: OnFault) -> None:
        self._spec = spec
        self._clock = clock
        self._on_fault = on_fault
        self._join = make_join(spec)
        self._condition = threading.Condition()
        self._leading = (*spec.cameras, "joint_states")[0]  # the source that is joined to others
        self._heard = Heard(
            frames={source: deque(maxlen=_IMAGES) for source in spec.cameras or [self._leading]},
            joints=deque(maxlen=_JOINTS),
            rewards=deque(maxlen=_IMAGES),
        )
        self._joints: deque[JointSample] = deque(maxlen=_SAMPLES)
        self._rewards: deque[RewardSample] = deque(maxlen=_SAMPLES)
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
            self._put_frame(camera, Frame(stamp, fitted, arrival, age))
            self._wake()
        self._set_fault(camera, None)

    def _put_frame(self, source: Source, frame: Frame) -> None:
        frames = self._heard.frames[source]
        if not frames or frame.stamp > frames[-1].stamp:
            frames.append(frame)
        elif frame.stamp == self._taken and source == self._leading:
            self._repeated = True

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
            self._heard.joints.append(sample)
            if not self._spec.cameras:
                nothing = np.zeros(image_shape(()), np.uint8)
                self._put_frame("joint_states", Frame(stamp, nothing, self._joints_heard, 0.0))
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
            self._heard.rewards.append(sample)
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
            for samples in self._samples():
                samples.clear()
            self._bad_joints = None
            self._interruption = None
            self._taken = None
            self._repeated = False
            self._joints_heard = self._clock.now()

    def begin(self, first_stamp: int) -> None:
        """Forget what is older than an episode's `first_stamp`, ns, after its reset."""
        with self._condition:
            for samples in self._samples():
                kept = [sample for sample in samples if sample.stamp >= first_stamp]
                samples.clear()
                samples.extend(kept)
            self._joints_heard = self._clock.now()

    def _samples(self) -> Iterator[deque[Any]]:
        """All that is held."""
        yield from self._heard.frames.values()
        yield from (self._heard.joints, self._heard.rewards, self._joints, self._rewards)

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Snapshot:
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
                    missing = self._missing(after, wanted, timeout)
                    break
                self._clock.wait(self._condition, deadline - now)
        for source, sentence in missing.items():
            self._set_fault(source, sentence)
        raise RobotError("; ".join(missing.values()))

    def newer(self, after: int, until: float) -> Snapshot | None:
        """See :meth:`planet_roller.robot.Robot.newer`; StoppedError after :meth:`close`."""
        with self._condition:
            self._awaited = lambda: self._find(after, ANY) is not None
            while True:
                if self._closed:
                    raise StoppedError
                self._raise_interruption()
                found = self._find(after, ANY)
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
            self._awaited = lambda: newer(self._heard.rewards, stamp - 1)
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

    def _find(self, after: int, wanted: Wanted) -> Snapshot | None:
        return self._join.find(self._heard, after, wanted, self._repeated)

    def _missing(self, after: int, wanted: Wanted, timeout: float) -> dict[Source, str]:
        """What keeps the next observation from being complete: source -> sentence."""
        lasted = f"for {timeout:.1f} s"
        silent = bool(self._spec.state_names) and self._clock.now() - self._joints_heard >= timeout
        missing = {}
        for source in self._join.missing(self._heard, after, wanted, silent):
            what = f"image on {source}" if source in self._spec.cameras else source
            missing[source] = self._faults.get(source, f"no {what} {lasted}")
        if missing:
            return missing
        newest = {camera: frames[-1].stamp for camera, frames in self._heard.frames.items()}
        apart = (max(newest.values()) - min(newest.values())) / 1e6
        late = min(newest, key=lambda camera: newest[camera])
        return {
            late: f"no images of {' and '.join(newest)} {self._join.limit} {lasted}: the newest "
            f"are {apart:g} ms apart"
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
