"""Launches with real processes, none of which outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest


class Launch:
    """`ros2 launch planet_bringup` that goes on, with its output read as it comes.

    `log_dir` is no other launch's: by it the processes of this one are known.
    """

    def __init__(self, domain: int, log_dir: Path, *arguments: str) -> None:
        own = {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(log_dir)}
        self._mark = os.fsencode(f"ROS_LOG_DIR={log_dir}")
        self.process = subprocess.Popen(
            ["ros2", "launch", "planet_bringup", *arguments],
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(stream)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait(self, timeout: float) -> int:
        """Wait for its end; the exit code. All that it printed is there then."""
        try:
            code = self.process.wait(timeout)
            self._reader.join()
        finally:
            print("".join(self.lines[-80:]))  # pytest shows it where a test fails
        return code

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self._signal(signal.SIGINT)
        return self.wait(timeout=60)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def nodes(self) -> dict[int, list[str]]:
        """Process id -> command line, of each of its nodes that runs.

        A node has its parameters from files: it is the environment that tells whose it is.
        """
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended, or is somebody else's
                continue
            if self._mark in environment and any(w.startswith("__node:=") for w in command):
                found[int(folder.name)] = command
        return found

    def close(self) -> None:
        """Stop it if it still runs, and kill what does not stop."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self._signal(signal.SIGKILL)
            self.process.wait()
            for pid in self.nodes():  # in process groups, and a driver in a session, of their own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reader.join()


@pytest.fixture(scope="module")
def launch(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., AbstractContextManager[Launch]]:
    """Give a context manager: a Launch on a domain, with arguments; at the end of it, it ends."""

    @contextmanager
    def launched(domain: int, *arguments: str) -> Iterator[Launch]:
        going = Launch(domain, tmp_path_factory.mktemp("log"), *arguments)
        try:
            yield going
        finally:
            going.close()

    return launched
