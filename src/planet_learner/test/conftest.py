"""A replay, a trainer and a learner that run without ROS, without threads and without waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planet_core.config import Config, setting
from planet_core.episode import Episode
from planet_core.experience import Experience
from planet_core.method import Inputs, Method, Settings, State, setting_of
from planet_core.testing import make_episode as make_random
from planet_core.weights import Weights
from planet_learner.checkpoint import Checkpoint, Checkpoints
from planet_learner.config import LearnerConfig
from planet_learner.feed import Feed
from planet_learner.learner import Learner
from planet_learner.metrics import Metrics


def build_episode(name: str = "e", policy: str = "random", steps: int = 6, **more: Any) -> Episode:
    return make_random(name, policy, steps, **{"seed": 0} | more)


class FakeReplay:
    """Answers a feed at once, from a list."""

    def __init__(self) -> None:
        self.episodes: list[tuple[int, bytes]] = []
        self.newest = 0
        self.up = True
        self.feed: Feed | None = None

    def add(self, policy: str = "random", **kwargs: Any) -> int:
        self.newest += 1
        episode = build_episode(f"e{self.newest}", policy, **{"seed": self.newest} | kwargs)
        self.episodes.append((self.newest, episode.to_bytes()))
        self.pump()
        return self.newest

    def send(self, after: int, max_bytes: int, token: int) -> Callable[[], None]:
        assert self.feed is not None
        found = [(s, data) for s, data in self.episodes if s > after][:2]
        self.feed.answer(token, found, self.newest)
        return lambda: None

    def pump(self) -> None:
        """Let the feed receive all there is."""
        assert self.feed is not None
        self.feed.status(self.newest)
        for _ in range(len(self.episodes) + 3):
            self.feed.poll(self.up)


@dataclass(frozen=True)
class FakeConfig(Config):
    """What the fake method is told."""

    size: int = setting(8, "Size of the fake model.")


class FakeTrainer:
    """Counts; `seen` holds the newest sequence of the experience at each update."""

    title = "float32 of a fake, 1 thread"

    def __init__(self, size: int, inputs: Inputs) -> None:
        self.inputs = inputs
        self.configuration = {"model": {"size": size}}
        self.count = 0
        self.seen: list[int] = []
        self.finite_until = 10**9  # updates; those after are not finite

    def update(self, experience: Experience) -> dict[str, float]:
        if self.count >= self.finite_until:
            return {"loss": float("nan")}
        self.count += 1
        self.seen.append(experience.spans[-1].sequence)
        return {"loss": float(self.count), "other_loss": 1.0}

    def held_out(self, experience: Experience) -> dict[str, float]:
        evaluations = [span for span in experience.spans if span.evaluation]
        return {"held_out_loss": float(len(evaluations))} if evaluations else {}

    def weights(self, full: bool) -> Weights:
        return Weights("hash", "{}", str(self.count).encode())

    def state(self) -> State:
        return State({"count": np.array([self.count])}, {})

    def load_state(self, state: State) -> None:
        self.count = int(state.tensors["count"].item())


@dataclass
class Rig:
    """A learner and what came out of it."""

    data_dir: Path
    settings: dict[str, Config] = field(default_factory=lambda: {"model": FakeConfig()})
    time: float = 0.0
    blind: bool = False  # what is learnt needs no images
    publications: list[Weights] = field(default_factory=list)
    metrics: list[Metrics] = field(default_factory=list)
    reports: dict[str, tuple[str, str]] = field(default_factory=dict)
    replay: FakeReplay = field(default_factory=FakeReplay)
    learner: Learner = field(init=False)
    trainers: list[FakeTrainer] = field(default_factory=list)

    def start(self, fake: bool = True, **config: Any) -> Learner:
        """Make a learner on the data directory; the one before must have ended."""

        def report(name: str, level: str, message: str, **_: object) -> None:
            self.reports[name] = (level, message)

        def make(settings: Settings, robot: Inputs, *_: object) -> FakeTrainer:
            size = setting_of(settings, "model", FakeConfig).size
            cameras = () if self.blind else robot.cameras
            self.trainers.append(FakeTrainer(size, Inputs(cameras, robot.action_size, 0)))
            return self.trainers[-1]

        method = Method({"model": FakeConfig}, {}, lambda *_: None, make, make)  # type: ignore[arg-type]

        feed = Feed(self.replay.send, report, self.clock)
        feed.wait = lambda timeout: None  # type: ignore[method-assign]
        self.replay.feed = feed
        self.replay.pump()
        defaults: dict[str, Any] = {
            "seed_episodes": 2,
            "pretrain_updates": 5,
            "collect_interval": 3,
            "publish_seconds": 1e9,
            "publish_updates": 10**9,
            "checkpoint_seconds": 1e9,
            "capacity_steps": 1000,
        }
        self.learner = Learner(
            LearnerConfig(data_dir=str(self.data_dir), **{**defaults, **config}),
            self.settings,
            feed=feed,
            publish=self.publications.append,
            publish_metrics=self.metrics.append,
            report=report,
            log=logging.getLogger("test"),
            clock=self.clock,
            method=method if fake else None,
        )
        return self.learner

    def clock(self) -> float:
        return self.time

    @property
    def trainer(self) -> FakeTrainer:
        return self.trainers[-1]

    def steps(self, count: int, seconds: float = 0.0) -> None:
        """Let the learner make `count` steps, each of which takes `seconds`."""
        for _ in range(count):
            self.learner.step()
            self.time += seconds

    def saved(self) -> Checkpoint:
        """The newest checkpoint of a learner that has ended."""
        checkpoints = Checkpoints(self.data_dir / "checkpoints")
        found = checkpoints.newest()
        checkpoints.close()
        assert found is not None
        return found

    def kill(self) -> None:
        """End the learner as SIGKILL would: nothing is written, locks are released."""
        self.learner._checkpoints.close()
        self.learner._metrics.close()

    def end(self) -> None:
        """End the learner as SIGTERM would."""
        self.learner.stop()
        self.learner.run()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return build_episode
