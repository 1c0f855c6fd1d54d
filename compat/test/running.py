"""Commands whose output can be waited for."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
COMPAT = HERE.parent
ROS2 = [sys.executable, "-m", "ros2cli.cli"]


class Running:
    """A command whose output can be waited for."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, timeout: float = 15.0) -> re.Match[str]:
        """Return the match in the next line that has one."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no '{pattern}' within {timeout:g} s in:\n{self.output}")
            if line is None:
                pytest.fail(f"no '{pattern}' in:\n{self.output}")
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, timeout: float = 15.0) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(timeout)
        while (line := self._queue.get(timeout=timeout)) is not None:
            self.lines.append(line)
        return code


Launch = Callable[..., Running]


def environment_for(folder: Path) -> dict[str, str]:
    """Return an environment with compat, whose log files go to a folder."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(COMPAT), os.environ.get("PYTHONPATH", "")]),
        "ROS_LOG_DIR": str(folder / "log"),
        "ROS_DOMAIN_ID": "11",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def is_running(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(*pids: int, timeout: float = 5.0) -> None:
    """Fail if one of the processes still runs after `timeout` seconds."""
    end = time.monotonic() + timeout
    while running := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < end, f"still running: {running}"
        threading.Event().wait(0.02)  # nothing tells when a process that is no child ends
