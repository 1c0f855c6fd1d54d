"""Launches: where one takes place, its processes, and its end.

The processes of a launch are known by a mark in their environment. Parents tell less: some
processes have sessions of their own, and some outlive who started them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.definition import DefinitionError
from planet_bringup import cores
from planet_core import domains

MARK = "EXPERIMENT_LAUNCH"  # the environment variable
FIRST_DOMAIN = 80  # ROS_DOMAIN_ID where none is set: away from a `make sim` beside it
LAST_DOMAIN = 101  # of those whose ports are not among the ones that Linux gives to anyone


@dataclass(frozen=True)
class Slot:
    """Where a run may take place."""

    cpus: tuple[int, ...]
    domain: int
    """ROS_DOMAIN_ID."""


def share(parallel: int, held: ExitStack) -> list[Slot]:
    """Split the cores among as many runs, each with a domain of its own until `held` is closed.

    Raises:
        DefinitionError: there are too few cores or domains, or ROS_DOMAIN_ID is no number.
    """
    try:
        parts = cores.read().parts(parallel)
    except ValueError as error:
        raise DefinitionError(f"parallel is {parallel}, but {error}") from None
    first = os.environ.get("ROS_DOMAIN_ID") or str(FIRST_DOMAIN)
    if not first.isdecimal():
        raise DefinitionError(f"ROS_DOMAIN_ID is {first!r}, expected a whole number.")
    found = claimed(int(first), parallel, held)
    return [Slot(cpus, domain) for cpus, domain in zip(parts, found, strict=True)]


def claimed(first: int, count: int, held: ExitStack) -> list[int]:
    """As many domains, from `first` on, that no other runner of this user has."""
    found: list[int] = []
    for domain in range(first, max(first, LAST_DOMAIN) + 1):
        claim = domains.claim(domain, Path.cwd(), "runner")
        if claim is None:
            continue
        held.enter_context(closing(claim))
        found.append(domain)
        if len(found) == count:
            return found
    raise DefinitionError(
        f"there are only {len(found)} free ROS domains from {first} on, expected {count}: "
        "other runners use the rest."
    )


def launch(file: str, **arguments: object) -> list[str]:
    """The command that starts a launch file of planet_bringup."""
    return [
        *("ros2", "launch", "planet_bringup", file),
        *(f"{name}:={value}" for name, value in arguments.items()),
    ]


@asynccontextmanager
async def launched(
    command: Sequence[str], log: Path, slot: Slot
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A launch, which is stopped when the context is left, with all that it started.

    Should the runner be killed, the launch is interrupted.
    """
    mark = uuid.uuid4().hex
    environment = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **os.environ,
        "ROS_DOMAIN_ID": str(slot.domain),
        "PYTHONUNBUFFERED": "1",
        MARK: mark,
    }
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "INT"),
            *("taskset", "--cpu-list", cores.cpu_list(slot.cpus)),
            *command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the runner
        )
    try:
        yield process
    finally:
        try:
            for number, patience in ((signal.SIGINT, 60), (signal.SIGTERM, 10)):
                if process.returncode is not None:
                    break
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(process.wait(), patience)
        finally:
            kill(mark)  # a launch that was killed has not stopped its nodes
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 10)


def deaths(log: Path) -> dict[str, int]:
    """How often each node of a launch died; it was started again."""
    text = log.read_text(errors="replace")
    return dict(Counter(re.findall(r"\[ERROR\] \[(\S+)-\d+\]: process has died", text)))


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
