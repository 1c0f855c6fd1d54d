"""The processes of a launch, known by a mark in their environment.

Parents tell less: some processes have sessions of their own, and some outlive who started them.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "RIG_LAUNCH"  # the environment variable


def marked(mark: str) -> list[int]:
    """Living processes that were started with `MARK`=`mark`, or by one that was, oldest first."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended, or is somebody else's
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return sorted(found)


def command_line(pid: int) -> str:
    """Of a process; empty where there is none."""
    with suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return line.replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def kill(mark: str) -> None:
    """SIGKILL to all that are marked, those too that are started meanwhile."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
