"""Whoever a launch started is found and ended, wherever it went."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid

from experiments.processes import MARK, command_line, kill, marked

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
