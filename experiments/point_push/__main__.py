"""Commands of the experiment.

    python -m experiments.point_push run --out DIR --jobs 2
    python -m experiments.point_push report --runs DIR --out experiments/point_push

`run` makes every variant with every seed, each in a process of its own on a core of its own with
one thread, and leaves a folder `<variant>_<seed>` of each under DIR. Finished runs are left as they
are, so an interrupted experiment goes on where it stopped. `report` makes tables and pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from queue import SimpleQueue

from experiments.point_push.training import VARIANTS, Schedule, run
from planet_bringup import cores


def finished(folder: Path, schedule: Schedule) -> bool:
    """Whether this run is complete; ValueError when it was made with another schedule."""
    try:
        summary = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        return False
    if summary["schedule"] != schedule.to_dict():
        raise ValueError(f"{folder} is of another schedule: name another --out")
    return True


def run_all(
    out: Path, variants: list[str], seeds: list[int], jobs: int, schedule: Schedule
) -> list[str]:
    """Make the runs that are missing, `jobs` at a time; returns the names of those that failed."""
    free: SimpleQueue[int] = SimpleQueue()
    for cpus in cores.read().parts(jobs):
        free.put(cpus[-1])

    def make(name: str, variant: str, seed: int) -> str | None:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        cpu = free.get()
        print(f"{name}: begins on CPU {cpu}", flush=True)
        one = ["one", variant, str(seed), str(folder), schedule.to_json(), str(cpu)]
        with (folder / "log.txt").open("w") as log:
            code = subprocess.run(
                [sys.executable, "-m", "experiments.point_push", *one],
                env={**os.environ, **cores.MALLOC, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        free.put(cpu)
        ending = "done" if code == 0 else f"failed, see {folder / 'log.txt'}"
        print(f"{name}: {ending}", flush=True)
        return None if code == 0 else name

    todo = [
        (f"{variant}_{seed}", variant, seed)
        for variant in variants
        for seed in seeds
        if not finished(out / f"{variant}_{seed}", schedule)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        return [name for name in pool.map(lambda args: make(*args), todo) if name is not None]


def main() -> None:
    """Run what the arguments name."""
    description = __doc__.splitlines()[0] if __doc__ else None
    parser = argparse.ArgumentParser("experiments.point_push", description=description)
    commands = parser.add_subparsers(dest="command", required=True)

    many = commands.add_parser("run", help="Make the runs that are missing.")
    many.add_argument("--out", type=Path, required=True, help="Folder of the runs.")
    many.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    many.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    many.add_argument(
        "--jobs", type=int, default=1, help="Runs at a time, each on a core of its own."
    )
    for f in fields(Schedule):
        option = f"--{f.name.replace('_', '-')}"
        many.add_argument(option, type=type(f.default), default=f.default, help=f.metadata["doc"])

    one = commands.add_parser("one", help="Make one run in this process.")
    one.add_argument("variant", choices=list(VARIANTS))
    one.add_argument("seed", type=int)
    one.add_argument("folder", type=Path)
    one.add_argument("schedule", help="JSON of a Schedule, as in run.json.")
    one.add_argument("core", type=int)

    told = commands.add_parser("report", help="Write the table and the pictures of the runs.")
    told.add_argument("--runs", type=Path, required=True, help="Folder of the runs.")
    told.add_argument("--out", type=Path, required=True, help="Folder for the report.")

    given = parser.parse_args()
    if given.command == "one":
        os.sched_setaffinity(0, {given.core})
        run(given.variant, given.seed, Schedule.from_json(given.schedule), given.folder)
    elif given.command == "report":
        from experiments.point_push.report import report  # matplotlib is slow to import

        print(report(given.runs, given.out))
    else:
        schedule = Schedule(**{f.name: getattr(given, f.name) for f in fields(Schedule)})
        failed = run_all(given.out, given.variants, given.seeds, given.jobs, schedule)
        if failed:
            sys.exit(f"{len(failed)} of the runs failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
