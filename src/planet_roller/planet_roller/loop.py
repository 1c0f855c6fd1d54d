"""The control loop: one episode after the other, in a thread of its own, for as long as it is let.

In lockstep each command answers one observation. In real time the loop owns a grid of ticks on the
steady clock that is never shifted during an episode: a decision begins at a tick, and its command
goes out as soon as it is planned and again at each further tick of the decision. A tick that passes
without a command is missed, counted and stored. The command is repeated for each further image,
too: its stamp tells the robot up to when it was seen, and a robot that is not seen lets go.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

import numpy as np
import numpy.typing as npt

from planet_core.clocks import Clock
from planet_core.episode import Episode
from planet_core.report import Level
from planet_core.weights import Weights
from planet_model.agent import Agent
from planet_model.config import PlannerConfig
from planet_roller.config import RollerConfig
from planet_roller.pace import Pace, budget, fit
from planet_roller.policy import (
    Action,
    PlannerPolicy,
    Policy,
    PolicyError,
    RandomPolicy,
    WeightsRefusedError,
    computes,
    load_agent,
)
from planet_roller.recorder import Recorder
from planet_roller.robot import Observation, Robot, RobotError, StoppedError, Wanted
from planet_roller.spool import Courier, SpoolError

REWARD_GRACE = 0.25  # s that the last rewards of an episode may be late, in real time
_IMAGE_GRACE = 0.15  # ticks that a decision waits for an image that is due; see the dry run's 0.8
_BACKOFF_FIRST, _BACKOFF_LAST = 0.5, 5.0  # s between attempts at an episode
_MAX_REPEATS = 4  # of an observation in lockstep, before its command counts as lost for good
_PREDICTION_PERIOD = 0.4  # s between prediction images
_REPORT_PERIOD = 1.0  # s between reports of latencies
_LATENCIES = 1000  # decisions that the reported percentiles look back on
_TRAINING_SEEDS = (10_000_000, 2**31)  # from, to before; held-out ones are below


@dataclass(frozen=True)
class Transition:
    """Telemetry of one decision; units and names of planet_msgs/Transition."""

    stamp: int
    episode_id: str
    policy: str
    step: int
    action: Action
    reward: float
    reward_valid: bool
    episode_return: float
    terminated: bool
    truncated: bool
    touched: bool
    image_age: float
    planning_time: float
    latency: float
    missed_ticks: int
    weights_version: int
    planner: str
    iterations: int
    candidates: int


class Telemetry(Protocol):
    """What the loop tells the world. None of it may block."""

    def report(self, name: str, level: Level, message: str, **values: object) -> None:
        """The state of a part: "ok", "warn" or "error", and a sentence."""

    def log(self, message: str) -> None:
        """A line that a person likes to read."""

    def transition(self, transition: Transition) -> None: ...

    def prediction_wanted(self) -> bool:
        """Whether anybody looks at the prediction image."""

    def prediction(self, image: npt.NDArray[np.uint8], stamp: int) -> None: ...


@dataclass(frozen=True)
class ReplayStatus:
    """What the replay holds."""

    training_episodes: int
    newest_sequence: int


class Inbox:
    """What comes to the loop from other threads; only the newest of each kind is kept."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.status: ReplayStatus | None = None
        self.weights: Weights | None = None
        self.stopped = False

    def put_status(self, status: ReplayStatus) -> None:
        with self.condition:
            self.status = status
            self.condition.notify_all()

    def put_weights(self, weights: Weights) -> None:
        with self.condition:
            self.weights = weights
            self.condition.notify_all()

    def stop(self) -> None:
        """Ask the loop to stop; a wait for the robot is ended by the robot."""
        with self.condition:
            self.stopped = True
            self.condition.notify_all()

    def notify(self) -> None:
        """Let the loop look again at what it waits for."""
        with self.condition:
            self.condition.notify_all()


@dataclass(frozen=True)
class _Held:
    """What came of holding one decision's action."""

    observation: Observation | None  # None: the episode had ended before the decision
    ticks: int  # between this observation and the one before
    missed: int
    latency: float
    tick: int  # of the next decision
    ended: bool


