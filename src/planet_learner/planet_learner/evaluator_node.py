"""The evaluator node: publishes a trained model's weights, and judges the episodes that come of it.

It stands in the learner's place. The roller is told to evaluate only, from the same seed on.

Topics
    /learner/weights (planet_msgs/Weights, latched): those of the checkpoint, once.
Subscribes
    /replay/status (planet_msgs/ReplayStatus): says when to look for episodes.
    /diagnostics: what keeps the roller from acting ends this node, with the roller's reason.

Parameters
    those of EvaluatorConfig

Files, under the parameter data_dir
    episodes/ is read; evaluation.csv, evaluation.json, video.webm and weights.safetensors are
    written when all episodes were made, and the node ends.
"""

from __future__ import annotations

import array
import secrets
import sys
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from planet_msgs.msg import ReplayStatus, Weights
from rclpy.node import Node

from planet_core import durable
from planet_core.episode import Episode
from planet_core.run_id import RunFilter
from planet_core.weights import to_file
from planet_learner import evaluation, evaluation_video
from planet_learner.config import EvaluatorConfig
from planet_learner.evaluation import Evaluation, EvaluationError
from planet_node.diagnostics import Diagnostics
from planet_node.exclusive import Exclusive
from planet_node.main import StartupError, fail, run, stop
from planet_node.parameters import declare
from planet_node.qos import LATCHED, STREAM

EPISODES_PER_LINE = 10
PATIENCE = 300.0  # s without an episode, whatever is started again meanwhile


class EvaluatorNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("evaluator")
        self._config = declare(self, EvaluatorConfig)
        self._data_dir = Path(self._config.data_dir).expanduser()
        try:
            self._trained = evaluation.read(Path(self._config.checkpoint).expanduser())
        except EvaluationError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        # Not the count of updates: episodes tell by it that they are of this evaluation.
        self._version = 1 + secrets.randbelow(2**32)
        self._evaluation = Evaluation(self._config, self._version)
        self._last_episode = time.monotonic()
        self._complaint = "nothing was heard of the roller"
        self._looked_at: set[Path] = set(self._stored())
        self._film: list[tuple[int, Episode]] = []
        self._film_seconds = 0.0
        print(
            f"{self._trained.path}: {self._trained.weights.update} updates, seeds "
            f"{self._config.seed} to {self._config.seed + self._config.episodes - 1}",
            flush=True,
        )
        report = Diagnostics(self).report
        self._run = RunFilter(self._config.run_id, report)
        publisher = self.create_publisher(Weights, "/learner/weights", LATCHED)
        self._exclusive = Exclusive(self, report, publisher)
        publisher.publish(self._weights())
        self.create_subscription(ReplayStatus, "/replay/status", self._on_status, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, STREAM)
        self.create_timer(1.0, self._check_patience)

    def _weights(self) -> Weights:
        weights = self._trained.weights
        return Weights(
            run_id=self._config.run_id,
            version=self._version,
            update=weights.update,
            architecture_hash=weights.architecture_hash,
            config_json=weights.config_json,
            safetensors=array.array("B", weights.data),
        )

    def _stored(self) -> list[Path]:
        """The stored episodes, oldest first."""
        directory = self._data_dir / "episodes"
        return list(durable.files(directory)) if directory.is_dir() else []

    def _on_status(self, message: ReplayStatus) -> None:
        if self._run.refusal("/replay/status", message.run_id) is not None:
            return
        for path in self._stored():
            if path in self._looked_at or path.name.endswith(durable.PARTIAL_SUFFIX):
                continue
            self._looked_at.add(path)
            episode = evaluation.read_episode(path)
            if episode is None:
                continue
            try:
                self._take(episode)
            except EvaluationError as error:
                fail(self, StartupError(f"{error}."))
                return

    def _take(self, episode: Episode) -> None:
        if self._evaluation.shows_life(episode):
            self._last_episode = time.monotonic()
        row = self._evaluation.add(episode)
        if row is None:
            return
        if self._config.video and self._film_seconds < evaluation_video.SECONDS:
            self._film.append((row.episode, episode))
            self._film_seconds += evaluation_video.duration(episode)
        made = len(self._evaluation.rows)
        if made % EPISODES_PER_LINE == 0:
            touched = self._evaluation.touched
            print(f"{made} of {self._config.episodes} episodes, touched {touched}", flush=True)
        if self._evaluation.complete:
            self._finish()

    def _finish(self) -> None:
        trained = self._trained
        durable.replace(self._data_dir / "weights.safetensors", to_file(trained.weights))
        if self._film:
            video = self._data_dir / "video.webm"
            print(f"writing {video}", flush=True)
            try:
                evaluation_video.write(video, trained.weights, self._film)
            except (
                evaluation_video.VideoError,
                ValueError,
            ) as error:  # what was measured is worth more
                self.get_logger().error(f"there is no video: {error}")
        found = self._evaluation.write(self._data_dir, trained)
        rate, low, high = (
            round(100 * found[name]) for name in ("touch_rate", "touch_rate_low", "touch_rate_high")
        )
        steps = found["steps_to_touch_median"]
        print(
            f"touch rate {rate} % (95 % interval: {low} to {high} %), "
            f"return {found['return_mean']:.2f} ± {found['return_std']:.2f}"
            + (f", {steps:g} decisions to a touch" if steps else ""),
            flush=True,
        )
        stop()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if not node.endswith("/roller"):
                continue
            self._complaint = f"the last of the roller is {part}: {status.message}"
            if part == "weights" and status.level == DiagnosticStatus.ERROR:
                fail(self, StartupError(f"the roller cannot act: {status.message}."))

    def _check_patience(self) -> None:
        if time.monotonic() - self._last_episode > PATIENCE:
            sentence = f"no episode was made for {PATIENCE:.0f} s; {self._complaint}."
            fail(self, StartupError(sentence))


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(EvaluatorNode)


if __name__ == "__main__":
    sys.exit(main())
