"""What one node alone may publish or serve: a second one is an ERROR in diagnostics."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.service import Service

from planet_core.report import Report

# A node that was killed is still there for DDS until its lease of 20 s ends: a node that takes its
# place would call it a second one.
_PATIENCE = 25.0  # s
_PERIOD = 1.0  # s between two looks


class Exclusive:
    """Looks every second whether another node publishes or serves what only `node` may.

    Args:
        report: is told, under the topic's or the service's name.
        patience: time that a second one may be there before it is reported, s.
    """

    def __init__(
        self, node: Node, report: Report, *ours: Publisher | Service, patience: float = _PATIENCE
    ) -> None:
        self._node = node
        self._report = report
        self._ours = ours
        self._patience = patience
        self._since: dict[str, float] = {}
        self._timer = node.create_timer(_PERIOD, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        for one in self._ours:
            if isinstance(one, Publisher):
                name, does, count = one.topic_name, "publish", self._node.count_publishers
            else:
                name, does, count = one.service_name, "serve", self._node.count_services
            found = count(name)
            if found <= 1:
                if self._since.pop(name, now) + self._patience < now:
                    self._report(name, "ok", "one node alone has it")
            elif self._since.setdefault(name, now) + self._patience < now:
                self._report(
                    name,
                    "error",
                    f"{found} nodes {does} {name}, but only one may: end the others, or give them "
                    "another ROS_DOMAIN_ID",
                )
