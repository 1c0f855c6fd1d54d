"""Run an experiment: methods x seeds in the real graph, one after the other, evaluated apart.

    python -m experiments.run FILE.yaml [--out DIR]

Started again it goes on: what is complete is skipped, a run that was cut short in training begins
anew, one that was only not evaluated yet is evaluated. [README.md](README.md) says what FILE holds
and what comes out.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from experiments.definition import NODES, Definition, DefinitionError, Experiment, load
from planet_bringup import cores

TICK = 0.05  # s, the robot's
FIRST_DOMAIN = 80  # ROS_DOMAIN_ID where none is set: away from a `make sim` beside it
LAST_DOMAIN = 101  # of those whose ports are not among the ones that Linux gives to anyone
EVALUATION_COLUMNS = (
    "minutes",
    "update",
    "episodes",
    "touched",
    "touch_rate",
    "return_mean",
    "return_std",
    "steps_to_touch_median",
    "real_time_factor",
    "seconds",
)
PROFILES = Path(__file__).resolve().parents[1] / "launch" / "config"
PLAYED_AGAIN = ("profile", "control", "roller_device")  # of the launch, by an evaluation
# In Linux's abstract namespace of sockets: the kernel frees a name, however its holder ends.
_CLAIM = "\0robo_planet_domain_"
_POLL = 0.5  # s between looks at a run's files
_START = 10.0  # s that an evaluation's nodes take to start, before one was measured
_EPISODE = 2.0  # s, an evaluation episode, before one was measured
_PATIENCE = 300.0  # s beyond what a launch should take, before it counts as stuck


class RunFailedError(Exception):
    """A run cannot be completed; the message is one sentence."""


@dataclass(frozen=True)
class Slot:
    """Where a run may take place."""

    cpus: tuple[int, ...]
    domain: int
    """ROS_DOMAIN_ID."""


class Record:
    """A run's folder, and `run.json` in it, which says how far the run has come.

    Its state is `training`, `trained` (only evaluations are missing) or `complete`.
    """

    def __init__(self, definition: Definition, out: Path) -> None:
        self.definition = definition
        self.folder = out / definition.folder
        self.data = self.folder / "data"
        self.snapshots = self.folder / "snapshots"
        self.config = self.folder / "config.yaml"
        self.evaluations = self.folder / "evaluations.csv"
        self._path = self.folder / "run.json"
        self.values: dict[str, Any] = {}
        if self._path.exists():
            try:
                self.values = json.loads(self._path.read_text())
                differing = definition.differing(self.values["definition"])
            except (AttributeError, ValueError, KeyError, TypeError):
                raise DefinitionError(
                    f"{self._path} is damaged: delete its folder to make the run again."
                ) from None
            used = profile(definition)
            if self.values.get("profile", used) != used:  # earlier versions did not store it
                differing.append(f"profile (launch/config/{definition.profile}.yaml)")
            if differing:
                raise DefinitionError(
                    f"{self.folder} was made with another {' and '.join(differing)}: "
                    "name another --out, or delete that folder."
                )
            try:
                self.evaluated()
            except (ValueError, KeyError, TypeError):
                raise DefinitionError(
                    f"{self.evaluations} is damaged: delete it to evaluate the run again."
                ) from None

    @property
    def state(self) -> str:
        return str(self.values.get("state", "new"))

    @property
    def started(self) -> float:
        """Unix time of the launch, where the training's clock begins."""
        return float(self.values["started"])

    def begin(self, cpus: Sequence[int]) -> None:
        """Begin anew, on these CPUs."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.snapshots.mkdir(parents=True)
        parameters = self.definition.ros_parameters()
        self.config.write_text(yaml.safe_dump(parameters, sort_keys=False))
        self.values = {}
        self.update(
            definition=self.definition.as_json(),
            profile=profile(self.definition),
            state="training",
            started=time.time(),
            decision_seconds=decision_seconds(self.definition),
            machine=machine(cpus),
            versions=versions(),
        )

    def update(self, **values: Any) -> None:
        self.values |= values
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.values, indent=1) + "\n")
        partial.replace(self._path)

    def evaluated(self) -> list[dict[str, str]]:
        """The rows of evaluations.csv; raises ValueError, KeyError or TypeError if damaged."""
        if not self.evaluations.exists():
            return []
        with self.evaluations.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for name in EVALUATION_COLUMNS:
                if row[name] != "":  # as is the steps to a touch where there was none
                    float(row[name])
        return rows

    def add(self, evaluation: dict[str, Any]) -> None:
        """Add a row to evaluations.csv."""
        row = {
            name: f"{value:.6g}" if isinstance(value, float) else value
            for name, value in evaluation.items()
        }
        partial = self.evaluations.with_suffix(".partial")  # a full disk leaves no half of a row
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, EVALUATION_COLUMNS)
            writer.writeheader()
            writer.writerows([*self.evaluated(), row])
        partial.replace(self.evaluations)

    def tidy(self, keep: bool) -> None:
        """Keep the numbers and the last checkpoint, and with `keep` everything."""
        shutil.rmtree(self.folder / "evaluation", ignore_errors=True)
        if not keep:
            shutil.rmtree(self.data, ignore_errors=True)
            for path in checkpoints(self.snapshots)[:-1]:
                path.unlink()


class Runner:
    """Runs what is missing of an experiment."""

    def __init__(self, experiment: Experiment, out: Path, slots: Sequence[Slot]) -> None:
        self._experiment = experiment
        self._slots = slots
        self._records = [Record(definition, out) for definition in experiment.runs]
        self._phases: dict[str, str] = {}
        self._evaluating = [0, 0.0]  # episodes, and the seconds that they took
        self._failed: set[str] = set()
        self._tty = sys.stdout.isatty()
        self._line = ""

    @property
    def completed(self) -> int:
        return sum(record.state == "complete" for record in self._records)

    @property
    def total(self) -> int:
        return len(self._records)

    async def run(self) -> bool:
        """Return whether all is complete."""
        slots: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in self._slots:
            slots.put_nowait(slot)
        if self.completed:
            self._say(f"{self.completed} of {self.total} runs are complete already")
        reporter = asyncio.create_task(self._report())
        missing = [record for record in self._records if record.state != "complete"]
        tasks = [asyncio.create_task(self._make(record, slots)) for record in missing]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in [reporter, *tasks]:
                task.cancel()
            await asyncio.gather(reporter, *tasks, return_exceptions=True)
            self._show("")
        return not self._failed

    async def _make(self, record: Record, slots: asyncio.Queue[Slot]) -> None:
        slot = await slots.get()
        name = title(record.definition)
        try:
            if record.state != "trained":
                await self._train(record, slot)
            await self._evaluate(record, slot)
            record.tidy(self._experiment.keep)
            record.update(state="complete", error="")
            self._say(f"{name}: {summary(record)}")
        except (RunFailedError, OSError) as error:
            record.update(error=str(error))
            self._failed.add(record.definition.folder)
            self._say(f"{name} failed: {error}")
        finally:
            self._phases.pop(record.definition.folder, None)
            slots.put_nowait(slot)

    async def _train(self, record: Record, slot: Slot) -> None:
        record.begin(slot.cpus)
        definition = record.definition
        self._phases[definition.folder] = "training"
        seconds = 60 * definition.minutes
        pause = 60 * definition.evaluation.every
        due = pause
        log = record.folder / "launch.log"
        command = launch(
            "sim.launch.py",
            **definition.launch,
            config=record.config,
            minutes=f"{definition.minutes:g}",
            data_dir=record.data,
            seed=definition.seed,
        )
        async with launched(command, log, slot) as process:
            waiting = asyncio.ensure_future(process.wait())
            while not (await asyncio.wait([waiting], timeout=_POLL))[0]:
                elapsed = time.time() - record.started
                # The last one is of the end, so none is taken shortly before.
                if due <= elapsed and due <= seconds - pause / 2 and snapshot(record):
                    due += pause
                if elapsed > seconds + _PATIENCE:
                    raise RunFailedError(f"it did not end in time, see {log}.")
            code = waiting.result()
        ended = time.time()
        if code != 0:
            raise RunFailedError(f"ros2 launch ended with exit code {code}, see {log}.")
        if ended - record.started < seconds:
            minutes = (ended - record.started) / 60
            raise RunFailedError(
                f"it ended after {minutes:.1f} of {definition.minutes:g} minutes, see {log}."
            )
        snapshot(record)
        if not checkpoints(record.snapshots):
            raise RunFailedError(f"its learner wrote no checkpoint, see {log}.")
        for file in ("episodes.csv", "updates.csv"):
            shutil.copyfile(record.data / "metrics" / file, record.folder / file)
        # For who evaluates its checkpoint: nothing in that shows how the robot was commanded.
        shutil.copyfile(record.data / "control", record.folder / "control")
        record.update(
            state="trained",
            ended=ended,
            died=died(log),
            planner=last(record.folder / "episodes.csv", "planner"),
            learner=last(record.folder / "updates.csv", "learner"),
        )

    async def _evaluate(self, record: Record, slot: Slot) -> None:
        definition = record.definition
        if not checkpoints(record.snapshots):
            raise RunFailedError(
                f"its checkpoints are gone from {record.snapshots}: "
                f"delete {record.folder} to make the run again."
            )
        commits = {*record.values.get("evaluated_with", []), versions().get("commit", "")}
        record.update(error="", evaluated_with=sorted(commits - {""}))
        done = {(row["update"], float(row["real_time_factor"])) for row in record.evaluated()}
        todo = [
            (path, episodes, factor)
            for path, episodes, factor in evaluations(record)
            if (updates_of(path), factor) not in done
        ]
        for number, (path, episodes, factor) in enumerate(todo):
            self._phases[definition.folder] = f"evaluation {number + 1} of {len(todo)}"
            out = record.folder / "evaluation"
            shutil.rmtree(out, ignore_errors=True)
            log = record.folder / "evaluation.log"
            command = launch(
                "evaluate.launch.py",
                **{name: v for name, v in definition.launch.items() if name in PLAYED_AGAIN},
                config=record.config,
                checkpoint=path,
                episodes=episodes,
                seed=definition.evaluation.seed,
                data_dir=out,
                video="false",
                real_time_factor=factor,
            )
            began = time.monotonic()
            limit = _PATIENCE + 60 * episodes
            async with launched(command, log, slot) as process:
                try:
                    code = await asyncio.wait_for(process.wait(), limit)
                except asyncio.TimeoutError:
                    raise RunFailedError(
                        f"an evaluation did not end within {limit:.0f} s, see {log}."
                    ) from None
            if code != 0:
                raise RunFailedError(f"an evaluation ended with exit code {code}, see {log}.")
            try:
                result = json.loads((out / "evaluation.json").read_text())
                row = {name: result[name] for name in EVALUATION_COLUMNS[2:8]}
            except (OSError, ValueError, KeyError) as error:
                raise RunFailedError(
                    f"an evaluation left no result ({error}), see {log}."
                ) from None
            seconds = time.monotonic() - began
            minutes = (path.stat().st_mtime - record.started) / 60
            row |= {
                "minutes": f"{minutes:.3f}",
                "update": updates_of(path),
                "real_time_factor": f"{factor:g}",
                "seconds": f"{seconds:.1f}",
            }
            record.add(row)
            self._evaluating[0] += episodes
            self._evaluating[1] += seconds

    # What a person sees.

    async def _report(self) -> None:
        """Show one line: rewritten on a terminal, a new one now and then in a log."""
        while True:
            await asyncio.sleep(2.0 if self._tty else 60.0)
            active = [
                record for record in self._records if record.definition.folder in self._phases
            ]
            whole = (
                f"{self.completed} of {self.total} runs done, about {duration(self._left())} left"
            )
            self._show(" | ".join([whole, *map(self._status, active)]))

    def _status(self, record: Record) -> str:
        definition = record.definition
        phase = self._phases[definition.folder]
        if phase != "training":
            return f"{title(definition)}: {phase}"
        minutes = (time.time() - record.started) / 60
        touched = [touch for touch, _ in episodes(record.data / "metrics" / "episodes.csv")]
        recent = touched[-20:]
        return (
            f"{title(definition)}: {minutes:.1f} of {definition.minutes:g} min, "
            f"{len(touched)} episodes, {sum(recent)} of the last {len(recent)} touched"
        )

    def _left(self) -> float:
        """Seconds until all is complete, evaluations included."""
        episodes_made, spent = self._evaluating
        longest = 0.0
        total = 0.0
        for record in self._records:
            definition = record.definition
            if record.state == "complete" or definition.folder in self._failed:
                continue
            training = 60 * definition.minutes if record.state != "trained" else 0.0
            if self._phases.get(definition.folder) == "training":
                training = max(0.0, training - (time.time() - record.started))
            if record.state == "trained":
                wanted = [count for _, count, _ in evaluations(record)][len(record.evaluated()) :]
            else:
                wanted = [definition.evaluation.episodes] * int(
                    definition.minutes / definition.evaluation.every - 0.5
                )
                final = definition.evaluation.final_episodes
                wanted += [final] * (2 if definition.real_time_factor > 0 else 1)
            if episodes_made:
                judging = sum(wanted) * spent / episodes_made
            else:
                judging = len(wanted) * _START + sum(wanted) * _EPISODE
            total += training + judging
            longest = max(longest, training + judging)
        return max(longest, total / self._experiment.parallel)

    def _say(self, text: str) -> None:
        """Print a line that stays."""
        self._show("")
        print(text, flush=True)

    def _show(self, line: str) -> None:
        if self._tty:
            line = line[: shutil.get_terminal_size().columns - 1]
            if line or self._line:
                print(f"\r{line:<{len(self._line)}}\r{line}", end="", flush=True)
            self._line = line
        elif line:
            print(line, flush=True)


# Launches.


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
    """A launch in a process group of its own, which is stopped when the context is left.

    Should the runner be killed, the launch is interrupted.
    """
    environment = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **os.environ,
        "ROS_DOMAIN_ID": str(slot.domain),
        "PYTHONUNBUFFERED": "1",
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
            # A launch that was killed has not stopped its nodes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 10)


def share(parallel: int, held: ExitStack) -> list[Slot]:
    """Split the cores among as many runs, each with a domain of its own until `held` is closed."""
    try:
        parts = cores.read().parts(parallel)
    except ValueError as error:
        raise DefinitionError(f"parallel is {parallel}, but {error}") from None
    first = os.environ.get("ROS_DOMAIN_ID") or str(FIRST_DOMAIN)
    if not first.isdecimal():
        raise DefinitionError(f"ROS_DOMAIN_ID is {first!r}, expected a whole number.")
    domains = claimed(int(first), parallel, held)
    return [Slot(cpus, domain) for cpus, domain in zip(parts, domains, strict=True)]


def claimed(first: int, count: int, held: ExitStack) -> list[int]:
    """As many domains, from `first` on, that no other runner of this machine uses."""
    domains: list[int] = []
    for domain in range(first, max(first, LAST_DOMAIN) + 1):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"{_CLAIM}{domain}")
        except OSError:
            name.close()
            continue
        held.enter_context(name)
        domains.append(domain)
        if len(domains) == count:
            return domains
    raise DefinitionError(
        f"there are only {len(domains)} free ROS domains from {first} on, expected {count}: "
        "other runners use the rest."
    )


# Files.


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(folder.glob("checkpoint_*.safetensors"))


def snapshot(record: Record) -> bool:
    """Link the newest checkpoint, which has its time, into the snapshots; whether there is one."""
    # The learner may delete the oldest ones meanwhile, never the newest.
    newest = checkpoints(record.data / "checkpoints")[-1:]
    for path in newest:
        with suppress(FileExistsError, FileNotFoundError):
            os.link(path, record.snapshots / path.name)
    return bool(newest)


def updates_of(checkpoint: Path) -> str:
    """The updates that it was trained for: checkpoint_<number>_<update>.<crc>.safetensors."""
    return checkpoint.name.split(".")[0].split("_")[2]


def evaluations(record: Record) -> list[tuple[Path, int, float]]:
    """All of a trained run: checkpoint, episodes and real-time factor; none without checkpoints."""
    definition = record.definition
    found = checkpoints(record.snapshots)
    if not found:
        return []
    *earlier, last = found
    factors = [0.0, definition.real_time_factor] if definition.real_time_factor > 0 else [0.0]
    return [
        *((path, definition.evaluation.episodes, 0.0) for path in earlier),
        *((last, definition.evaluation.final_episodes, factor) for factor in factors),
    ]


def episodes(path: Path) -> Iterable[tuple[bool, float]]:
    """Touch and return of each whole row of a running run's episodes.csv."""
    if not path.exists():
        return []
    text = path.read_text()
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return [(row["touched"] == "1", float(row["return"])) for row in rows]


