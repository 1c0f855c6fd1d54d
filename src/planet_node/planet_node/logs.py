"""The log of the plain-Python modules, which use `logging`, in the log of their node."""

from __future__ import annotations

import logging

from rclpy.node import Node


def forward(name: str, node: Node) -> logging.Logger:
    """Return the logger `name`; what it is told from INFO on goes to the node's log."""
    logger = logging.getLogger(name)
    logger.addHandler(_Forward(node))
    logger.setLevel(logging.INFO)
    return logger


class _Forward(logging.Handler):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        # One call per level: rclpy refuses a line of code that logs with two severities.
        if record.levelno < logging.WARNING:
            self._logger.info(record.getMessage())
        else:
            self._logger.warning(record.getMessage())
