"""Stands in for every executable of a launch file: writes down how it was started, and waits.

Called as `recorder.py <executable> <arguments>`. The record goes to a new file in $RECORD_DIR.
With RECORD_DIE set, it exits with code 7 at once unless it has been started twice already.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import tempfile
from pathlib import Path


def main() -> int:
    stopped = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopped)
    executable, *arguments = sys.argv[1:]
    files = [b for a, b in itertools.pairwise(arguments) if a == "--params-file"]
    record = {
        "pids": [os.getpid(), os.getppid()],  # a shell may stand in between
        "executable": executable,
        "arguments": arguments,
        "files": {path: Path(path).read_text() for path in files},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "cores": len(os.sched_getaffinity(0)),
    }
    folder = Path(os.environ["RECORD_DIR"])
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as stream:
        json.dump(record, stream)
    Path(stream.name).rename(f"{stream.name}.json")
    key = json.dumps([record["executable"], [a for a in arguments if "launch_params_" not in a]])
    if "RECORD_DIE" in os.environ:
        texts = [json.loads(path.read_text()) for path in folder.glob("*.json")]
        lives = [
            json.dumps([r["executable"], [a for a in r["arguments"] if "launch_params_" not in a]])
            for r in texts
        ].count(key)
        if lives <= 2:
            return 7
    signal.sigwait(stopped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
