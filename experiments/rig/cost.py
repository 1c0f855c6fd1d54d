"""What each process of a running launch costs: the share of one hardware thread that it takes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from experiments.processes import command_line


def cost(launch: int, seconds: float) -> str:
    """A Markdown table, dearest first.

    Args:
        launch: process of the launch; all that it started is looked at.
        seconds: how long to look.
    """
    before, began = _spent(launch), time.monotonic()
    time.sleep(seconds)
    after, lasted = _spent(launch), time.monotonic() - began
    shares: dict[str, float] = {}
    for pid, spent in after.items():
        if pid in before:
            name = _name(pid)
            shares[name] = shares.get(name, 0.0) + 100.0 * (spent - before[pid]) / lasted
    rows = sorted(shares.items(), key=lambda row: -row[1])
    lines = [f"| {name} | {share:.1f} |" for name, share in rows]
    return "\n".join(["| process | % of a thread |", "|---|---|", *lines])


def _spent(launch: int) -> dict[int, float]:
    """CPU time of each process below `launch`, s."""
    ticks, found, left = os.sysconf("SC_CLK_TCK"), {}, [launch]
    while left:
        pid = left.pop()
        with suppress(OSError):  # it has ended
            folder = Path(f"/proc/{pid}")
            left += map(int, (folder / "task" / str(pid) / "children").read_text().split())
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[pid] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def _name(pid: int) -> str:
    """The module of a process that was started with -m, else its node's name, else its program."""
    words = command_line(pid).split()
    if "-m" in words:
        return words[words.index("-m") + 1]
    names = [word.removeprefix("__node:=") for word in words if word.startswith("__node:=")]
    return names[0] if names else Path(next((w for w in words[1:] if w[0] != "-"), "gone")).name
