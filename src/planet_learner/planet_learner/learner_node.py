"""The learner node: trains on the replay's episodes and publishes the weights.

Uses
    /replay/get_episodes (planet_msgs/GetEpisodes), /replay/status (planet_msgs/ReplayStatus)

Topics
    /learner/weights (planet_msgs/Weights, latched): each version, and again at the start.
    /learner/metrics (planet_msgs/Metrics): a row every `metrics_updates` updates.
    /diagnostics

Parameters
    those of LearnerConfig, and those that any method is trained with

Files, under the parameter data_dir
    checkpoints/, metrics/updates.csv, metrics/tensorboard/
"""

from __future__ import annotations

import array
import sys
import threading
import time
from collections.abc import Callable

from planet_msgs.msg import Metrics as MetricsMessage
from planet_msgs.msg import ReplayStatus
from planet_msgs.msg import Weights as WeightsMessage
from planet_msgs.srv import GetEpisodes
from rclpy.node import Node
from rclpy.task import Future

from planet_core.method import MethodError, training_parameters
from planet_core.run_id import RunFilter
from planet_core.weights import Weights
from planet_learner.config import LearnerConfig
from planet_learner.feed import Feed
from planet_learner.learner import DivergedError, Learner, LearnerError
from planet_learner.metrics import Metrics
from planet_node.diagnostics import Diagnostics
from planet_node.exclusive import Exclusive
from planet_node.logs import forward
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import LATCHED, STREAM


class LearnerNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("learner")
        config = declare(self, LearnerConfig)
        try:
            training = training_parameters()
        except MethodError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        settings = {prefix: declare(self, kind, prefix) for prefix, kind in training.items()}
        report = Diagnostics(self).report
        self._run = RunFilter(config.run_id, report)
        self._weights_publisher = self.create_publisher(WeightsMessage, "/learner/weights", LATCHED)
        self._metrics_publisher = self.create_publisher(MetricsMessage, "/learner/metrics", STREAM)
        self._exclusive = Exclusive(self, report, self._weights_publisher, self._metrics_publisher)
        log = forward("planet_learner", self)
        self._feed = Feed(self._send, report, time.monotonic)
        try:
            self._learner = Learner(
                config,
                settings,
                feed=self._feed,
                publish=self._publish,
                publish_metrics=self._publish_metrics,
                report=report,
                log=log,
            )
        except LearnerError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        self._client = self.create_client(GetEpisodes, "/replay/get_episodes")
        self.create_subscription(ReplayStatus, "/replay/status", self._on_status, LATCHED)
        self.create_timer(0.2, self._poll)
        # The executor's threads only receive: a callback never waits for an update.
        self._thread = threading.Thread(target=self._learn, name="learner")
        self._thread.start()

    def close(self) -> None:
        """Let the update under way end, and write a checkpoint."""
        self._learner.stop()
        self._thread.join()

    def _learn(self) -> None:
        try:
            self._learner.run()
        except DivergedError as error:
            fail(self, StartupError(f"{self.get_name()}: {error}."))
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the node, loudly)
            fail(self, error)

    def _poll(self) -> None:
        self._feed.poll(self._client.service_is_ready())

    def _on_status(self, message: ReplayStatus) -> None:
        if self._run.refusal("/replay/status", message.run_id) is None:
            self._feed.status(message.newest_sequence)
            self._poll()

    def _send(self, after: int, max_bytes: int, token: int) -> Callable[[], None]:
        request = GetEpisodes.Request(after_sequence=after, max_bytes=max_bytes)
        future = self._client.call_async(request)
        future.add_done_callback(lambda done: self._on_episodes(token, done))
        return lambda: self._client.remove_pending_request(future)

    def _on_episodes(self, token: int, future: Future) -> None:
        response = future.result()
        answers = "an answer of /replay/get_episodes"
        if response is None or self._run.refusal(answers, response.run_id) is not None:
            self._feed.fail(token)
            return
        episodes = [(e.sequence, bytes(e.safetensors)) for e in response.episodes]
        self._feed.answer(token, episodes, response.newest_sequence)
        self._poll()

    def _publish(self, weights: Weights) -> None:
        fields = dict(vars(weights))
        fields["safetensors"] = array.array("B", fields.pop("data"))
        self._weights_publisher.publish(WeightsMessage(**fields))

    def _publish_metrics(self, metrics: Metrics) -> None:
        fields = dict(vars(metrics))
        del fields["wall_time"]
        losses = fields.pop("losses")
        message = MetricsMessage(
            **fields, loss_names=list(losses), loss_values=list(losses.values())
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._metrics_publisher.publish(message)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(LearnerNode)


if __name__ == "__main__":
    sys.exit(main())
