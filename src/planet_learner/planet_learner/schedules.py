"""When the learner updates, and when it publishes.

``async`` (Robo-PlaNet): update without pause, from the first training episode on; what has arrived
meanwhile is taken between two updates. While the `seed_episodes` S come in, of `pretrain_updates`
no more are made than the part of S that is there, so that little is learnt by heart of the first
ones. After `pretrain_updates` the weights are published, which thus know all of S; then by time or
by updates, whichever comes first.

``sync`` (PlaNet, Algorithm 1): episodes are taken one by one. The S-th seed episode owes
`pretrain_updates`, every further training episode exactly `collect_interval`, all made on a
mirror that holds it and nothing newer; then the weights are published once, with its sequence.
What is owed is part of the checkpoint, so a restart makes exactly the updates that are missing.
An evaluation episode owes none, nor does one that the replay has lost: the same weights are
published again under its sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from planet_learner.config import LearnerConfig


@dataclass
class Progress:
    """Counters that a checkpoint keeps."""

    update: int = 0
    """Updates made."""
    pretrained: bool = False
    """Whether weights were published."""
    replay_sequence: int = 0
    """Newest sequence that nothing is owed for, and (async) that was trained on."""
    current_sequence: int = 0
    """Newest sequence taken into the mirror."""
    owed: int = 0
    """Updates (sync) to make before the next episode is taken."""
    episodes: int = 0
    """Training episodes ever taken."""
    decisions: int = 0
    """Decisions of those."""


class Schedule(Protocol):
    """Decides on a learner's progress."""

    def may_take(self) -> bool:
        """Whether a further episode may be taken into the mirror now."""

    def took(self, sequence: int, learnt: bool) -> bool:
        """Take notice of an episode, and whether it is one to learn from.

        Returns whether its sender waits for weights that are there already.
        """

    def caught_up(self, newest_sequence: int) -> bool:
        """Take notice that no episode up to this sequence is still to come; return as `took`."""

    def waits_for(self) -> str | None:
        """Return what has to come before the next update; None when one is due now."""

    def updated(self) -> bool:
        """Take notice of an update; return whether the weights are to be published."""

    def published(self) -> None:
        """Take notice that the weights were published."""


def make_schedule(
    config: LearnerConfig, progress: Progress, clock: Callable[[], float]
) -> Schedule:
    """Return the schedule that `config.mode` names."""
    if config.mode == "sync":
        return SyncSchedule(config, progress)
    return AsyncSchedule(config, progress, clock)


class AsyncSchedule:
    """See the module's docstring."""

    def __init__(
        self, config: LearnerConfig, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._progress = progress
        self._clock = clock
        self._published_at = clock()
        self._published_update = 0

    def may_take(self) -> bool:
        """Whatever has arrived is taken."""
        return True

    def took(self, sequence: int, learnt: bool) -> bool:
        """Nobody waits."""
        return False

    def caught_up(self, newest_sequence: int) -> bool:
        """Nobody waits."""
        return False

    def waits_for(self) -> str | None:
        """Seed episodes, or decisions that `train_ratio` asks for."""
        config, progress = self._config, self._progress
        wanted, done = config.seed_episodes, progress.update
        if progress.episodes < wanted:
            if (done + 1) * wanted <= progress.episodes * config.pretrain_updates:
                return None
            return f"seed episodes: {progress.episodes} of {wanted}"
        if config.train_ratio and done >= config.train_ratio * progress.decisions:
            return f"decisions: {done} updates were made on {progress.decisions}"
        return None

    def updated(self) -> bool:
        """The weights are published by time or by updates."""
        progress, config = self._progress, self._config
        progress.replay_sequence = progress.current_sequence
        progress.owed = 0
        if not progress.pretrained:
            progress.pretrained = progress.update >= config.pretrain_updates
            return progress.pretrained
        return (
            progress.update - self._published_update >= config.publish_updates
            or self._clock() - self._published_at >= config.publish_seconds
        )

    def published(self) -> None:
        """Count from here."""
        self._published_at = self._clock()
        self._published_update = self._progress.update


class SyncSchedule:
    """See the module's docstring."""

    def __init__(self, config: LearnerConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress

    def may_take(self) -> bool:
        """Only when nothing is owed."""
        return self._progress.owed == 0

    def took(self, sequence: int, learnt: bool) -> bool:
        """An episode to learn from owes updates from the last seed episode on."""
        progress, config = self._progress, self._config
        if learnt and progress.episodes >= config.seed_episodes:
            progress.owed = (
                config.collect_interval if progress.pretrained else config.pretrain_updates
            )
            return False
        progress.replay_sequence = sequence
        return progress.pretrained

    def caught_up(self, newest_sequence: int) -> bool:
        """Whoever sent an episode that the replay has lost must not wait for ever."""
        progress = self._progress
        if progress.owed > 0 or newest_sequence == progress.replay_sequence:
            return False
        progress.replay_sequence = progress.current_sequence = newest_sequence
        return progress.pretrained

    def waits_for(self) -> str | None:
        """Only what is owed is made."""
        progress, wanted = self._progress, self._config.seed_episodes
        if progress.owed > 0:
            return None
        if progress.episodes < wanted:
            return f"seed episodes: {progress.episodes} of {wanted}"
        return "an episode"

    def updated(self) -> bool:
        """The weights are published once nothing is owed any more."""
        progress = self._progress
        progress.owed -= 1
        if progress.owed > 0:
            return False
        progress.replay_sequence = progress.current_sequence
        progress.pretrained = True
        return True

    def published(self) -> None:
        """Nothing depends on it."""
