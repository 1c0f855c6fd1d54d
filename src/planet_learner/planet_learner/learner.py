"""The learner: receive episodes, update, publish, checkpoint, in one thread and without ROS.

When it updates and publishes, :mod:`planet_learner.schedules` decides; what is learnt how, the
method does; what is saved when, :mod:`planet_learner.saving` does.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from planet_core import durable
from planet_core.episode_format import image_shape
from planet_core.method import Inputs, Method, Settings, Trainer, find
from planet_core.report import Report
from planet_core.weights import Weights
from planet_learner.checkpoint import Checkpoint, Checkpoints
from planet_learner.config import LearnerConfig
from planet_learner.feed import Feed
from planet_learner.intake import Intake
from planet_learner.metrics import Metrics, MetricsWriter, Window
from planet_learner.mirror import check_memory
from planet_learner.saving import RunState, Saver
from planet_learner.schedules import Progress, make_schedule

MAX_FAILURES = 10
"""Updates in a row that may fail before the learner gives up (see :class:`LearnerError`)."""

_WAIT = 0.5  # s; bounds how late a checkpoint is while there is nothing to train on
_TOLD = 10.0  # s; a new start is told for so long: who listens takes a while to find a new node


class LearnerError(Exception):
    """The learner cannot start or go on; the message is one sentence for the operator."""


class DivergedError(LearnerError):
    """No update is finite, and starting again would not help."""


class Learner:
    """See the module's docstring.

    Args:
        config: the learner's own parameters.
        settings: the method's.
        feed: where episodes come from.
        publish: is given every version of the weights, from the learner's thread.
        publish_metrics: is given every row of metrics, from the learner's thread.
        report: is told the state of the training.
        log: is told of what happens once.
        clock: monotonic seconds.
        method: replaces what `config.method` names, in tests.

    Raises:
        LearnerError: the directory, the method, the device, the memory or an earlier run's
            checkpoint does not allow it.
    """

    def __init__(
        self,
        config: LearnerConfig,
        settings: Settings,
        *,
        feed: Feed,
        publish: Callable[[Weights], None],
        publish_metrics: Callable[[Metrics], None],
        report: Report,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
        method: Method | None = None,
    ) -> None:
        self._config = config
        self._settings = settings
        self._feed = feed
        self._publish_to = publish
        self._publish_metrics = publish_metrics
        self._report = report
        self._log = log
        self._clock = clock
        self._stopping = False
        self._trainer: Trainer | None = None
        self._robot: Inputs | None = None
        self._progress = Progress()
        self._failures = 0  # updates in a row that were not finite
        self._failed_updates = 0
        self._resumed_from: Path | None = None  # until an update of this process was finite
        self._published: Weights | None = None
        self._held_out: Mapping[str, float] = {}  # of the last publication
        self._told_until = 0.0
        data_dir = Path(config.data_dir).expanduser()
        try:
            self._method = method or find(config.method)
            self._method.prepare(config.device, config.threads)
            self._checkpoints = Checkpoints(data_dir / "checkpoints", log)
            if (checkpoint := self._checkpoints.newest()) is None:
                # A wrong parameter is told at once, before a robot is known.
                inputs = self._make_trainer(Inputs(("any",), 1, 2)).inputs
            else:
                inputs = self._resume(checkpoint).inputs
                self._told_until = clock() + _TOLD
            images = image_shape(inputs.cameras)
            check_memory(config.capacity_steps, images, inputs.action_size, inputs.state_size)
            self._metrics = MetricsWriter(data_dir / "metrics", self._progress.update)
        except (durable.DirectoryError, OSError, ValueError) as error:
            raise LearnerError(str(error)) from error
        self._begin()
        self._window = Window(clock())

    def run(self) -> None:
        """Learn until `stop` is called, then write a checkpoint.

        Raises:
            LearnerError: the training cannot go on.
        """
        try:
            if self._progress.pretrained and self._published is None:
                self._publish()  # whoever has lost the weights gets them at once
            while not self._stopping:
                self.step()
            self._save_at_the_end()
        finally:
            self._metrics.close()
            self._checkpoints.close()

    def stop(self) -> None:
        """Let `run` return after the update that it is making. Safe from any thread."""
        self._stopping = True
        self._feed.stop()

    def step(self) -> None:
        """Take what has arrived, then make one update, or wait for data when none is due."""
        try:
            answer = self._intake.take()
        except ValueError as error:
            raise LearnerError(str(error)) from error
        if answer and self._progress.owed == 0 and self._published is not None:
            self._publish_again()
        if self._due():
            self._update()
        else:
            begin = self._clock()
            self._feed.wait(_WAIT)
            self._window.waited += self._clock() - begin

    def _begin(self) -> None:
        """Set up what depends on the progress, at the start and when it is set back."""
        config, progress = self._config, self._progress
        self._saver = Saver(self._checkpoints, progress.update, config, self._report, self._clock)
        self._schedule = make_schedule(config, progress, self._clock)
        self._intake = Intake(
            self._feed,
            config.capacity_steps,
            config.seed_episodes,
            progress,
            self._schedule,
            inputs=self._inputs_of,
            report=self._report,
            log=self._log,
            now=self._clock(),
        )

    def _inputs_of(self, robot: Inputs) -> Inputs:
        if self._trainer is None:
            self._trainer = self._make_trainer(robot)
            self._log.info("learner: %s", self._trainer.title)
        return self._trainer.inputs

    def _make_trainer(self, robot: Inputs) -> Trainer:
        self._robot = robot
        device, seed = self._config.device, self._config.seed
        return self._method.make_trainer(self._settings, robot, device, seed)

    def _due(self) -> bool:
        """Whether an update is to be made now; if not, tell what is waited for."""
        update = self._progress.update
        if not self._intake.refilled:
            # A robot that acts on notices nothing of it; whoever watches should.
            sentence = f"started again at update {update}: waiting for the replay's episodes"
            self._report("training", "warn", sentence, update=update)
            return False
        waits_for = self._schedule.waits_for()
        if waits_for is None and self._intake.held == 0:
            waits_for = "an episode"
        if waits_for is None:
            return True
        self._report("training", "ok", f"waiting for {waits_for}", update=update)
        return False

    def _update(self) -> None:
        assert self._trainer is not None
        assert self._intake.mirror is not None
        if self._saver.due(self._progress.update):
            self._hold()
        losses = self._trainer.update(self._intake.mirror)
        if not np.isfinite(list(losses.values())).all():
            self._count_failure(losses)
            return
        self._failures = 0
        self._resumed_from = None
        self._saver.write()
        self._progress.update += 1
        self._window.updates.append(losses)
        if self._schedule.updated():
            self._publish()
        if self._progress.update % self._config.metrics_updates == 0:
            self._write_metrics()
        again = "started again: " if self._clock() < self._told_until else ""
        self._report(
            "training",
            "warn" if again else "ok",
            f"{again}training",
            update=self._progress.update,
            episodes=self._intake.held,
            failed_updates=self._failed_updates,
        )

    def _count_failure(self, losses: Mapping[str, float]) -> None:
        self._failures += 1
        self._failed_updates += 1
        self._saver.drop()
        what = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._report(
            "training",
            "warn",
            "an update was not finite and was not applied",
            update=self._progress.update,
            failed_updates=self._failed_updates,
            last=what,
        )
        if self._failures < MAX_FAILURES:
            return
        reason = f"{MAX_FAILURES} updates in a row were not finite"
        if self._resumed_from is not None:
            self._go_back(reason)
            return
        sentence = f"{reason} after update {self._progress.update} ({what})"
        if self._saver.update == 0:
            raise DivergedError(f"{sentence}: a lower learning_rate or gradient_clip may help")
        raise LearnerError(f"{sentence}; a restart resumes from update {self._saver.update}")

    def _go_back(self, reason: str) -> None:
        """Resume from the checkpoint before the one that cannot be trained on."""
        assert self._resumed_from is not None
        directory = self._resumed_from.parent
        self._checkpoints.set_aside(self._resumed_from, f"{reason} from it on")
        self._failures, self._resumed_from = 0, None
        if (checkpoint := self._checkpoints.newest()) is None:
            raise DivergedError(
                f"{reason} from any checkpoint in {directory} on: a lower learning_rate or "
                "gradient_clip may help, in a new data_dir"
            )
        mirror, refilled = self._intake.mirror, self._intake.refilled
        self._resume(checkpoint)
        self._begin()
        self._intake.mirror, self._intake.refilled = mirror, refilled

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
            run_id=self._config.run_id or self._checkpoints.run_id,
            version=self._checkpoints.version,
            update=self._progress.update,
            replay_sequence=self._progress.replay_sequence,
        )
        self._schedule.published()
        self._publish_to(self._published)
        if self._intake.mirror is not None:
            self._held_out = self._trainer.held_out(self._intake.mirror)

    def _publish_again(self) -> None:
        """Publish the same version under a newer sequence, which owed no update."""
        assert self._published is not None
        sequence = self._progress.replay_sequence
        self._published = dataclasses.replace(self._published, replay_sequence=sequence)
        self._publish_to(self._published)

    def _write_metrics(self) -> None:
        assert self._trainer is not None
        now = self._clock()
        average = self._window.average(now)
        metrics = Metrics(
            wall_time=time.time(),
            update=self._progress.update,
            weights_version=self._published.version if self._published else 0,
            replay_sequence=self._progress.replay_sequence,
            episodes=self._intake.held,
            losses=average.losses | dict(self._held_out),
            updates_per_second=average.updates_per_second,
            data_wait=average.data_wait,
            staleness=now - self._intake.received_at,
            learner=self._trainer.title,
        )
        self._window = Window(now)
        try:
            self._metrics.write(metrics)
        except OSError as error:
            self._report("metrics", "warn", f"a row is not written: {error}")
        else:
            self._report("metrics", "ok", "written")
        self._publish_metrics(metrics)

    # Checkpoints.

    def _hold(self) -> None:
        """Hold what is there now as the next checkpoint, until an update proves it."""
        assert self._trainer is not None
        assert self._robot is not None
        method, trainer = self._config.method, self._trainer
        run = RunState(method, self._robot, self._progress, trainer.configuration)
        self._saver.hold(trainer.state(), run)

    def _save_at_the_end(self) -> None:
        if self._progress.update == self._saver.update or self._intake.mirror is None:
            return
        assert self._trainer is not None
        self._hold()
        losses = self._trainer.update(self._intake.mirror)  # counts for nothing but the proof
        if np.isfinite(list(losses.values())).all():
            self._saver.write()

    def _resume(self, checkpoint: Checkpoint) -> Trainer:
        """Go on from a checkpoint. Raises MethodError when it is of a run set up otherwise."""
        where = checkpoint.path.parent
        run = RunState.from_values(checkpoint.values)
        run.check_method(self._config.method, where)
        trainer = self._make_trainer(run.robot)
        run.check_configuration(trainer, where)
        trainer.load_state(checkpoint.state)
        self._trainer, self._progress = trainer, run.progress
        self._resumed_from = checkpoint.path
        self._log.info("learner: %s", trainer.title)
        run_id, name, update = self._checkpoints.run_id, checkpoint.path.name, run.progress.update
        self._log.info("resumed run %s from %s, update %d", run_id, name, update)
        return trainer