class ControlLoop:
    """Rolls out episodes on `robot` and hands them to `courier`."""

    def __init__(
        self,
        config: RollerConfig,
        planner: PlannerConfig,
        robot: Robot,
        courier: Courier,
        inbox: Inbox,
        telemetry: Telemetry,
        clock: Clock,
        make_agent: Callable[..., Agent] = load_agent,
    ) -> None:
        self._config = config
        self._planner = planner
        self._robot = robot
        self._spec = robot.spec
        self._courier = courier
        self._inbox = inbox
        self._telemetry = telemetry
        self._clock = clock
        self._make_agent = make_agent
        self._agent: Agent | None = None
        self._agent_version = 0
        self._seen_weights: Weights | None = None
        self._asked = planner  # the agent's budget before it was fitted
        self._pace: Pace | None = None  # in real time, of
        self._paced = ""  # what computes
        self._told = ""  # of it
        self._planned = 0
        self._backoff = _BACKOFF_FIRST
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._ticks = 0
        self._missed = 0
        self._first_command = 0.0  # of the episode in real time, s
        self._reported = -math.inf
        self._predicted = -math.inf
        self._prediction_time = 0.0

    def run(self) -> None:
        """Roll out episodes until stopped.

        Raises TooSlowError before a planned real-time episode, if not even one iteration fits.
        """
        try:
            self._wait_for_status()
            status = self._inbox.status
            self._go_on_after(status.newest_sequence if status is not None else 0)
            while True:
                self._wait_for_spool()
                self._attempt(self._choose())
        except StoppedError:
            return

    # Which policy is next.

    def _wait_for_status(self) -> None:
        """A run that goes on must not begin with random episodes because the replay is slower."""

        def known() -> bool:
            return self._inbox.status is not None

        patience = self._config.patience
        if not self._wait(known, min(patience, _REPORT_PERIOD)):
            self._telemetry.log(f"waiting up to {patience:g} s for the replay's status")
            self._wait(known, patience - _REPORT_PERIOD)

    def _go_on_after(self, sequence: int) -> None:
        """Begin, or go on with a run whose newest episode has this sequence, 0 for none.

        What is random is reproducible, and yet not the same again after a restart.
        """
        self._begun_after = sequence
        self._rng = np.random.default_rng((self._config.seed, sequence))
        self._starts = self._rng.spawn(1)[0]  # when weights come changes no start
        self._random = RandomPolicy(
            self._spec.action_size, self._config.seed_action_holds, self._rng
        )
        # Else short sessions would have no evaluation, or all the same ones. Where every episode
        # is one, the seeds asked for are wanted, from the first on.
        if self._config.evaluation_interval > 1:
            self._planned = max(0, sequence - self._config.seed_episodes)

    def _choose(self) -> Policy:
        status = self._inbox.status or ReplayStatus(0, 0)
        collected = status.training_episodes + self._courier.training_beyond(status.newest_sequence)
        if collected < self._config.seed_episodes:
            return self._random
        if self._config.mode == "sync":
            self._wait_for_learner()
        self._adopt()
        while self._agent is None:
            if not self._wait_for_weights():
                return self._random
            self._adopt()
        interval = self._config.evaluation_interval
        return PlannerPolicy(
            self._agent,
            self._agent_version,
            self._config.exploration_noise,
            evaluation=interval > 0 and (self._planned + 1) % interval == 0,
        )

    def _wait_for_learner(self) -> None:
        """Wait for weights that were trained on all there is, also from before a restart."""

        def trained() -> bool:
            weights, status = self._inbox.weights, self._inbox.status
            if weights is None:
                return False
            # A replay that was replaced in the meantime counts from 1 again.
            before = min(self._begun_after, status.newest_sequence if status is not None else 0)
            return (
                weights.replay_sequence >= before
                and self._courier.training_beyond(weights.replay_sequence) == 0
            )

        if not self._wait(trained, self._config.patience):
            self._telemetry.report(
                "weights", "warn", "waiting for the learner to train on the last episode"
            )
            self._wait(trained, math.inf)

    def _wait_for_weights(self) -> bool:
        """Wait for the first weights, or for others than those that were refused.

        Seed episodes are as many as asked for: random ones do not fill the time, of which a learner
        that has begun with the first of them needs little. Only when none come for long, false is
        returned, for the learner may lack an episode.
        """

        def new() -> bool:
            return self._inbox.weights is not self._seen_weights

        self._telemetry.log("waiting for the learner's weights")
        if self._seen_weights is not None:  # it is told why they were refused
            return self._wait(new, math.inf)
        found = self._wait(new, self._config.patience)
        if not found:
            sentence = f"no weights came in {self._config.patience:g} s: a random episode is made"
            self._telemetry.report("weights", "warn", sentence)
        return found

    def _adopt(self) -> None:
        """Take the newest weights, whole; keep the old ones when they are refused."""
        weights = self._inbox.weights
        if weights is None or weights is self._seen_weights:
            return
        self._seen_weights = weights
        seed = int(self._rng.integers(2**31))
        try:
            agent = self._make_agent(
                weights, self._spec, self._planner, self._config.device, seed, self._agent
            )
        except WeightsRefusedError as error:
            self._telemetry.report("weights", "error", f"refused: {error}")
            return
        self._keep_pace(agent, fresh=agent is not self._agent)
        self._agent, self._agent_version = agent, weights.version
        self._telemetry.report("weights", "ok", "acting", version=weights.version)

    def _keep_pace(self, agent: Agent, *, fresh: bool) -> None:
        """Give the agent a budget that fits; measure for a fresh one and when others compute."""
        found = computes(agent)
        if fresh:
            self._asked = agent.planner.config
        if self._spec.lockstep:
            text = f"{found}: {budget(agent.planner.config)}"
        else:
            if self._pace is None or fresh or found != self._paced:
                agent.planner.config = self._asked
                self._pace = fit(agent, self._decision_time, self._clock)
            text = self._pace.text
        if text != self._told:
            self._telemetry.log(f"planner: {text}")
        self._paced, self._told = found, text
        warning = agent.planner.warning
        self._telemetry.report("planner", "warn" if warning else "ok", warning or text)

    @property
    def _decision_time(self) -> float:
        """What a decision lasts in real time, s."""
        return self._config.action_repeat * self._spec.tick

    # One episode.

    def _attempt(self, policy: Policy) -> None:
        """Roll out an episode and spool it; when it is given up, wait a little."""
        try:
            episode = self._roll_out(policy)
        except (RobotError, PolicyError) as error:
            self._telemetry.report("episode", "warn", f"given up: {error}")
            self._wait_until(self._clock.now() + self._backoff)
            self._backoff = min(2 * self._backoff, _BACKOFF_LAST)
            return
        self._backoff = _BACKOFF_FIRST
        self._telemetry.report("episode", "ok", "rolling out")
        self._submit(episode)
        if episode.policy != "random":
            self._planned += 1
        self._telemetry.log(
            f"{episode.policy} episode: {episode.steps} steps, "
            f"return {episode.episode_return:.2f}{', touched' if episode.touched_any else ''}"
            + (f", weights {episode.weights_version}" if episode.weights_version else "")
        )

    def _roll_out(self, policy: Policy) -> Episode:
        """One episode. Raises RobotError and PolicyError."""
        spec, timeout = self._spec, self._config.observation_timeout
        evaluation = policy.kind == "evaluation"
        if evaluation:
            seed = self._config.evaluation_seed + self._planned // self._config.evaluation_interval
        else:
            seed = int(self._starts.integers(*_TRAINING_SEEDS))
        utc = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        id_ = f"{spec.name}-{utc}-{secrets.token_hex(4)}"
        self._robot.reset(seed, evaluation)
        observation = self._robot.observe(None, timeout)
        if not spec.lockstep:
            # The first image may answer the reset; from the next on they come in their rhythm,
            # which the grid of ticks takes over.
            observation = self._robot.observe(observation.stamp, timeout)
        recorder = Recorder(spec, observation)
        policy.reset()
        hold = self._hold_in_lockstep if spec.lockstep else self._hold_in_real_time
        previous: Action = np.zeros(spec.action_size, np.float32)
        origin, tick, missed, total, ended = self._clock.now(), 0, 0, 0.0, False
        unjudged = 0
        while not ended:
            start = self._clock.now()
            age = observation.age + start - observation.arrival
            left = None if spec.lockstep else self._until(origin + tick * spec.tick)
            previous = policy.act(observation.images, previous, observation.state, left)
            planning = self._clock.now() - start
            held = hold(policy, previous, observation, recorder, origin, tick)
            tick, ended = held.tick, held.ended
            missed += held.missed
            if held.observation is None:
                break
            self._check_gap(observation, held.observation)
            observation = held.observation
            recorder.step(observation, previous, held.ticks, held.missed)
            unjudged = 0 if recorder.verdict(back=1).valid else unjudged + 1
            if 0 < self._config.max_invalid_rewards < unjudged:
                raise RobotError(f"no valid reward for {unjudged} decisions in a row")
            verdict = recorder.verdict()
            total += verdict.reward
            self._latencies.append(held.latency)
            self._telemetry.transition(
                Transition(
                    stamp=observation.stamp,
                    episode_id=id_,
                    policy=policy.kind,
                    step=recorder.steps,
                    action=previous,
                    reward=verdict.reward,
                    reward_valid=verdict.valid,
                    episode_return=total,
                    terminated=verdict.terminated,
                    truncated=verdict.truncated or (ended and not verdict.terminated),
                    touched=verdict.touched,
                    image_age=age,
                    planning_time=planning,
                    latency=held.latency,
                    missed_ticks=held.missed,
                    weights_version=policy.weights_version,
                    **vars(policy.search()),
                )
            )
        if not spec.lockstep:
            self._robot.wait_reward(recorder.stamp, REWARD_GRACE)
            recorder.signals(*self._robot.drain())
        self._report_pace(tick, missed)
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

    def _report_rewards(self, episode: Episode) -> None:
        lacking = episode.steps - int(episode.reward_valid.sum())
        if lacking:
            message = f"{lacking} of {episode.steps} rewards are missing in the last episode"
            self._telemetry.report("reward", "warn", message)
        else:
            self._telemetry.report("reward", "ok", "complete")

    def _until(self, begin: float) -> Callable[[], float]:
        """Tells how long a plan of the decision that began at `begin` (s) may still take."""
        deadline = begin + self._planner.deadline * self._decision_time
        return lambda: deadline - self._clock.now()

    def _check_gap(self, before: Observation, after: Observation) -> None:
        """Raises RobotError when these can be of no single run of the robot.

        A respawned robot may be seen before its new announcement is.
        """
        gap = (after.stamp - before.stamp) * 1e-9
        speed = max(1.0, self._spec.real_time_factor)
        decision = self._config.action_repeat * self._spec.control_period
        if gap > self._config.observation_timeout * speed + decision:
            raise RobotError(f"the robot's stamps jump by {gap:.1f} s")

    def _hold_in_lockstep(
        self,
        policy: Policy,
        action: Action,
        observation: Observation,
        recorder: Recorder,
        origin: float,
        tick: int,
    ) -> _Held:
        command = self._spec.scale(action)
        first, latency = tick, 0.0
        while True:
            self._robot.command(command, observation.stamp)
            if tick == first:
                latency = self._clock.now() - observation.arrival
                self._show_prediction(policy, observation.stamp, math.inf)
            observation = self._answered(command, observation)
            recorder.signals(*self._robot.drain())
            tick += 1
            ended = recorder.end() is not None or tick >= self._spec.max_steps
            if ended or tick - first == self._config.action_repeat:
                return _Held(observation, tick - first, 0, latency, tick, ended)

    def _answered(self, command: npt.NDArray[np.float64], before: Observation) -> Observation:
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

    def _hold_in_real_time(
        self,
        policy: Policy,
        action: Action,
        observation: Observation,
        recorder: Recorder,
        origin: float,
        tick: int,
    ) -> _Held:
        """Send the action now and at each further tick of the decision, then look again.

        `tick` is the one at which the decision began; ticks are counted from `origin`.
        """
        spec, timeout = self._spec, self._config.observation_timeout
        command = spec.scale(action)
        first, end = tick, min(tick + self._config.action_repeat, spec.max_steps)
        sent, latency, seen = 0, 0.0, observation
        while True:
            self._robot.command(command, seen.oldest)
            now = self._clock.now()
            if first == 0 and sent == 0:
                self._first_command = now
            tick = max(tick, math.floor((now - origin) / spec.tick))
            if sent == 0:
                latency = now - observation.arrival
                seen = self._repeat(command, seen, now)
                self._show_prediction(policy, observation.stamp, origin + (tick + 1) * spec.tick)
            sent += 1
            seen = self._repeat(command, seen, origin + (tick + 1) * spec.tick)
            tick = max(tick + 1, math.floor((self._clock.now() - origin) / spec.tick))
            recorder.signals(*self._robot.drain())
            final = recorder.end()
            if final is not None or tick >= end:
                break
        missed = tick - first - sent
        if final is not None and final.stamp <= observation.stamp:
            return _Held(None, 0, missed, latency, tick, ended=True)
        if final is None:
            # The robot's own ticks have some phase to these: an image may be just about to come.
            lasted = round((tick - first - 0.5) * spec.control_period * 1e9)
            wanted = Wanted(expected=observation.stamp + lasted, grace=_IMAGE_GRACE * spec.tick)
            after = self._robot.observe(observation.stamp, timeout, wanted)
            self._repeat(command, seen, self._clock.now())  # the next is yet to be planned
        else:
            after = self._robot.observe(final.stamp - 1, timeout, Wanted(oldest=True))
        ticks = (after.stamp - observation.stamp) * 1e-9 / spec.control_period
        recorder.signals(*self._robot.drain())
        known = recorder.end()
        ended = tick >= spec.max_steps or (known is not None and known.stamp <= after.stamp)
        if tick >= spec.max_steps and known is None:
            # The robot counts its ticks from the first command, and wants one until the last.
            self._repeat(command, seen, self._first_command + spec.max_steps * spec.tick)
        return _Held(after, max(1, math.floor(ticks + 0.5)), missed, latency, tick, ended)

    def _repeat(
        self, command: npt.NDArray[np.float64], seen: Observation, until: float
    ) -> Observation:
        """Send the command for each observation after `seen` until then; return the last one."""
        while (newer := self._robot.newer(seen.stamp, until)) is not None:
            seen = newer
            self._robot.command(command, seen.oldest)
        return seen

    def _show_prediction(self, policy: Policy, stamp: int, until: float) -> None:
        """Publish a prediction image if one is due, wanted, and made before `until`."""
        start = self._clock.now()
        due = start >= self._predicted + _PREDICTION_PERIOD
        if not due or start + self._prediction_time > until:
            return
        if not self._telemetry.prediction_wanted():
            return
        self._predicted = start
        image = policy.prediction()
        if image is not None:
            self._prediction_time = self._clock.now() - start
            self._telemetry.prediction(image, stamp)

    def _report_pace(self, ticks: int, missed: int) -> None:
        self._ticks += ticks
        self._missed += missed
        if self._clock.now() < self._reported + _REPORT_PERIOD or not self._latencies:
            return
        self._reported = self._clock.now()
        p50, p99 = np.percentile(self._latencies, (50, 99)) * 1e3
        late = missed > 0.05 * ticks
        self._telemetry.report(
            "control",
            "warn" if late else "ok",
            f"{missed} of {ticks} ticks were missed in an episode" if late else "in time",
            latency_p50_ms=round(float(p50), 2),
            latency_p99_ms=round(float(p99), 2),
            ticks=self._ticks,
            missed_ticks=self._missed,
        )

    # Handing over, and waiting.

    def _submit(self, episode: Episode) -> None:
        """Spool an episode; as long as the disk refuses it, try again."""
        while True:
            try:
                self._courier.submit(episode)
            except SpoolError as error:
                self._telemetry.report("spool", "error", f"{error}; the robot pauses")
                self._wait_until(self._clock.now() + _BACKOFF_LAST)
            else:
                self._telemetry.report("spool", "ok", "writing")
                return

    def _wait_for_spool(self) -> None:
        def room() -> bool:
            return self._courier.waiting < self._config.spool_capacity

        if self._wait(room, 0.0):
            return
        self._telemetry.report(
            "spool",
            "error",
            f"{self._courier.waiting} episodes wait for the replay; the robot pauses until it "
            "takes them",
        )
        self._wait(room, math.inf)
        self._telemetry.report("spool", "ok", "writing")

    def _wait_until(self, deadline: float) -> None:
        """Wait until `deadline` on the steady clock. Raises StoppedError."""
        self._wait(lambda: False, deadline - self._clock.now())

    def _wait(self, met: Callable[[], bool], timeout: float) -> bool:
        """Wait until `met`, looked at on every notification; false after `timeout` seconds."""
        deadline = self._clock.now() + timeout
        with self._inbox.condition:
            while not self._inbox.stopped:
                if met():
                    return True
                remaining = deadline - self._clock.now()
                if remaining <= 0.0:
                    return False
                # A lock cannot be waited for endlessly, so an endless wait is many of a second.
                self._clock.wait(self._inbox.condition, min(remaining, 1.0))
        raise StoppedError
