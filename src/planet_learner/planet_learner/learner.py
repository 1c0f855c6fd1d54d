"""The learner: receive episodes, update, publish, checkpoint, in one thread and without ROS.

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

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from planet_core import durable
from planet_core.episode import IMAGE_SIZE, Episode
from planet_core.report import Report
from planet_core.weights import Weights
from planet_learner.checkpoint import Checkpoint, Checkpoints
from planet_learner.config import LearnerConfig
from planet_learner.feed import Arrived, CaughtUp, Feed
from planet_learner.metrics import Metrics, MetricsWriter
from planet_learner.mirror import Mirror, MirrorError, check_memory
from planet_learner.trainer import Trainer, Update, find_device
from planet_model.config import ModelConfig, NetworkConfig, ObjectiveConfig

MAX_FAILURES = 10
"""Updates in a row that may fail before the learner gives up (see :class:`LearnerError`)."""

_WAIT = 0.5  # s; bounds how late a checkpoint is while there is nothing to train on
_TOLD = 10.0  # s; a new start is told for so long: who listens takes a while to find a new node


class LearnerError(Exception):
    """The learner cannot start or go on; the message is one sentence for the operator.

    When loss or gradient were not finite `MAX_FAILURES` times in a row it is raised without
    writing a checkpoint: started again, the learner resumes from the last one, with other draws.
    """


class TrainerLike(Protocol):
    """What the learner needs of a :class:`Trainer`."""

    model_config: ModelConfig

    @property
    def title(self) -> str: ...
    def update(self, mirror: Mirror) -> Update: ...
    def weights(self, with_decoder: bool) -> Weights: ...
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]: ...
    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None: ...


MakeTrainer = Callable[[ModelConfig, ObjectiveConfig, LearnerConfig], TrainerLike]


@dataclass
class _Progress:
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


@dataclass
class _Window:
    """What is averaged for the next row of metrics."""

    begin: float
    waited: float = 0.0
    updates: list[Update] = field(default_factory=list)


class Learner:
    """See the module's docstring.

    Args:
        config: the learner's own parameters.
        network: sizes of the model; cameras and actions are those of the first episode.
        objective: the loss.
        feed: where episodes come from.
        publish: is given every version of the weights, from the learner's thread.
        publish_metrics: is given every row of metrics, from the learner's thread.
        report: is told the state of the training.
        log: is told of what happens once.
        clock: monotonic seconds.
        make_trainer: replaces :class:`Trainer` in tests.

    Raises:
        LearnerError: the directory, the device, the memory or an earlier run's checkpoint does
            not allow it.
    """

    def __init__(
        self,
        config: LearnerConfig,
        network: NetworkConfig,
        objective: ObjectiveConfig,
        *,
        feed: Feed,
        publish: Callable[[Weights], None],
        publish_metrics: Callable[[Metrics], None],
        report: Report,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
        make_trainer: Callable[
            [ModelConfig, ObjectiveConfig, LearnerConfig], TrainerLike
        ] = Trainer,
    ) -> None:
        self._config = config
        self._network = network
        self._objective = objective
        self._feed = feed
        self._publish_to = publish
        self._publish_metrics = publish_metrics
        self._report = report
        self._log = log
        self._clock = clock
        self._make_trainer = make_trainer
        self._stopping = False
        self._trainer: TrainerLike | None = None
        self._mirror: Mirror | None = None
        self._progress = _Progress()
        self._seen = 0  # training episodes taken into the mirror
        self._received_at = clock()  # of the newest of them
        self._failures = 0  # updates in a row that were not finite
        self._failed_updates = 0
        self._published: Weights | None = None
        self._published_at = self._saved_at = clock()
        self._saved_update = 0
        self._told_until = 0.0
        torch.set_num_threads(config.threads)
        data_dir = Path(config.data_dir).expanduser()
        try:
            find_device(config.device)
            check_memory(config.capacity_steps, (IMAGE_SIZE, IMAGE_SIZE, 3), 1)
            self._checkpoints = Checkpoints(data_dir / "checkpoints", log)
            checkpoint = self._checkpoints.newest()
            if checkpoint is not None:
                self._resume(checkpoint)
                self._told_until = clock() + _TOLD
            self._metrics = MetricsWriter(data_dir / "metrics", self._progress.update)
        except (durable.DirectoryError, OSError, ValueError) as error:
            raise LearnerError(str(error)) from error
        # Up to here the mirror is only filled again; nothing is owed for it any more.
        self._refill_until = self._progress.current_sequence
        self._refilled = self._refill_until == 0
        self._window = _Window(clock())

    def run(self) -> None:
        """Learn until `stop` is called, then write a checkpoint.

        Raises:
            LearnerError: the training cannot go on.
        """
        torch.set_num_threads(self._config.threads)  # it is this thread that trains
        try:
            if self._progress.pretrained and self._published is None:
                self._publish()  # whoever has lost the weights gets them at once
            while not self._stopping:
                self.step()
            if self._progress.update > self._saved_update:
                self._save()
        finally:
            self._metrics.close()
            self._checkpoints.close()

    def stop(self) -> None:
        """Let `run` return after the update that it is making. Safe from any thread."""
        self._stopping = True
        self._feed.stop()

    def step(self) -> None:
        """Take what has arrived, then make one update, or wait for data when none is due."""
        self._take()
        if self._due():
            self._update()
        else:
            begin = self._clock()
            self._feed.wait(_WAIT)
            self._window.waited += self._clock() - begin
        if (
            self._clock() - self._saved_at >= self._config.checkpoint_seconds
            and self._progress.update > self._saved_update
        ):
            self._save()

    # Episodes.

    def _take(self) -> None:
        """Move items into the mirror: all there are, in sync mode only until updates are owed."""
        acknowledge = False
        while (item := self._feed.peek()) is not None:
            if isinstance(item, Arrived) and item.sequence > self._refill_until:
                self._refilled = True
            if self._refilled and self._progress.owed > 0 and self._held() > 0:
                break
            self._feed.take()
            if isinstance(item, Arrived):
                acknowledge |= self._take_episode(item)
            elif isinstance(item, CaughtUp):
                acknowledge |= self._catch_up(item.newest_sequence)
            else:
                self._forget(0)
                if self._mirror is not None:
                    self._mirror.clear()
                self._seen = 0
        if acknowledge and self._progress.owed == 0 and self._published is not None:
            self._publish_again()

    def _take_episode(self, item: Arrived) -> bool:
        """Put an episode into the mirror; return whether its sender waits and nothing is owed."""
        learnt = item.episode is not None and self._add(item.episode, item.sequence)
        if learnt:
            self._seen += 1
            self._received_at = item.time
        progress = self._progress
        if item.sequence <= self._refill_until:
            self._refilled = self._refilled or item.sequence == self._refill_until
            return False
        progress.current_sequence = item.sequence
        if self._config.mode == "async":
            return False
        if learnt and self._seen >= self._config.seed_episodes:
            progress.owed = (
                self._config.collect_interval
                if progress.pretrained
                else self._config.pretrain_updates
            )
            return False
        progress.replay_sequence = item.sequence
        return progress.pretrained

    def _catch_up(self, newest_sequence: int) -> bool:
        """Take notice that nothing more comes up to this sequence; return as `_take_episode`."""
        progress = self._progress
        if newest_sequence < progress.current_sequence:
            self._forget(newest_sequence)
        self._refilled = True
        nothing_new = newest_sequence == progress.replay_sequence
        if self._config.mode == "async" or progress.owed > 0 or nothing_new:
            return False
        # The replay took it and cannot read it any more; whoever sent it must not wait for ever.
        progress.replay_sequence = progress.current_sequence = newest_sequence
        return progress.pretrained

    def _add(self, episode: Episode, sequence: int) -> bool:
        """Put an episode into the mirror, if it is one to learn from."""
        if episode.policy == "evaluation":
            return False
        if self._trainer is None:
            try:
                model = ModelConfig.of(
                    self._network,
                    episode.cameras,
                    episode.action.shape[1],
                    episode.position.shape[1],
                )
            except ValueError as error:
                raise LearnerError(str(error)) from error
            self._trainer = self._make_trainer(model, self._objective, self._config)
            self._log.info("learner: %s", self._trainer.title)
        model = self._trainer.model_config
        if episode.cameras != model.cameras:
            self._skip(
                f"episode '{episode.id}' is skipped: its cameras are {', '.join(episode.cameras)}, "
                f"the model's {', '.join(model.cameras)}"
            )
            return False
        if self._mirror is None:
            self._mirror = self._make_mirror(model)
        try:
            self._mirror.add(episode, sequence)
        except MirrorError as error:
            self._skip(f"skipped: {error}")
            return False
        self._report("episodes", "ok", "learning from them", held=self._mirror.episodes)
        return True

    def _skip(self, reason: str) -> None:
        self._log.warning(reason)
        self._report("episodes", "warn", reason)

    def _make_mirror(self, model: ModelConfig) -> Mirror:
        shape = (IMAGE_SIZE, IMAGE_SIZE * len(model.cameras), 3)
        try:
            return Mirror(self._config.capacity_steps, shape, model.action_size, model.state_size)
        except MirrorError as error:
            raise LearnerError(str(error)) from error

    def _forget(self, newest_sequence: int) -> None:
        """Go on with a replay that is not the one trained on before."""
        self._log.warning(
            "the replay was replaced: sequence %d was trained on, and it holds %d at most; "
            "the mirror starts afresh, the weights are kept",
            self._progress.current_sequence,
            newest_sequence,
        )
        self._progress.replay_sequence = newest_sequence
        self._progress.current_sequence = newest_sequence
        self._progress.owed = 0
        self._refill_until = newest_sequence
        self._refilled = True

    # Training.

    def _due(self) -> bool:
        """Whether an update is to be made now; if not, tell what is waited for."""
        wanted = self._config.seed_episodes
        if not self._refilled:
            # A robot that acts on notices nothing of it; whoever watches should.
            update = self._progress.update
            sentence = f"started again at update {update}: waiting for the replay's episodes"
            self._report("training", "warn", sentence, update=update)
            return False
        if self._config.mode == "sync" and self._progress.owed > 0 and self._held() > 0:
            return True
        early = (self._progress.update + 1) * wanted <= self._seen * self._config.pretrain_updates
        if self._config.mode == "async" and early and self._held() > 0:
            return True
        if self._seen < wanted:
            waits_for = f"seed episodes: {self._seen} of {wanted}"
        elif self._config.mode == "sync" or self._held() == 0:
            waits_for = "an episode"
        else:
            return True
        self._report("training", "ok", f"waiting for {waits_for}", update=self._progress.update)
        return False

    def _held(self) -> int:
        """Number of episodes in the mirror."""
        return 0 if self._mirror is None else self._mirror.episodes

    def _update(self) -> None:
        assert self._trainer is not None
        assert self._mirror is not None
        progress = self._progress
        update = self._trainer.update(self._mirror)
        if not update.applied:
            self._count_failure(update)
            return
        self._failures = 0
        progress.update += 1
        self._window.updates.append(update)
        if self._config.mode == "sync":
            progress.owed -= 1
            if progress.owed == 0:
                progress.replay_sequence = progress.current_sequence
                progress.pretrained = True
                self._publish()
        else:
            progress.replay_sequence = progress.current_sequence
            progress.owed = 0
            if self._publication_due():
                progress.pretrained = True
                self._publish()
        if progress.update % self._config.metrics_updates == 0:
            self._write_metrics()
        again = self._clock() < self._told_until
        self._report(
            "training",
            "warn" if again else "ok",
            "started again: training" if again else "training",
            update=progress.update,
            episodes=self._mirror.episodes,
            failed_updates=self._failed_updates,
        )

    def _publication_due(self) -> bool:
        if not self._progress.pretrained:
            return self._progress.update >= self._config.pretrain_updates
        since = self._progress.update - (self._published.update if self._published else 0)
        return (
            since >= self._config.publish_updates
            or self._clock() - self._published_at >= self._config.publish_seconds
        )

    def _count_failure(self, update: Update) -> None:
        self._failures += 1
        self._failed_updates += 1
        what = f"loss {update.loss}, gradient norm {update.gradient_norm}"
        self._report(
            "training",
            "warn",
            "an update was not finite and was not applied",
            update=self._progress.update,
            failed_updates=self._failed_updates,
            last=what,
        )
        if self._failures >= MAX_FAILURES:
            raise LearnerError(
                f"{MAX_FAILURES} updates in a row were not finite after update "
                f"{self._progress.update} ({what}); a restart resumes from the last checkpoint, "
                "and a lower learning_rate or gradient_clip may help"
            )

    # What leaves the learner.

    def _publish(self) -> None:
        assert self._trainer is not None
        try:
            self._checkpoints.next_version()
        except OSError as error:  # the robots need the weights, whatever the disk does
            self._report("weights", "warn", f"their version cannot be remembered: {error}")
        else:
            self._report("weights", "ok", "published", version=self._checkpoints.version)
        self._published = dataclasses.replace(
            self._trainer.weights(self._config.publish_decoder),
            run_id=self._checkpoints.run_id,
            version=self._checkpoints.version,
            update=self._progress.update,
            replay_sequence=self._progress.replay_sequence,
        )
        self._published_at = self._clock()
        self._publish_to(self._published)

    def _publish_again(self) -> None:
        """Publish the same version under a newer sequence, which owed no update."""
        assert self._published is not None
        self._published = dataclasses.replace(
            self._published, replay_sequence=self._progress.replay_sequence
        )
        self._publish_to(self._published)

    def _write_metrics(self) -> None:
        assert self._mirror is not None
        assert self._trainer is not None
        window, now = self._window, self._clock()
        elapsed = max(now - window.begin, 1e-9)
        n = len(window.updates)
        means = {
            f.name: sum(getattr(u, f.name) for u in window.updates) / n
            for f in dataclasses.fields(Update)
        }
        metrics = Metrics(
            wall_time=time.time(),
            update=self._progress.update,
            weights_version=self._published.version if self._published else 0,
            replay_sequence=self._progress.replay_sequence,
            episodes=self._mirror.episodes,
            updates_per_second=n / elapsed,
            data_wait=window.waited / elapsed,
            staleness=now - self._received_at,
            learner=self._trainer.title,
            **means,
        )
        self._window = _Window(now)
        try:
            self._metrics.write(metrics)
        except OSError as error:
            self._report("metrics", "warn", f"a row is not written: {error}")
        else:
            self._report("metrics", "ok", "written")
        self._publish_metrics(metrics)

    # Checkpoints.

    def _save(self) -> None:
        assert self._trainer is not None
        tensors, values = self._trainer.state()
        self._saved_at = self._clock()
        try:
            self._checkpoints.save(
                self._progress.update,
                tensors,
                {
                    "trainer": values,
                    "progress": dataclasses.asdict(self._progress),
                    "model": self._trainer.model_config.to_dict(),
                    "objective": self._objective.to_dict(),
                },
            )
        except OSError as error:
            self._report("checkpoint", "error", f"the checkpoint was not written: {error}")
        else:
            self._saved_update = self._progress.update
            self._report("checkpoint", "ok", "written", update=self._saved_update)

    def _resume(self, checkpoint: Checkpoint) -> None:
        values = checkpoint.values
        asked = {"model": self._network.to_dict(), "objective": self._objective.to_dict()}
        for part, fields in asked.items():
            for name, value in fields.items():
                held = values[part].get(name)
                if held != value:
                    raise LearnerError(
                        f"{checkpoint.path.parent} holds a run with {part}.{name} = "
                        f"{json.dumps(held)}, but {part}.{name} is {json.dumps(value)}: set it "
                        "back, or choose another data_dir"
                    )
        model = ModelConfig.from_dict(values["model"])
        self._trainer = self._make_trainer(model, self._objective, self._config)
        self._trainer.load_state(checkpoint.tensors, values["trainer"])
        self._log.info("learner: %s", self._trainer.title)
        self._mirror = self._make_mirror(model)
        self._progress = _Progress(**values["progress"])
        self._saved_update = self._progress.update
        self._log.info(
            "resumed run %s from %s, update %d",
            self._checkpoints.run_id,
            checkpoint.path.name,
            self._progress.update,
        )
