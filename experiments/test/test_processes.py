"""Where launches take place, and that whoever they started is found and ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from experiments.definition import DefinitionError
from experiments.processes import (
    LAST_DOMAIN,
    MARK,
    Slot,
    claimed,
    command_line,
    kill,
    launched,
    marked,
)

# Starts a process in a session of its own and ends, so that it has no parent of ours.
ORPHAN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


def test_an_orphan_in_a_session_of_its_own_is_found_and_killed() -> None:
    mark = uuid.uuid4().hex
    subprocess.run([sys.executable, "-c", ORPHAN], env=os.environ | {MARK: mark}, check=True)
    (pid,) = marked(mark)
    assert "time.sleep(600)" in command_line(pid)
    kill(mark)
    assert marked(mark) == []


def test_nobody_else_is_found_or_killed() -> None:
    mark = uuid.uuid4().hex
    other = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env=os.environ | {MARK: mark + "x"},
    )
    deadline = time.monotonic() + 20.0
    while marked(mark + "x") != [other.pid]:
        assert time.monotonic() < deadline
    kill(mark)
    assert other.poll() is None
    other.communicate(b"\n")
    assert other.returncode == 0


def test_domains_that_are_all_taken_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with ExitStack() as held:
        claimed(LAST_DOMAIN - 1, 1, held)
        with pytest.raises(DefinitionError, match=f"free ROS domains from {LAST_DOMAIN - 1} "):
            claimed(LAST_DOMAIN - 1, 2, held)


def test_nodes_do_not_survive_a_launch_that_was_killed(tmp_path: Path) -> None:
    node = "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(300)"
    launch = (
        "import os, signal, subprocess, sys\n"
        f"print(subprocess.Popen([sys.executable, '-c', {node!r}]).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    slot = Slot(tuple(sorted(os.sched_getaffinity(0))), 61)

    async def make() -> None:
        command = [sys.executable, "-c", launch]
        async with launched(command, tmp_path / "log", slot) as process:
            await process.wait()

    asyncio.run(make())
    pid = int((tmp_path / "log").read_text().split()[-1])
    assert command_line(pid) == ""
