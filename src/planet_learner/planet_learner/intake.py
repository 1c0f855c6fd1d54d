"""From the feed into the mirror: which episodes are learnt from, and in which order."""

from __future__ import annotations

import logging
from collections.abc import Callable

from planet_core.episode import Episode
from planet_core.episode_format import image_shape
from planet_core.method import Inputs
from planet_core.report import Report
from planet_learner.feed import Arrived, CaughtUp, Feed
from planet_learner.mirror import Mirror, MirrorError
from planet_learner.schedules import Progress, Schedule


class Intake:
    """The learner's experience, and how it grows.

    A learner that was started again first gets the replay's episodes once more, up to
    `progress.current_sequence`: those fill the mirror, and nothing is owed for them.

    Args:
        inputs: returns what is learnt from of a robot that shows so much; it is called with the
            first training episode's.
    """

    def __init__(
        self,
        feed: Feed,
        capacity_steps: int,
        seed_episodes: int,
        progress: Progress,
        schedule: Schedule,
        *,
        inputs: Callable[[Inputs], Inputs],
        report: Report,
        log: logging.Logger,
        now: float,
    ) -> None:
        self._feed = feed
        self._capacity = capacity_steps
        self._seed_episodes = seed_episodes
        self._progress = progress
        self._schedule = schedule
        self._inputs_of = inputs
        self._report = report
        self._log = log
        self._inputs: Inputs | None = None
        self._recount = progress.episodes == 0  # by an earlier version, which did not count
        self._refill_until = progress.current_sequence
        self.mirror: Mirror | None = None
        self.refilled = self._refill_until == 0
        """Whether all that was there at the start is in the mirror again."""
        self.received_at = now
        """When the newest training episode was received, on the feed's clock."""

    @property
    def held(self) -> int:
        """Number of episodes in the mirror."""
        return 0 if self.mirror is None else self.mirror.episodes

    def take(self) -> bool:
        """Move into the mirror what has arrived, as far as the schedule allows.

        Returns whether somebody waits for weights that are there already.

        Raises:
            MirrorError: there is too little memory.
        """
        answer = False
        while (item := self._feed.peek()) is not None:
            if isinstance(item, Arrived) and item.sequence > self._refill_until:
                self.refilled = True
            if self.refilled and self.held > 0 and not self._schedule.may_take():
                break
            self._feed.take()
            if isinstance(item, Arrived):
                answer |= self._take(item)
            elif isinstance(item, CaughtUp):
                answer |= self._catch_up(item.newest_sequence)
            else:
                self._forget(0)
                if self.mirror is not None:
                    self.mirror.clear()
        return answer

    def _take(self, item: Arrived) -> bool:
        learnt = item.episode is not None and self._add(item.episode, item.sequence)
        if learnt:
            self.received_at = item.time
        again = item.sequence <= self._refill_until
        if learnt and item.episode is not None and (not again or self._recount):
            self._progress.episodes += 1
            self._progress.decisions += item.episode.steps
            self._check_room()
        if again:
            self.refilled |= item.sequence == self._refill_until
            return False
        self._progress.current_sequence = item.sequence
        return self._schedule.took(item.sequence, learnt)

    def _catch_up(self, newest_sequence: int) -> bool:
        if newest_sequence < self._progress.current_sequence:
            self._forget(newest_sequence)
        self.refilled = True
        return self._schedule.caught_up(newest_sequence)

    def _forget(self, newest_sequence: int) -> None:
        """Go on with a replay that is not the one trained on before."""
        progress = self._progress
        self._log.warning(
            "the replay was replaced: sequence %d was trained on, and it holds %d at most; "
            "the mirror starts afresh, the weights are kept",
            progress.current_sequence,
            newest_sequence,
        )
        progress.replay_sequence = progress.current_sequence = newest_sequence
        progress.owed = progress.episodes = progress.decisions = 0
        self._refill_until = newest_sequence
        self.refilled = True

    def _add(self, episode: Episode, sequence: int) -> bool:
        """Put an episode into the mirror; return whether it is one to learn from."""
        evaluation = episode.policy == "evaluation"
        if self._inputs is None and evaluation:
            return False  # what is learnt from is not known yet
        if self._inputs is None:
            robot = Inputs(episode.cameras, episode.action.shape[1], 2 * episode.position.shape[1])
            self._inputs = self._inputs_of(robot)
        inputs = self._inputs
        if inputs.cameras and episode.cameras != inputs.cameras:
            self._skip(
                f"episode '{episode.id}' is skipped: its cameras are "
                f"{', '.join(episode.cameras) or 'none'}, but those that are learnt from are "
                f"{', '.join(inputs.cameras)}"
            )
            return False
        if self.mirror is None:
            shape = image_shape(inputs.cameras)
            self.mirror = Mirror(self._capacity, shape, inputs.action_size, inputs.state_size)
        try:
            self.mirror.add(episode, sequence)
        except MirrorError as error:
            self._skip(f"skipped: {error}")
            return False
        self._report("episodes", "ok", "learning from them", held=self.mirror.episodes)
        return not evaluation

    def _check_room(self) -> None:
        """Warn where episodes are dropped before the first weights know them."""
        taken = self._progress.episodes
        if self.held < taken <= self._seed_episodes:
            self._report(
                "capacity",
                "warn",
                f"capacity_steps = {self._capacity} has room for {self.held} episodes, fewer than "
                f"seed_episodes = {self._seed_episodes}: the oldest are dropped already",
            )

    def _skip(self, reason: str) -> None:
        self._log.warning(reason)
        self._report("episodes", "warn", reason)
