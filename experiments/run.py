"""Run an experiment: methods x seeds in the real graph, one after the other, evaluated apart.

    python -m experiments.run FILE.yaml [--out DIR]

Started again it goes on: what is complete is skipped, a run that was cut short in training begins
anew, one that was only not evaluated yet is evaluated. [README.md](README.md) says what FILE holds
and what comes out.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from experiments.definition import DefinitionError, load
from experiments.processes import share
from experiments.runner import Runner

IGNORED = "data/\nsnapshots/\nevaluation/\n*.log\nreport.html\n"
"""What git shall not keep of an experiment's folder."""


async def _until_stopped(runner: Runner) -> bool:
    """Run; on Ctrl-C or a termination, stop what runs and raise CancelledError."""
    task = asyncio.ensure_future(runner.run())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Only once: what is stopping shall not be stopped.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: None)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return await task


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when all is complete, 1 when a run failed, 130 when stopped; 2 is a misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("file", type=Path, help="The experiment, a YAML file.")
    parser.add_argument(
        "--out", type=Path, help="Folder for the results (default: FILE without .yaml)."
    )
    parsed = parser.parse_args(arguments)
    out: Path = parsed.out or parsed.file.with_suffix("")
    for program in ("ros2", "setpriv", "taskset"):
        if shutil.which(program) is None:
            parser.error(f"there is no {program}: source .venv/setup.bash after `make sim`.")
    with ExitStack() as held:
        try:
            experiment = load(parsed.file)
            slots = share(experiment.parallel, held)
            out = out.resolve()
            out.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((out / ".gitignore").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DefinitionError(f"another runner works in {out}.") from None
            runner = Runner(experiment, out, slots)
        except (DefinitionError, OSError) as error:
            parser.error(str(error))
        lock.truncate(0)
        lock.write(IGNORED)
        lock.flush()
        with suppress(shutil.SameFileError):
            shutil.copyfile(parsed.file, out / "experiment.yaml")
        try:
            complete = asyncio.run(_until_stopped(runner))
        except asyncio.CancelledError:
            print(
                f"Stopped: {runner.completed} of {runner.total} runs are complete. To go on:\n"
                f"  python -m experiments.run {parsed.file} --out {out}"
            )
            return 130
    print(f"{runner.completed} of {runner.total} runs are complete; to see them:")
    print(f"  python -m experiments.report {out}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
