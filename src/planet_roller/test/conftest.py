"""A robot, a clock, an agent and a replay that run in one thread, deterministically."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planet_core.episode import Episode
from planet_core.robot_spec import RobotSpec
from planet_core.weights import Weights
from planet_model.actor import PlanetActor
from planet_model.config import PlannerConfig
from planet_roller.config import RollerConfig
from planet_roller.inbox import Inbox, ReplayStatus
from planet_roller.loop import ControlLoop
from planet_roller.observations import Assembler
from planet_roller.robot import ANY, RewardSample, RobotError, StoppedError, Wanted
from planet_roller.telemetry import Transition

PERIOD = 0.05
NOISE = 0.3  # of exploration
SPEC = RobotSpec(
    name="ergojr",
    action_names=("m1", "m2"),
    action_low=(-0.1, -0.2),
    action_high=(0.1, 0.2),
    cameras=("camera_front", "camera_side"),
    state_names=("m1", "m2", "m3"),
    control_period=PERIOD,
    max_steps=10,
    real_time_factor=0.0,
)


class FakeClock:
    """Time passes only while somebody waits; what is due meanwhile happens in between."""

    def __init__(self) -> None:
        self.time = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self.time

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._count), event))

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while self._events and self._events[0][0] <= end:
            self._step(end)
        self.time = end

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        assert timeout < 1e6, "would wait for ever"
        self._step(self.time + max(0.0, timeout))

    def _step(self, end: float) -> None:
        """Go on to the next event, or to `end` if there is none before."""
        if self._events and self._events[0][0] <= end:
            time, _, event = heapq.heappop(self._events)
            self.time = max(self.time, time)
            event()
        else:
            self.time = end


class FakeRobot:
    """Publishes to a real Assembler: a tick's images show its number, its reward is its number.

    In real time it answers a reset at once, whatever the phase of its own ticks, and the episode's
    ticks count from the first command on.
    """

    def __init__(self, spec: RobotSpec, clock: FakeClock, inbox: Inbox, telemetry: Any) -> None:
        self.spec = spec
        self.clock = clock
        self.inbox = inbox
        self.assembler = Assembler(
            spec, clock, lambda s, f: telemetry.report(s, "ok" if f is None else "error", f or "")
        )
        self.resets: list[tuple[int, bool]] = []
        self.commands: list[tuple[float, np.ndarray, int]] = []  # time, effort, stamp
        self.repeats: list[tuple[float, np.ndarray, int]] = []  # the same, for a further image
        self._repeating = False
        self.mute: set[str] = set()
        self.refuse_reset = ""
        self.terminate_at: int | None = None  # tick
        self.truncates = True
        self.lost_commands = 0
        self.reward_delay = 0.0
        self.jitter: Callable[[int], float] = lambda tick: 0.0
        self.image_size = 64
        self.joint_value = 0.0
        self.on_tick: Callable[[int], None] = lambda tick: None
        self.tick = 0
        self._stamp = 0
        self._epoch = 0

    def reset(self, seed: int, evaluation: bool) -> None:
        if self.inbox.stopped:
            raise StoppedError
        self.resets.append((seed, evaluation))
        self.assembler.clear()
        if self.refuse_reset:
            raise RobotError(self.refuse_reset)
        self._epoch += 1
        self.tick = 0
        self._moving = self.spec.lockstep
        self._due = self.clock.now() + 0.4 * self.spec.tick if not self.spec.lockstep else 0.0
        self._stamp += 1_000_000_000
        self.assembler.begin(self._stamp)
        self._publish()
        if not self.spec.lockstep:
            self._schedule(self._epoch)
        else:
            self._republish_later(self._epoch, self._stamp)

    def command(self, effort: np.ndarray, stamp: int) -> None:
        sent = self.repeats if self._repeating else self.commands
        sent.append((self.clock.now(), effort.copy(), stamp))
        self._repeating = False
        self._moving = True
        if not self.spec.lockstep or stamp != self._stamp:
            return
        if self.lost_commands:
            self.lost_commands -= 1
            return
        self._advance()
        self._republish_later(self._epoch, self._stamp)

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Any:
        if self.inbox.stopped:
            raise StoppedError
        return self.assembler.observe(after, timeout, wanted)

    def newer(self, after: int, until: float) -> Any:
        newer = self.assembler.newer(after, until)
        self._repeating = newer is not None
        return newer

    def respawn(self, *, announced: bool) -> None:
        """As a robot's process that is killed and started again: it wants a reset first."""
        self._epoch += 1
        self._stamp += 3_000_000_000
        if announced:
            self.assembler.interrupt("the robot started anew")
        self._publish()

    def drain(self) -> Any:
        return self.assembler.drain()

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        return self.assembler.wait_reward(stamp, timeout)

    def _schedule(self, epoch: int) -> None:
        def due() -> None:
            if epoch == self._epoch:
                self._advance()
                self._due += self.spec.tick
                self._schedule(epoch)

        self.clock.at(self._due + self.jitter(self.tick + self._moving), due)

    def _republish_later(self, epoch: int, stamp: int) -> None:
        def due() -> None:
            if (epoch, stamp) == (self._epoch, self._stamp):
                self._publish()
                self._republish_later(epoch, stamp)

        self.clock.at(self.clock.now() + 0.5, due)

    def _advance(self) -> None:
        self.tick += self._moving
        self._stamp += round(self.spec.control_period * 1e9)
        self.on_tick(self.tick)
        self._publish()

    def _publish(self) -> None:
        size, stamp, tick = self.image_size, self._stamp, self.tick
        names = self.spec.state_names
        if "joint_states" not in self.mute:
            values = [self.joint_value + tick] * len(names)
            self.assembler.put_joints(stamp, names, values, values, values)
        reward = RewardSample(
            stamp=stamp,
            reward=float(tick),
            valid=True,
            terminated=tick == self.terminate_at,
            truncated=self.truncates and tick == self.spec.max_steps,
            touched=tick == self.terminate_at,
        )
        if "reward" not in self.mute and tick > 0:
            if self.reward_delay:
                when = self.clock.now() + self.reward_delay
                self.clock.at(when, lambda: self.assembler.put_reward(reward))
            else:
                self.assembler.put_reward(reward)
        for camera in self.spec.cameras:
            if camera not in self.mute:
                self.assembler.put_image(camera, stamp, np.full((size, size, 3), tick, np.uint8))


