"""Which policy makes the next episode, with which weights, and from which start."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from planet_core.clocks import Clock
from planet_core.episode import Episode
from planet_core.method import Actor, Settings
from planet_core.robot_spec import RobotSpec
from planet_core.weights import Weights
from planet_roller.config import RollerConfig
from planet_roller.inbox import Inbox, ReplayStatus
from planet_roller.policy import (
    ActorPolicy,
    Policy,
    RandomPolicy,
    WeightsRefusedError,
    load_actor,
)
from planet_roller.spool import Courier
from planet_roller.telemetry import Telemetry

_STATUS_PATIENCE = 1.0  # s for the replay's status before it is told that it is waited for
_TRAINING_SEEDS = (10_000_000, 2**31)  # from, to before; held-out ones are below

LoadActor = Callable[..., Actor]


class Scheduling:
    """Decides between two episodes.

    Args:
        settings: of all methods' actors, by prefix.
        decision: what a decision lasts (s); None when the robot waits for each.
    """

    def __init__(
        self,
        config: RollerConfig,
        settings: Settings,
        spec: RobotSpec,
        decision: float | None,
        courier: Courier,
        inbox: Inbox,
        telemetry: Telemetry,
        clock: Clock,
        load: LoadActor = load_actor,
    ) -> None:
        self._config = config
        self._settings = settings
        self._spec = spec
        self._decision = decision
        self._courier = courier
        self._inbox = inbox
        self._telemetry = telemetry
        self._clock = clock
        self._load = load
        self._actor: Actor | None = None
        self._version = 0  # of the actor's weights
        self._seen_weights: Weights | None = None
        self._pace = ""
        self._planned = 0

    def begin(self) -> None:
        """Begin, or go on with a run that has episodes.

        What is random is reproducible, and yet not the same again after a restart. Raises
        StoppedError.
        """
        self._wait_for_status()
        status = self._inbox.status
        sequence = status.newest_sequence if status is not None else 0
        self._begun_after = sequence
        rng = np.random.default_rng((self._config.seed, sequence))
        self._rng = rng
        self._starts = rng.spawn(1)[0]  # when weights come changes no start
        self._random = RandomPolicy(self._spec.action_size, self._config.seed_action_holds, rng)
        # Else short sessions would have no evaluation, or all the same ones. Where every episode
        # is one, the seeds asked for are wanted, from the first on.
        if self._config.evaluation_interval > 1:
            self._planned = max(0, sequence - self._config.seed_episodes)

    def next(self) -> Policy:
        """Return the policy of the next episode. Raises StoppedError and TooSlowError."""
        status = self._inbox.status or ReplayStatus(0, 0)
        collected = status.training_episodes + self._courier.training_beyond(status.newest_sequence)
        if collected < self._config.seed_episodes:
            return self._random
        if self._config.mode == "sync":
            self._wait_for_learner()
        self._adopt()
        while self._actor is None:
            if not self._wait_for_weights():
                return self._random
            self._adopt()
        self._wait_for_ratio()
        interval = self._config.evaluation_interval
        evaluation = interval > 0 and (self._planned + 1) % interval == 0
        return ActorPolicy(self._actor, self._version, evaluation=evaluation)

    def start_seed(self, policy: Policy) -> int:
        """Return the seed that the robot's reset gets."""
        if policy.kind == "evaluation":
            number = self._planned // self._config.evaluation_interval
            return self._config.evaluation_seed + number
        return int(self._starts.integers(*_TRAINING_SEEDS))

    def made(self, episode: Episode) -> None:
        """Take notice of an episode that was made."""
        if episode.policy != "random":
            self._planned += 1

    def _wait_for_status(self) -> None:
        """A run that goes on must not begin with random episodes because the replay is slower."""

        def known() -> bool:
            return self._inbox.status is not None

        patience = self._config.patience
        if not self._wait(known, min(patience, _STATUS_PATIENCE)):
            self._telemetry.log(f"waiting up to {patience:g} s for the replay's status")
            self._wait(known, patience - _STATUS_PATIENCE)

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

    def _wait_for_ratio(self) -> None:
        """Pause until the learner has made as many updates per decision as are asked for."""
        ratio = self._config.train_ratio

        def enough() -> bool:
            weights, status = self._inbox.weights, self._inbox.status
            return weights is None or status is None or weights.update >= ratio * status.decisions

        if ratio > 0.0 and self._config.mode == "async" and not self._wait(enough, 0.0):
            self._telemetry.report("pace", "ok", "pausing: the learner is behind train_ratio")
            self._wait(enough, math.inf)
            self._telemetry.report("pace", "ok", "acting")
            self._adopt()

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
            actor = self._load(
                weights, self._spec, self._settings, self._config.device, seed, self._actor
            )
        except WeightsRefusedError as error:
            self._telemetry.report("weights", "error", f"refused: {error}")
            return
        pace = actor.pace(self._decision, self._clock)
        if pace != self._pace:
            self._telemetry.log(f"planner: {pace}")
        self._pace = pace
        self._telemetry.report("planner", "warn" if actor.warning else "ok", actor.warning or pace)
        self._actor, self._version = actor, weights.version
        self._telemetry.report("weights", "ok", "acting", version=weights.version)

    def _wait(self, met: Callable[[], bool], timeout: float) -> bool:
        return self._inbox.wait(self._clock, met, timeout)
