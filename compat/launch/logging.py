"""What the launch says: on the screen, and in files under ROS_LOG_DIR."""

from __future__ import annotations

import datetime
import functools
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

SCREEN = "[%(levelname)s] [%(name)s]: %(message)s"
FILE = "%(created).7f [%(levelname)s] [%(name)s]: %(message)s"
# A process's lines come with its name in front of them.
SCREEN_LINE = "%(message)s"
FILE_LINE = "%(created).7f %(message)s"

if TYPE_CHECKING:
    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler  # not subscriptable before Python 3.11


class _Screen(StreamHandler):
    """Writes to the standard output; when nobody reads that any more, the launch stops."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
        signal.raise_signal(signal.SIGHUP)  # as if the terminal were gone


@functools.cache
def log_dir() -> Path:
    """Return this launch's folder of log files, made at the first call.

    It lies under ROS_LOG_DIR, else under ROS_HOME/log, else under ~/.ros/log.

    :raises RuntimeError: it cannot be made.
    """
    time = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
    home = os.environ.get("ROS_HOME") or "~/.ros"
    root = os.environ.get("ROS_LOG_DIR") or f"{home}/log"
    try:
        path = Path(root).expanduser() / f"{time}-{socket.gethostname()}-{os.getpid()}"
        path.mkdir(parents=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home directory
        reason = error.strerror if isinstance(error, OSError) else error
        raise RuntimeError(
            f"no log files can be written below {root} ({reason}): "
            "set ROS_LOG_DIR to a folder that you may write to."
        ) from error
    return path


@functools.cache
def _screen(format_: str) -> logging.Handler:
    handler = _Screen(sys.stdout)
    handler.setFormatter(logging.Formatter(format_))
    return handler


@functools.cache
def _file(format_: str) -> logging.Handler:
    handler = logging.FileHandler(log_dir() / "launch.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter(format_))
    return handler


def _logger(name: str, *handlers: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.handlers = list(handlers)
    return logger


def get_logger(name: str = "launch") -> logging.Logger:
    """Return a logger that writes to the screen and to the launch's log file."""
    return _logger(name, _screen(SCREEN), _file(FILE))


def get_output_loggers(name: str, output: str) -> tuple[logging.Logger, logging.Logger]:
    """Return the loggers of a process's standard output and error.

    `output` is `screen`, or `log`: both go to the launch's log file, the error to the screen too.

    :raises ValueError: it is neither.
    """
    screen, file = _screen(SCREEN_LINE), _file(FILE_LINE)
    handlers = {"screen": ([screen], [screen]), "log": ([file], [screen, file])}
    if output not in handlers:
        raise ValueError(f"output '{output}' is not one of {', '.join(handlers)}")
    stdout, stderr = handlers[output]
    return _logger(f"{name}-stdout", *stdout), _logger(f"{name}-stderr", *stderr)