def died(log: Path) -> dict[str, int]:
    """How often each node of a launch died; it was started again."""
    text = log.read_text(errors="replace")
    return dict(Counter(re.findall(r"\[ERROR\] \[(\S+)-\d+\]: process has died", text)))


# What a run says of itself.


def profile(definition: Definition) -> dict[str, Any]:
    """The parameters over which the definition's are laid."""
    values: dict[str, Any] = yaml.safe_load((PROFILES / f"{definition.profile}.yaml").read_text())
    return values


def decision_seconds(definition: Definition) -> float | None:
    """Wall-clock time of one decision; None in lockstep, where it takes what it takes."""
    if definition.real_time_factor == 0:
        return None
    repeat = 1
    for nodes in (profile(definition), definition.ros_parameters()):
        for name in ("/**", NODES["roller"]):
            parameters = nodes.get(name, {}).get("ros__parameters", {})
            repeat = parameters.get("action_repeat", repeat)
    return TICK * int(repeat) / definition.real_time_factor


def last(path: Path, column: str) -> str:
    """The last entry of a CSV file's column that is not empty; '' where there is none."""
    with path.open(newline="") as file:
        entries = [row.get(column) for row in csv.DictReader(file)]
    return next((entry for entry in reversed(entries) if entry), "")


def machine(cpus: Sequence[int]) -> dict[str, Any]:
    model = platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": cores.read(affinity=cpus).budget,  # of the run, where several share them
        "load": round(os.getloadavg()[0], 2),  # of the last minute, before the run
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "ros": os.environ.get("ROS_DISTRO", "")}
    for package in ("torch", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    with suppress(OSError, subprocess.CalledProcessError):
        found["commit"] = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    return found


def title(definition: Definition) -> str:
    return f"{definition.method}, seed {definition.seed}"


def summary(record: Record) -> str:
    """A complete run in half a line."""
    rows = record.evaluated()
    last = next(row for row in reversed(rows) if float(row["real_time_factor"]) == 0)
    seconds = sum(float(row["seconds"]) for row in rows)
    deaths = "".join(
        f"; deaths of its {node}: {count}" for node, count in record.values.get("died", {}).items()
    )
    return (
        f"touched {last['touched']} of {last['episodes']} episodes after "
        f"{float(last['minutes']):.1f} minutes and {last['update']} updates "
        f"(evaluated in {duration(seconds)}){deaths}"
    )


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


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
    parser.add_argument("file", type=Path, help="the experiment, a YAML file")
    parser.add_argument("--out", type=Path, help="where results go (default: FILE without .yaml)")
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
        lock.write("data/\nsnapshots/\nevaluation/\n*.log\n")
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
