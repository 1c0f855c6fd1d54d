"""Processes that never outlive their launch.

Each process leads a process group of its own, and signals go to the whole group: a command behind
a `prefix` that forks is reached as well. A process counts as gone when its group is empty.
If the launcher is killed by SIGKILL, it can do nothing more itself. Then the kernel kills its
direct children (PR_SET_PDEATHSIG), and a guard process the rest of their groups (`_guard.py`).
A process that has something to do before its end (a robot's driver, to let go) is out of reach of
SIGKILL in a session of its own, and has to see to its end itself when its parent dies.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .logging import get_logger

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CHUNK = 65536  # bytes
# Loaded before any fork: the forked child may only call it.
_prctl = ctypes.CDLL(None, use_errno=True).prctl

Line = Callable[[str], None]


class Lines:
    """Reads a pipe line by line as data arrive."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, on_line: Line) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._on_line = on_line
        self._rest = b""
        self._open = True
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    def _read(self) -> bool:
        """Read what is there; return whether something was."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))
        return True

    def drain(self) -> None:
        """Read all that is there now, and take an unfinished line for a line."""
        while self._open and self._read():
            pass
        rest, self._rest = self._rest, b""
        if rest:
            self._on_line(rest.decode(errors="replace"))

    def close(self) -> None:
        """Read all that is there, and stop reading."""
        self.drain()
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.drain()


class Owner(Protocol):
    """Hears of a process."""

    def on_stdout(self, line: str) -> None: ...
    def on_stderr(self, line: str) -> None: ...

    def on_exit(self, returncode: int) -> None:
        """The process itself has ended."""

    def on_left_behind(self) -> None:
        """The process itself has ended, but something of its group is left."""

    def on_gone(self) -> None:
        """Nothing of its group is left."""


class ProcessGroup:
    """A running process with all that it started."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, cmd: list[str], env: dict[str, str], owner: Owner
    ) -> None:
        self._owner = owner
        self._returncode: int | None = None
        # Python has no file for which both ends are wanted here, so pipes are made by hand.
        pairs = [os.pipe() for _ in range(2)]
        launcher = os.getpid()

        def before_exec() -> None:
            os.setpgid(0, 0)
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != launcher:  # it died before the line above
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            self._process = subprocess.Popen(
                cmd,
                env=env,
                stdin=subprocess.PIPE,  # open and silent: a node that reads it waits
                stdout=pairs[0][1],
                stderr=pairs[1][1],
                preexec_fn=before_exec,  # noqa: PLW1509 (the launcher has no threads)
            )
        except OSError:
            for reading, _ in pairs:
                os.close(reading)
            raise
        finally:
            for _, writing in pairs:
                os.close(writing)
        self.pid = self._process.pid
        self._outputs = [
            Lines(loop, pairs[0][0], owner.on_stdout),
            Lines(loop, pairs[1][0], owner.on_stderr),
        ]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # gone, and about to be noticed

    def poll(self) -> bool:
        """Take note of what ended; return whether nothing is left."""
        if self._returncode is None:
            self._returncode = self._process.poll()
            if self._returncode is None:
                return False
            for output in self._outputs:
                output.drain()
            self._owner.on_exit(self._returncode)
            if not self._empty():
                self._owner.on_left_behind()
        if not self._empty():
            return False
        for output in self._outputs:
            output.close()
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.close()
        self._owner.on_gone()
        return True

    def _empty(self) -> bool:
        try:
            # What the process left behind became a child of ours (PR_SET_CHILD_SUBREAPER).
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


class ProcessGroups:
    """All processes of a launch. Close it at the end: nothing is left then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._groups: dict[int, ProcessGroup] = {}
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("_guard.py"))],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the launcher
        )
        loop.add_signal_handler(signal.SIGCHLD, self._poll)

    def start(self, cmd: list[str], env: dict[str, str], owner: Owner) -> ProcessGroup:
        """Start a process.

        :raises OSError: it cannot be started.
        """
        group = ProcessGroup(self._loop, cmd, env, owner)
        self._groups[group.pid] = group
        self._tell(group.pid)
        # It may have ended before it was in the list.
        self._loop.call_soon(self._poll)
        return group

    def _poll(self) -> None:
        for pid, group in list(self._groups.items()):
            if pid in self._groups and group.poll():
                del self._groups[pid]
                self._tell(-pid)

    def _tell(self, number: int) -> None:
        assert self._guard.stdin is not None, "it was asked for"
        try:
            self._guard.stdin.write(f"{number}\n")
        except BrokenPipeError:
            get_logger().warning("the guard died: nothing stops the processes if the launcher dies")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of every group."""
        for group in self._groups.values():
            group.signal(number)

    def close(self) -> None:
        """Kill what is still there."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        self.signal(signal.SIGKILL)
        self._guard.communicate()
        _prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