class FakeCourier:
    """A replay that takes everything at once, and the spool before it."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.episodes: list[Episode] = []
        self.waiting = 0
        self.stop_after = 1
        self.down = False
        self.decisions = 0  # that the replay then says it holds
        self.on_submit: Callable[[Episode], None] = lambda episode: None

    def submit(self, episode: Episode) -> None:
        self.on_submit(episode)
        self.episodes.append(episode)
        if self.down:
            self.waiting += 1
        else:
            self.publish_status()
        if len(self.episodes) >= self.stop_after:
            self.inbox.stop()

    def publish_status(self) -> None:
        training = sum(e.policy != "evaluation" for e in self.episodes)
        before = self.inbox.status.training_episodes if self.inbox.status else 0
        status = ReplayStatus(max(before, training), len(self.episodes), self.decisions)
        self.inbox.put_status(status)

    def training_beyond(self, sequence: int) -> int:
        if self.down:
            return self.waiting
        return sum(e.policy != "evaluation" for e in self.episodes[sequence:])


class FakeAgent:
    """Plans +0.5 for every joint, plus the noise; `time_of` a plan passes on the clock."""

    def __init__(self, clock: FakeClock, version: int) -> None:
        self.clock = clock
        self.version = version
        self.time_of: Callable[[int], float] = lambda count: 0.0
        self.count = 0
        self.noises: list[float] = []
        self.seen: list[tuple[int, np.ndarray]] = []  # tick shown, previous action
        self.states: list[np.ndarray] = []
        self.left: list[float | None] = []  # until the deadline
        self.value = 0.5
        config = SimpleNamespace(cameras=SPEC.cameras, action_size=SPEC.action_size, state_size=0)
        self.model = SimpleNamespace(config=config)
        self.planner = SimpleNamespace(
            config=PlannerConfig(), title="fake", warning="", iterations=10
        )

    def reset(self) -> None:
        pass

    def act(
        self,
        images: np.ndarray,
        previous: np.ndarray,
        noise: float,
        state: np.ndarray,
        time_left: Callable[[], float] | None = None,
    ) -> np.ndarray:
        self.left.append(None if time_left is None else time_left())
        self.states.append(state)
        self.noises.append(noise)
        self.seen.append((int(images[0, 0, 0]), previous))
        self.clock.advance(self.time_of(self.count))
        self.count += 1
        return np.full(SPEC.action_size, self.value, np.float32)

    def prediction(self) -> np.ndarray:
        return np.zeros((192, 128, 3), np.uint8)


@dataclass
class FakeTelemetry:
    """Keeps what it is told."""

    reports: list[tuple[str, str, str]] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    watched: bool = False

    def report(self, name: str, level: str, message: str, **values: object) -> None:
        self.reports.append((name, level, message))
        self.values[name] = values

    def last(self, name: str) -> tuple[str, str]:
        """Level and message of the last report of `name`."""
        return next(r[1:] for r in reversed(self.reports) if r[0] == name)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def transition(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def prediction_wanted(self) -> bool:
        return self.watched

    def prediction(self, image: np.ndarray, stamp: int) -> None:
        self.predictions.append(stamp)


class Bench:
    """All of it together, around a real ControlLoop."""

    def __init__(
        self,
        *,
        real_time: bool = False,
        cameras: tuple[str, ...] = SPEC.cameras,
        **config: Any,
    ) -> None:
        spec = replace(SPEC, cameras=cameras, real_time_factor=1.0 if real_time else 0.0)
        self.clock = FakeClock()
        self.inbox = Inbox()
        self.inbox.put_status(ReplayStatus(0, 0))
        self.telemetry = FakeTelemetry()
        self.robot = FakeRobot(spec, self.clock, self.inbox, self.telemetry)
        self.courier = FakeCourier(self.inbox)
        self.agents: list[FakeAgent] = []
        self.new_agent: Callable[[FakeAgent], None] = lambda agent: None
        self.in_place = False  # weights are adopted by the agent that there is
        # A robot without weights would wait after its seed episodes.
        self.config = RollerConfig(**{"seed_episodes": 1000} | config)

    @property
    def episodes(self) -> list[Episode]:
        return self.courier.episodes

    def weights(self, version: int = 1, replay_sequence: int = 0, update: int = 0) -> Weights:
        return Weights("hash", "{}", b"", "run", version, update, replay_sequence)

    def run(self, episodes: int = 1) -> None:
        """Until so many episodes are stored."""
        self.courier.stop_after = episodes
        self.loop = ControlLoop(
            self.config,
            {},
            self.robot,
            self.courier,  # type: ignore[arg-type]
            self.inbox,
            self.telemetry,
            self.clock,
            self._load,  # type: ignore[arg-type]
        )
        self.loop.run()

    def _load(
        self,
        weights: Weights,
        spec: RobotSpec,
        settings: object,
        device: str,
        seed: int,
        present: PlanetActor | None,
    ) -> PlanetActor:
        if self.in_place and present is not None:
            present.agent.version = weights.version  # type: ignore[attr-defined]
            return present
        agent = FakeAgent(self.clock, weights.version)
        self.new_agent(agent)
        self.agents.append(agent)
        return PlanetActor(agent, NOISE)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> type[Bench]:
    return Bench


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return SPEC


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
