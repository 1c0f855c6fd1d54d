"""The control loop: one episode after the other, for as long as it is let."""

from __future__ import annotations

import math
import secrets
import time
from datetime import datetime, timezone

import numpy as np

from planet_core.clocks import Clock
from planet_core.episode import Episode
from planet_core.method import Action, Observation, Settings
from planet_roller.config import RollerConfig
from planet_roller.hold import Decision, Held, Hold
from planet_roller.inbox import Inbox
from planet_roller.lockstep import LockstepHold
from planet_roller.policy import Policy, PolicyError, load_actor
from planet_roller.real_time import RealTimeHold
from planet_roller.recorder import Recorder
from planet_roller.robot import Robot, RobotError, Snapshot, StoppedError
from planet_roller.scheduling import LoadActor, Scheduling
from planet_roller.spool import Courier, SpoolError
from planet_roller.telemetry import Preview, Punctuality, Telemetry, Transition

_BACKOFF_FIRST, _BACKOFF_LAST = 0.5, 5.0  # s between attempts at an episode


class ControlLoop:
    """Rolls out episodes on `robot` and hands them to `courier`.

    Args:
        settings: of all methods' actors, by prefix.
        load: makes an actor of weights.
    """

    def __init__(
        self,
        config: RollerConfig,
        settings: Settings,
        robot: Robot,
        courier: Courier,
        inbox: Inbox,
        telemetry: Telemetry,
        clock: Clock,
        load: LoadActor = load_actor,
    ) -> None:
        self._config = config
        self._robot = robot
        self._spec = robot.spec
        self._courier = courier
        self._inbox = inbox
        self._telemetry = telemetry
        self._clock = clock
        self._backoff = _BACKOFF_FIRST
        self._punctuality = Punctuality(telemetry, clock)
        way: type[LockstepHold | RealTimeHold] = (
            LockstepHold if self._spec.lockstep else RealTimeHold
        )
        self._hold: Hold = way(config, robot, Preview(telemetry, clock), clock)
        self._scheduling = Scheduling(
            config,
            settings,
            self._spec,
            self._hold.decision_time,
            courier,
            inbox,
            telemetry,
            clock,
            load,
        )

    def run(self) -> None:
        """Roll out episodes until stopped.

        Raises TooSlowError before a planned real-time episode, if not even one iteration fits.
        """
        try:
            self._scheduling.begin()
            while True:
                self._wait_for_spool()
                self._attempt(self._scheduling.next())
        except StoppedError:
            return

    # One episode.

    def _attempt(self, policy: Policy) -> None:
        """Roll out an episode and spool it; when it is given up, wait a little."""
        try:
            episode = self._roll_out(policy)
        except (RobotError, PolicyError) as error:
            self._telemetry.report("episode", "warn", f"given up: {error}")
            self._wait(self._backoff)
            self._backoff = min(2 * self._backoff, _BACKOFF_LAST)
            return
        self._backoff = _BACKOFF_FIRST
        self._telemetry.report("episode", "ok", "rolling out")
        self._submit(episode)
        self._scheduling.made(episode)
        self._telemetry.log(
            f"{episode.policy} episode: {episode.steps} steps, "
            f"return {episode.episode_return:.2f}{', touched' if episode.touched_any else ''}"
            + (f", weights {episode.weights_version}" if episode.weights_version else "")
        )

    def _roll_out(self, policy: Policy) -> Episode:
        """One episode. Raises RobotError and PolicyError."""
        spec, hold = self._spec, self._hold
        seed = self._scheduling.start_seed(policy)
        utc = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        id_ = f"{spec.name}-{utc}-{secrets.token_hex(4)}"
        self._robot.reset(seed, policy.kind == "evaluation")
        snapshot = hold.first()
        recorder = Recorder(spec, snapshot)
        policy.reset()
        previous: Action = np.zeros(spec.action_size, np.float32)
        origin, tick, missed, total, ended = self._clock.now(), 0, 0, 0.0, False
        unjudged = 0
        while not ended:
            start = self._clock.now()
            age = snapshot.age + start - snapshot.arrival
            left = hold.time_left(origin, tick)
            previous = policy.act(Observation(snapshot.images, snapshot.state), previous, left)
            planning = self._clock.now() - start
            held = hold.hold(Decision(policy, previous, snapshot, recorder, origin, tick))
            tick, ended = held.tick, held.ended
            missed += held.missed
            if held.snapshot is None:
                break
            self._check_gap(snapshot, held.snapshot)
            snapshot = held.snapshot
            recorder.step(snapshot, previous, held.ticks, held.missed)
            unjudged = 0 if recorder.verdict(back=1).valid else unjudged + 1
            if 0 < self._config.max_invalid_rewards < unjudged:
                raise RobotError(f"no valid reward for {unjudged} decisions in a row")
            total += recorder.verdict().reward
            self._punctuality.decision(held.latency)
            self._tell(policy, previous, recorder, held, id_, total, age, planning)
        hold.last(recorder)
        self._punctuality.episode(tick, missed)
        episode = recorder.build(
            id_=id_,
            policy=policy.kind,
            weights_version=policy.weights_version,
            metadata={
                "action_repeat": str(self._config.action_repeat),
                "planner": policy.search().planner,
                "seed": str(seed),
                "created": repr(time.time()),
            },
        )
        self._report_rewards(episode)
        return episode

    def _tell(
        self,
        policy: Policy,
        action: Action,
        recorder: Recorder,
        held: Held,
        id_: str,
        total: float,
        age: float,
        planning: float,
    ) -> None:
        verdict = recorder.verdict()
        self._telemetry.transition(
            Transition(
                stamp=recorder.stamp,
                episode_id=id_,
                policy=policy.kind,
                step=recorder.steps,
                action=action,
                reward=verdict.reward,
                reward_valid=verdict.valid,
                episode_return=total,
                terminated=verdict.terminated,
                truncated=verdict.truncated or (held.ended and not verdict.terminated),
                touched=verdict.touched,
                image_age=age,
                planning_time=planning,
                latency=held.latency,
                missed_ticks=held.missed,
                weights_version=policy.weights_version,
                **vars(policy.search()),
            )
        )

    def _report_rewards(self, episode: Episode) -> None:
        lacking = episode.steps - int(episode.reward_valid.sum())
        if lacking:
            message = f"{lacking} of {episode.steps} rewards are missing in the last episode"
            self._telemetry.report("reward", "warn", message)
        else:
            self._telemetry.report("reward", "ok", "complete")

    def _check_gap(self, before: Snapshot, after: Snapshot) -> None:
        """Raises RobotError when these can be of no single run of the robot.

        A respawned robot may be seen before its new announcement is.
        """
        gap = (after.stamp - before.stamp) * 1e-9
        speed = max(1.0, self._spec.real_time_factor)
        decision = self._config.action_repeat * self._spec.control_period
        if gap > self._config.observation_timeout * speed + decision:
            raise RobotError(f"the robot's stamps jump by {gap:.1f} s")

    # Handing over.

    def _submit(self, episode: Episode) -> None:
        """Spool an episode; as long as the disk refuses it, try again."""
        while True:
            try:
                self._courier.submit(episode)
            except SpoolError as error:
                self._telemetry.report("spool", "error", f"{error}; the robot pauses")
                self._wait(_BACKOFF_LAST)
            else:
                self._telemetry.report("spool", "ok", "writing")
                return

    def _wait_for_spool(self) -> None:
        def room() -> bool:
            return self._courier.waiting < self._config.spool_capacity

        if self._inbox.wait(self._clock, room, 0.0):
            return
        self._telemetry.report(
            "spool",
            "error",
            f"{self._courier.waiting} episodes wait for the replay; the robot pauses until it "
            "takes them",
        )
        self._inbox.wait(self._clock, room, math.inf)
        self._telemetry.report("spool", "ok", "writing")

    def _wait(self, seconds: float) -> None:
        """Wait on the steady clock. Raises StoppedError."""
        self._inbox.wait(self._clock, lambda: False, seconds)
