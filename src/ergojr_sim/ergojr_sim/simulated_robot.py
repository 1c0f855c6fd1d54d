"""The simulated robot without ROS: its episodes, its pace and its watchdog.

A `SimulatedRobot` owns the environment and runs in one thread of its own (`run`). The other methods
may be called from any thread. They only leave a note for that thread, so the physics needs no lock.

In lockstep (`real_time_factor` 0) the world advances one tick when a command comes that has the
stamp of the current observation. Other commands are ignored and reported. The observation is
published again every 0.5 s. Between episodes nothing moves.

In real time, ticks follow the steady clock at intervals of a control period divided by
`real_time_factor`. The newest command is held. If none comes for 2.5 periods, the torque goes off.
Between episodes, and until an episode's first command, the arm holds the pose that it was reset to
or ended in.

Stamps are simulated time in ns. They grow by a control period per tick, also across resets. They
must grow across restarts as well, although simulated time runs faster than the wall clock in
lockstep. So the first stamp is `STAMP_RATE` times the time since `STAMP_EPOCH`: no stamp is used
twice as long as the simulation runs at less than `STAMP_RATE` times real time (400 ticks/s) on
average. (A stamp's seconds have 31 bits, so the count starts again every 3.4 years.)
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # not the builtin before 3.11
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ergojr_description import CONTROL_PERIOD
from ergojr_description.cameras import CAMERAS
from ergojr_description.kinematics import Array
from ergojr_sim.config import SimConfig
from ergojr_sim.environment import PokeEnvironment
from ergojr_sim.world import JointState
from planet_core.report import Level
from planet_core.robot import ResetResult

PERIOD_NS = round(CONTROL_PERIOD * 1e9)
REPUBLISH_SECONDS = 0.5
WATCHDOG_PERIODS = 2.5
STAMP_RATE = 20
STAMP_EPOCH = 1_767_225_600  # 2026-01-01, s of Unix time


@dataclass(frozen=True)
class TimeStep:
    """Everything that is published with one stamp.

    Attributes:
        stamp: ns.
        joints: the state of the joints `SimConfig.state_names`.
        images: uint8 [height, width, 3] RGB by camera.
        distance: m between the tip and the centre of the cube.
        valid: whether there is a reward; an episode's first observation has none, and neither have
            observations between episodes.
    """

    stamp: int
    joints: JointState
    images: dict[str, NDArray[np.uint8]]
    reward: float
    distance: float
    terminated: bool
    truncated: bool
    touched: bool
    valid: bool


_ENDED = ResetResult(False, "the simulation has ended")


@dataclass(frozen=True)
class _Command:
    stamp: int
    values: Array
    arrival: float


@dataclass(frozen=True)
class _Reset:
    seed: int
    answer: Future[ResetResult]


@dataclass(frozen=True)
class _Stop:
    on: bool


def start_stamp(wall_seconds: float) -> int:
    """Return the first stamp in ns of a robot that starts at this Unix time; see the module."""
    seconds = STAMP_RATE * (wall_seconds - STAMP_EPOCH) % (2**31 - 10**7)
    return int(seconds * 1000) * 1_000_000


class SimulatedRobot:
    """One simulated robot.

    Args:
        publish: called in the robot's thread with every time step.
        report: called with (part, level, sentence) when one of them changes.
        environment: the task; by default made from `config`.
        wall: Unix time, in s.
    """

    def __init__(
        self,
        config: SimConfig,
        publish: Callable[[TimeStep], None],
        report: Callable[[str, Level, str], None],
        environment: PokeEnvironment | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._publish = publish
        self._tell = report
        self._told: dict[str, tuple[Level, str]] = {}
        self._environment = environment or PokeEnvironment(
            config.control,
            tuple(CAMERAS),
            (config.image_size, config.image_size),
            config.max_steps,
        )
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Command | _Reset | _Stop | None] = queue.SimpleQueue()
        self._random = np.random.default_rng(None if config.seed < 0 else config.seed)
        self._lockstep = config.real_time_factor == 0.0
        self._period = 0.0 if self._lockstep else CONTROL_PERIOD / config.real_time_factor
        self._stamp = start_stamp(wall())
        self._command: _Command | None = None
        self._stopped = False
        self._running = False
        self._held: Array | None = None
        self._closed = threading.Event()
        seen, info = self._environment.reset(seed=self._next_seed())
        self._held = self._environment.world.joint_state().position
        self._observation = self._observed(seen, 0.0, info, False, False, valid=False)
        self._due = clock()

    # Called from any thread.

    def command(self, stamp: int, values: Array) -> None:
        """Take a command [4] in the environment's units, for the observation with `stamp` (ns)."""
        self._inbox.put(_Command(stamp, values, self._clock()))

    def reset(self, seed: int, timeout: float = 10.0) -> ResetResult:
        """Start an episode, and wait until the robot's thread has done so.

        Args:
            seed: the seed of the episode's start; -1 takes the robot's next one.
            timeout: s to wait at most.

        Returns:
            The result, which is not ok after `timeout` or `close`.
        """
        answer: Future[ResetResult] = Future()
        self._inbox.put(_Reset(seed, answer))
        if self._closed.is_set():  # checked after the put: `run` answers all that came before
            return _ENDED
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            return ResetResult(False, f"the simulation did not answer within {timeout:g} s")

    def emergency_stop(self, on: bool) -> None:
        """Latch the torque off, or release it."""
        self._inbox.put(_Stop(on))

    def close(self) -> None:
        """End `run`."""
        self._closed.set()
        self._inbox.put(None)  # wakes the thread up

    # Called in the robot's own thread.

    def run(self) -> None:
        """Serve until `close`; then free the physics."""
        try:
            while not self._closed.is_set():
                self.serve(max(self._due - self._clock(), 0.0))
        finally:
            self._closed.set()
            while not self._inbox.empty():
                note = self._inbox.get()
                if isinstance(note, _Reset):
                    note.answer.set_result(_ENDED)
            self._environment.close()

    def serve(self, timeout: float) -> None:
        """Take one note from the inbox, if one comes within `timeout` s, and do what is due."""
        try:
            note = self._inbox.get(timeout=timeout) if timeout > 0.0 else self._inbox.get_nowait()
        except queue.Empty:
            note = None
        if isinstance(note, _Command):
            self._on_command(note)
        elif isinstance(note, _Reset):
            self._on_reset(note)
        elif isinstance(note, _Stop):
            self._on_stop(note)
        if self._clock() >= self._due:
            self._on_due()

    def _on_command(self, command: _Command) -> None:
        age = self._stamp - command.stamp
        if not self._running:
            if self._lockstep:  # in real time the roller learns of an episode's end with a delay
                self._ignore("between episodes")
        elif self._lockstep and age != 0:
            self._ignore("that answers another observation than the current one")
        elif age > self._config.max_observation_age * 1e9:
            self._ignore("that answers an observation older than max_observation_age")
        elif age < 0:
            self._ignore("that answers a future observation")
        else:
            self._report("joint_command", "ok", "commands answer observations")
            if self._lockstep:
                self._step(command.values)
            else:
                self._command = command

    def _ignore(self, which: str) -> None:
        self._report("joint_command", "warn", f"a command {which} is ignored")

    def _on_reset(self, request: _Reset) -> None:
        if self._stopped:
            request.answer.set_result(ResetResult(False, "the emergency stop is latched"))
            return
        seed = self._next_seed() if request.seed < 0 else request.seed
        seen, info = self._environment.reset(seed=seed)
        self._held = self._environment.world.joint_state().position
        self._command = None
        self._running = True
        self._stamp += PERIOD_NS
        self._observation = self._observed(seen, 0.0, info, False, False, valid=False)
        request.answer.set_result(ResetResult(True, f"seed {seed}", self._stamp))
        self._send()

    def _on_stop(self, request: _Stop) -> None:
        self._stopped = request.on
        self._command = None
        if not request.on:
            self._held = self._environment.world.joint_state().position
        level: Level = "error" if request.on else "ok"
        self._report("emergency_stop", level, "latched: torque off" if request.on else "released")

    def _on_due(self) -> None:
        if self._lockstep:
            self._send()
            return
        now = self._clock()
        if now - self._due > self._period:
            # It is too late for this tick, and simulated time does not catch up.
            self._due = now
        self._due += self._period
        limit = WATCHDOG_PERIODS * self._period
        if self._command is not None and now - self._command.arrival > limit:
            self._command = None
            self._held = None
            self._report("watchdog", "warn", f"no command for {limit * 1e3:.0f} ms: torque off")
        if self._command is not None:
            self._report("watchdog", "ok", "commands come in time")
            self._held = None
            self._step(self._command.values)
        elif self._running and self._held is None:
            self._step(None)
        else:
            self._idle()

    def _step(self, values: Array | None) -> None:
        """Advance the episode by one tick under a command, or with the torque off (None)."""
        environment = self._environment
        seen, reward, terminated, truncated, info = environment.step(
            None if self._stopped else values
        )
        self._stamp += PERIOD_NS
        self._observation = self._observed(seen, reward, info, terminated, truncated, valid=True)
        if info["fault"]:
            self._report("limiter", "error", info["fault"])
        else:
            self._report("limiter", "ok", "keeps the arm within its limits")
        if terminated or truncated:
            self._running = False
            self._command = None
            self._held = environment.world.joint_state().position
        self._send()

    def _idle(self) -> None:
        """Advance in real time by one tick outside an episode, or before its first command."""
        if self._stopped or self._held is None:
            self._environment.world.tick(None)
        else:
            self._environment.world.hold(self._held)
        self._stamp += PERIOD_NS
        seen, info = self._environment.observe()
        self._observation = self._observed(seen, 0.0, info, False, False, valid=False)
        self._send()

    def _send(self) -> None:
        if self._lockstep:
            self._due = self._clock() + REPUBLISH_SECONDS
        self._publish(self._observation)

    def _observed(
        self,
        seen: dict[str, NDArray[Any]],
        reward: float,
        info: dict[str, Any],
        terminated: bool,
        truncated: bool,
        valid: bool,
    ) -> TimeStep:
        return TimeStep(
            stamp=self._stamp,
            joints=self._state(),
            images={name: seen[name] for name in self._environment.cameras},
            reward=reward,
            distance=info["distance"],
            terminated=terminated,
            truncated=truncated,
            touched=bool(info["touched"]),
            valid=valid,
        )

    def _state(self) -> JointState:
        arm = self._environment.world.joint_state()
        if not self._config.cube_in_state:
            return arm
        cube = self._environment.world.cube_state()
        return JointState(
            np.concatenate([arm.position, cube.position]),
            np.concatenate([arm.velocity, cube.velocity]),
            np.concatenate([arm.effort, cube.effort]),
        )

    def _report(self, part: str, level: Level, sentence: str) -> None:
        if self._told.get(part) != (level, sentence):
            self._told[part] = (level, sentence)
            self._tell(part, level, sentence)

    def _next_seed(self) -> int:
        return int(self._random.integers(2**31))
