"""What the launch says: on the screen, and in files under ROS_LOG_DIR."""

from __future__ import annotations

import datetime
import functools
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

SCREEN = "[%(levelname)s] [%(name)s]: %(message)s"
FILE = "%(created).7f [%(levelname)s] [%(name)s]: %(message)s"
# A process's lines come with its name in front of them.
SCREEN_LINE = "%(message)s"
FILE_LINE = "%(created).7f %(message)s"

OUTPUTS = {
    "screen": {"both": {"screen"}},
    "log": {"both": {"log"}, "stderr": {"screen"}},
    "both": {"both": {"log", "screen"}},
    "own_log": {"both": {"own_log"}, "stdout": {"own_log"}, "stderr": {"own_log"}},
    "full": {
        "both": {"screen", "log", "own_log"},
        "stdout": {"own_log"},
        "stderr": {"own_log"},
    },
}


if TYPE_CHECKING:
    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler  # not subscriptable before Python 3.11


class _Screen(StreamHandler):
    """Writes to what is the standard output at the moment (tests replace it)."""

    def __init__(self, format_: str) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter(format_))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


@functools.cache
def log_dir() -> Path:
    """Return this launch's folder of log files, made at the first call.

    It lies under ROS_LOG_DIR, else under ROS_HOME/log, else under ~/.ros/log.
    """
    home = os.environ.get("ROS_HOME") or Path.home() / ".ros"
    root = Path(os.environ.get("ROS_LOG_DIR") or Path(home) / "log")
    time = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
    path = root.expanduser() / f"{time}-{socket.gethostname()}-{os.getpid()}"
    path.mkdir(parents=True)
    return path


@functools.cache
def _screen(format_: str) -> logging.Handler:
    return _Screen(format_)


@functools.cache
def _file(name: str, format_: str) -> logging.Handler:
    handler = logging.FileHandler(log_dir() / name, encoding="utf-8")
    handler.setFormatter(logging.Formatter(format_))
    return handler


def _logger(name: str, handlers: list[logging.Handler]) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.propagate = False
    for handler in handlers:
        if handler not in logger.handlers:
            logger.addHandler(handler)
    return logger


def set_level(level: int) -> None:
    """Set the level below which nothing is said."""
    logging.getLogger().setLevel(level)


def get_logger(name: str = "launch") -> logging.Logger:
    """Return a logger that writes to the screen and to the launch's log file."""
    return _logger(name, [_screen(SCREEN), _file("launch.log", FILE)])


def get_output_loggers(
    name: str, output: str | dict[str, str | set[str]]
) -> tuple[logging.Logger, logging.Logger]:
    """Return the loggers of a process's standard output and error.

    `output` is one of `screen`, `log`, `both`, `own_log`, `full`, or says for `stdout`, `stderr`
    and `both` of them whether they go to `screen`, `log` (the launch's file) or `own_log`.

    :raises ValueError: it is none of these.
    """
    if isinstance(output, str) and output not in OUTPUTS:
        raise ValueError(f"output '{output}' is not one of {', '.join(OUTPUTS)}")
    wanted = OUTPUTS[output] if isinstance(output, str) else output
    targets: dict[str, set[str]] = {"both": set(), "stdout": set(), "stderr": set()}
    for source, names in wanted.items():
        chosen = {names} if isinstance(names, str) else set(names)
        if source not in targets or chosen - {"screen", "log", "own_log"}:
            raise ValueError(
                f"output {{'{source}': {names!r}}}: expected stdout, stderr or both, "
                "to screen, log or own_log"
            )
        targets[source] = chosen

    def logger(source: str) -> logging.Logger:
        everywhere = targets["both"] | targets[source]
        handlers = []
        if "screen" in everywhere:
            handlers.append(_screen(SCREEN_LINE))
        if "log" in everywhere:
            handlers.append(_file("launch.log", FILE_LINE))
        if "own_log" in targets[source]:
            handlers.append(_file(f"{name}-{source}.log", SCREEN_LINE))
        if "own_log" in targets["both"]:
            handlers.append(_file(f"{name}.log", SCREEN_LINE))
        # Without a handler, logging would fall back on standard error.
        return _logger(f"{name}-{source}", handlers or [logging.NullHandler()])

    return logger("stdout"), logger("stderr")
