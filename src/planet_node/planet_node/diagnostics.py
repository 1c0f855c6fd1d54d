"""A node's state of health on /diagnostics, and its changes in the log."""

from __future__ import annotations

import threading

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from planet_core.report import Level
from planet_node.qos import STREAM

OK: Level = "ok"
WARN: Level = "warn"
ERROR: Level = "error"
_LEVELS = {OK: DiagnosticStatus.OK, WARN: DiagnosticStatus.WARN, ERROR: DiagnosticStatus.ERROR}


class Diagnostics:
    """Publishes what a node reports: changes at once, everything once a second.

    Thread-safe. A change of level is logged once, and so is the way back to OK.
    """

    def __init__(self, node: Node, period: float = 1.0) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", STREAM)
        self._timer = node.create_timer(period, self._publish)

    def report(self, name: str, level: Level, message: str, **values: object) -> None:
        """Set the state of `name`, a part of this node ('camera_front', 'replay')."""
        status = DiagnosticStatus(
            level=_LEVELS[level],
            name=f"{self._node.get_fully_qualified_name()}: {name}",
            message=message,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        with self._lock:
            before = self._statuses.get(name)
            self._statuses[name] = status
        level_before = DiagnosticStatus.OK if before is None else before.level
        if status.level != level_before:
            self._log(level, f"{name}: {message}")
        if before is None or status.level != level_before or message != before.message:
            self._publish()

    def _log(self, level: Level, line: str) -> None:
        # One call per level: rclpy refuses a line of code that logs with two severities.
        logger = self._node.get_logger()
        if level == OK:
            logger.info(line)
        elif level == WARN:
            logger.warning(line)
        else:
            logger.error(line)

    def _publish(self) -> None:
        with self._lock:
            statuses = list(self._statuses.values())
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
