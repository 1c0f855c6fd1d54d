"""Holding an action in real time.

A grid of ticks on the steady clock is never shifted during an episode: a decision begins at a tick,
and its command goes out as soon as it is planned and again at each further tick of the decision. A
tick that passes without a command is missed, counted and stored. The command is repeated for each
further image, too: its stamp tells the robot up to when it was seen, and a robot that is not seen
lets go.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_core.method import TimeLeft
from planet_roller.config import RollerConfig
from planet_roller.hold import Decision, Held
from planet_roller.recorder import Recorder
from planet_roller.robot import Robot, Snapshot, Wanted
from planet_roller.telemetry import Preview

REWARD_GRACE = 0.25  # s that the last rewards of an episode may be late
_IMAGE_GRACE = 0.15  # ticks that a decision waits for an image that is due


class RealTimeHold:
    """See :class:`planet_roller.hold.Hold`."""

    def __init__(self, config: RollerConfig, robot: Robot, preview: Preview, clock: Clock) -> None:
        self._config = config
        self._robot = robot
        self._preview = preview
        self._clock = clock
        self._first_command = 0.0  # of the episode, s
        self.decision_time: float = config.action_repeat * robot.spec.tick

    def first(self) -> Snapshot:
        """Return the second observation after the reset.

        The first one may answer the reset; from the next on they come in their rhythm, which the
        grid of ticks takes over.
        """
        timeout = self._config.observation_timeout
        answer = self._robot.observe(None, timeout)
        return self._robot.observe(answer.stamp, timeout)

    def time_left(self, origin: float, tick: int) -> TimeLeft:
        """See :class:`planet_roller.hold.Hold`."""
        end = origin + tick * self._robot.spec.tick + self.decision_time
        return lambda: end - self._clock.now()

    def hold(self, decision: Decision) -> Held:
        """See :class:`planet_roller.hold.Hold`."""
        spec, timeout = self._robot.spec, self._config.observation_timeout
        snapshot, recorder, origin = decision.snapshot, decision.recorder, decision.origin
        command = spec.scale(decision.action)
        first = tick = decision.tick
        end = min(tick + self._config.action_repeat, spec.max_steps)
        sent, latency, seen = 0, 0.0, snapshot
        while True:
            self._robot.command(command, seen.oldest)
            now = self._clock.now()
            if first == 0 and sent == 0:
                self._first_command = now
            tick = max(tick, math.floor((now - origin) / spec.tick))
            if sent == 0:
                latency = now - snapshot.arrival
                seen = self._repeat(command, seen, now)
                until = origin + (tick + 1) * spec.tick
                self._preview.show(decision.policy, snapshot.stamp, until)
            sent += 1
            seen = self._repeat(command, seen, origin + (tick + 1) * spec.tick)
            tick = max(tick + 1, math.floor((self._clock.now() - origin) / spec.tick))
            recorder.signals(*self._robot.drain())
            final = recorder.end()
            if final is not None or tick >= end:
                break
        missed = tick - first - sent
        if final is not None and final.stamp <= snapshot.stamp:
            return Held(None, 0, missed, latency, tick, ended=True)
        if final is None:
            # The robot's own ticks have some phase to these: an image may be just about to come.
            lasted = round((tick - first - 0.5) * spec.control_period * 1e9)
            wanted = Wanted(expected=snapshot.stamp + lasted, grace=_IMAGE_GRACE * spec.tick)
            after = self._robot.observe(snapshot.stamp, timeout, wanted)
            self._repeat(command, seen, self._clock.now())  # the next is yet to be planned
        else:
            after = self._robot.observe(final.stamp - 1, timeout, Wanted(oldest=True))
        ticks = (after.stamp - snapshot.stamp) * 1e-9 / spec.control_period
        recorder.signals(*self._robot.drain())
        known = recorder.end()
        ended = tick >= spec.max_steps or (known is not None and known.stamp <= after.stamp)
        if tick >= spec.max_steps and known is None:
            # The robot counts its ticks from the first command, and wants one until the last.
            self._repeat(command, seen, self._first_command + spec.max_steps * spec.tick)
        return Held(after, max(1, math.floor(ticks + 0.5)), missed, latency, tick, ended)

    def last(self, recorder: Recorder) -> None:
        """Record the rewards that are still on their way."""
        self._robot.wait_reward(recorder.stamp, REWARD_GRACE)
        recorder.signals(*self._robot.drain())

    def _repeat(self, command: npt.NDArray[np.float64], seen: Snapshot, until: float) -> Snapshot:
        """Send the command for each observation after `seen` until then; return the last one."""
        while (newer := self._robot.newer(seen.stamp, until)) is not None:
            seen = newer
            self._robot.command(command, seen.oldest)
        return seen
