"""Holding an action in lockstep: each command answers one observation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_roller.config import RollerConfig
from planet_roller.hold import Decision, Held
from planet_roller.recorder import Recorder
from planet_roller.robot import Robot, RobotError, Snapshot, Wanted
from planet_roller.telemetry import Preview

_MAX_REPEATS = 4  # of an observation, before its command counts as lost for good


class LockstepHold:
    """See :class:`planet_roller.hold.Hold`."""

    decision_time = None

    def __init__(self, config: RollerConfig, robot: Robot, preview: Preview, clock: Clock) -> None:
        self._config = config
        self._robot = robot
        self._preview = preview
        self._clock = clock

    def first(self) -> Snapshot:
        """Return the observation that answers the reset."""
        return self._robot.observe(None, self._config.observation_timeout)

    def time_left(self, origin: float, tick: int) -> None:
        """The robot waits."""
        return

    def hold(self, decision: Decision) -> Held:
        """See :class:`planet_roller.hold.Hold`."""
        spec, recorder, snapshot = self._robot.spec, decision.recorder, decision.snapshot
        command = spec.scale(decision.action)
        tick, latency = decision.tick, 0.0
        while True:
            self._robot.command(command, snapshot.stamp)
            if tick == decision.tick:
                latency = self._clock.now() - snapshot.arrival
                self._preview.show(decision.policy, snapshot.stamp, math.inf)
            snapshot = self._answered(command, snapshot)
            recorder.signals(*self._robot.drain())
            tick += 1
            ended = recorder.end() is not None or tick >= spec.max_steps
            if ended or tick - decision.tick == self._config.action_repeat:
                return Held(snapshot, tick - decision.tick, 0, latency, tick, ended)

    def last(self, recorder: Recorder) -> None:
        """Nothing comes later than what it belongs to."""

    def _answered(self, command: npt.NDArray[np.float64], before: Snapshot) -> Snapshot:
        """The observation after a command, which is sent again as often as the robot asks."""
        for _ in range(_MAX_REPEATS):
            timeout = self._config.observation_timeout
            after = self._robot.observe(before.stamp, timeout, Wanted(reward=True))
            if after.stamp > before.stamp:
                return after
            self._robot.command(command, before.stamp)
        raise RobotError(
            f"the robot repeated its observation {_MAX_REPEATS} times: joint_command does not "
            "reach it"
        )
