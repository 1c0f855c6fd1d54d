"""What the processes of a launch cost."""

from __future__ import annotations

import os
import subprocess
import sys

from experiments.rig.cost import cost

BUSY = "import time\nend = time.process_time() + 60\nwhile time.process_time() < end: pass"


def test_a_busy_process_below_is_named_with_its_share() -> None:
    busy = subprocess.Popen([sys.executable, "-c", BUSY, "-r", "__node:=busy"])
    try:
        table = cost(os.getpid(), 0.5)
    finally:
        busy.kill()
        busy.wait()
    rows = dict(line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    assert float(rows["busy"]) > 5.0
