"""Prints a line of progress every few seconds, and who is waited for.

Subscribes (relative): transition, robot_spec, operator/request.
Subscribes (absolute): /learner/metrics, /replay/status.
"""

from __future__ import annotations

import sys
import time

from planet_msgs.msg import Metrics, OperatorRequest, ReplayStatus, RobotSpec, Transition
from rclpy.node import Node

from planet_bringup.config import ProgressConfig
from planet_bringup.progress import EpisodeEnd, Progress
from planet_node.main import run
from planet_node.parameters import declare
from planet_node.qos import LATCHED, STREAM


class ProgressNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("progress")
        config = declare(self, ProgressConfig)
        self.progress = Progress(time.monotonic(), usual_updates=config.usual_updates)
        self.create_subscription(Transition, "transition", self._on_transition, STREAM)
        self.create_subscription(RobotSpec, "robot_spec", self._on_spec, LATCHED)
        self.create_subscription(OperatorRequest, "operator/request", self._on_request, LATCHED)
        self.create_subscription(Metrics, "/learner/metrics", self._on_metrics, STREAM)
        self.create_subscription(ReplayStatus, "/replay/status", self._on_status, LATCHED)
        self.create_timer(config.period, self._print_line)

    def _on_transition(self, message: Transition) -> None:
        self.progress.latencies.append(message.latency)
        if message.terminated or message.truncated:
            self.progress.add(
                EpisodeEnd(message.policy, message.episode_return, bool(message.touched))
            )

    def _on_spec(self, message: RobotSpec) -> None:
        self.progress.robot = True

    def _on_request(self, message: OperatorRequest) -> None:
        self.progress.asked_at = time.monotonic()
        self.progress.asked = "" if message.state == "running" else message.sentence

    def _on_metrics(self, message: Metrics) -> None:
        self.progress.updates = message.update
        self.progress.updates_per_second = message.updates_per_second
        self.progress.weights_version = message.weights_version

    def _on_status(self, message: ReplayStatus) -> None:
        self.progress.replay = True
        self.progress.episodes_stored = message.episodes

    def _print_line(self) -> None:
        print(self.progress.line(time.monotonic()), flush=True)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(ProgressNode)


if __name__ == "__main__":
    sys.exit(main())
