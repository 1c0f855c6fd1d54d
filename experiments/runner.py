"""Makes the runs that an experiment lacks, and says how far it has come."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import provenance
from experiments.definition import Definition, DefinitionError, Experiment
from experiments.processes import Slot, launch, launched
from experiments.record import EVALUATION_COLUMNS, Record, updates_of
from experiments.words import duration
from planet_core.durable import DirectoryError

PLAYED_AGAIN = ("profile", "control", "roller_device")  # of the launch, by an evaluation
_POLL = 0.5  # s between looks at a run's files
_START = 10.0  # s that an evaluation's nodes take to start, before one was measured
_EPISODE = 2.0  # s, an evaluation episode, before one was measured
_PATIENCE = 300.0  # s beyond what a launch should take, before it counts as stuck


class RunFailedError(Exception):
    """A run cannot be completed; the message is one sentence."""


class Runner:
    """Runs what is missing of an experiment.

    Raises:
        DefinitionError: what is there already is of another definition or profile, or damaged.
    """

    def __init__(self, experiment: Experiment, out: Path, slots: Sequence[Slot]) -> None:
        self._experiment = experiment
        self._slots = slots
        self._records = [_resumable(definition, out) for definition in experiment.runs]
        self._phases: dict[str, str] = {}
        self._evaluating = [0, 0.0]  # episodes, and the seconds that they took
        self._failed: set[str] = set()
        self._console = Console()

    @property
    def completed(self) -> int:
        """Number of runs that are complete."""
        return sum(record.state == "complete" for record in self._records)

    @property
    def total(self) -> int:
        """Number of runs."""
        return len(self._records)

    async def run(self) -> bool:
        """Return whether all is complete."""
        slots: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in self._slots:
            slots.put_nowait(slot)
        if self.completed:
            self._console.say(f"{self.completed} of {self.total} runs are complete already")
        reporter = asyncio.create_task(self._report())
        missing = [record for record in self._records if record.state != "complete"]
        tasks = [asyncio.create_task(self._make(record, slots)) for record in missing]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in [reporter, *tasks]:
                task.cancel()
            await asyncio.gather(reporter, *tasks, return_exceptions=True)
            self._console.show("")
        return not self._failed

    async def _make(self, record: Record, slots: asyncio.Queue[Slot]) -> None:
        slot = await slots.get()
        definition = record.definition
        try:
            if record.state != "trained":
                await self._train(record, slot)
            await self._evaluate(record, slot)
            record.tidy(self._experiment.keep)
            record.update(state="complete", error="")
            self._console.say(f"{definition.title}: {record.summary()}")
        except (RunFailedError, DirectoryError, OSError) as error:
            record.update(error=str(error))
            self._failed.add(definition.folder)
            self._console.say(f"{definition.title} failed: {error}")
        finally:
            self._phases.pop(definition.folder, None)
            slots.put_nowait(slot)

    async def _train(self, record: Record, slot: Slot) -> None:
        record.begin(slot.cpus)
        definition, log = record.definition, record.log
        self._phases[definition.folder] = "training"
        seconds = 60 * definition.minutes
        pause = 60 * definition.evaluation.every
        due = pause
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
                if due <= elapsed and due <= seconds - pause / 2 and record.snapshot():
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
        record.snapshot()
        if not record.planned_evaluations():
            raise RunFailedError(f"its learner wrote no checkpoint, see {log}.")
        record.end_training(ended)

    async def _evaluate(self, record: Record, slot: Slot) -> None:
        planned = record.planned_evaluations()
        if not planned:
            raise RunFailedError(
                f"its checkpoints are gone from {record.snapshots}: "
                f"delete {record.folder} to make the run again."
            )
        commits = {
            *record.values.get("evaluated_with", []),
            provenance.versions().get("commit", ""),
        }
        record.update(error="", evaluated_with=sorted(commits - {""}))
        done = {(row["update"], float(row["real_time_factor"])) for row in record.evaluated()}
        todo = [
            (path, episodes, factor)
            for path, episodes, factor in planned
            if (updates_of(path), factor) not in done
        ]
        for number, (path, episodes, factor) in enumerate(todo):
            self._phases[record.definition.folder] = f"evaluation {number + 1} of {len(todo)}"
            began = time.monotonic()
            result = await _played(record, slot, path, episodes, factor)
            seconds = time.monotonic() - began
            minutes = (path.stat().st_mtime - record.started) / 60
            record.add(
                {
                    **result,
                    "minutes": f"{minutes:.3f}",
                    "update": updates_of(path),
                    "real_time_factor": f"{factor:g}",
                    "seconds": f"{seconds:.1f}",
                }
            )
            self._evaluating[0] += episodes
            self._evaluating[1] += seconds

    async def _report(self) -> None:
        """Tell how far the runs are, again and again."""
        while True:
            await asyncio.sleep(self._console.interval)
            active = [
                record for record in self._records if record.definition.folder in self._phases
            ]
            whole = (
                f"{self.completed} of {self.total} runs done, about {duration(self._left())} left"
            )
            self._console.show(" | ".join([whole, *map(self._status, active)]))

    def _status(self, record: Record) -> str:
        definition = record.definition
        phase = self._phases[definition.folder]
        if phase != "training":
            return f"{definition.title}: {phase}"
        minutes = (time.time() - record.started) / 60
        touched = [row["touched"] == "1" for row in record.training_episodes()]
        recent = touched[-20:]
        return (
            f"{definition.title}: {minutes:.1f} of {definition.minutes:g} min, "
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
                planned = [count for _, count, _ in record.planned_evaluations()]
                wanted = planned[len(record.evaluated()) :]
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


class Console:
    """Lines that stay, and one of how far it is: rewritten on a terminal, a new one in a log."""

    def __init__(self) -> None:
        self._tty = sys.stdout.isatty()
        self._line = ""

    @property
    def interval(self) -> float:
        """Seconds between two lines of how far it is."""
        return 2.0 if self._tty else 60.0

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.show("")
        print(text, flush=True)

    def show(self, line: str) -> None:
        """Print how far it is; an empty line takes the last one away."""
        if self._tty:
            line = line[: shutil.get_terminal_size().columns - 1]
            if line or self._line:
                print(f"\r{line:<{len(self._line)}}\r{line}", end="", flush=True)
            self._line = line
        elif line:
            print(line, flush=True)


def _resumable(definition: Definition, out: Path) -> Record:
    """What there is of a run, if it may go on."""
    record = Record(definition, out)
    differing = list(record.differing)
    used = provenance.profile(definition)
    if record.values.get("profile", used) != used:  # earlier versions did not store it
        differing.append(f"profile (launch/config/{definition.profile}.yaml)")
    if differing:
        raise DefinitionError(
            f"{record.folder} was made with another {' and '.join(differing)}: "
            "name another --out, or delete that folder."
        )
    try:
        record.evaluated()
    except (ValueError, KeyError, TypeError):
        raise DefinitionError(
            f"{record.evaluations} is damaged: delete it to evaluate the run again."
        ) from None
    return record


async def _played(
    record: Record, slot: Slot, checkpoint: Path, episodes: int, factor: float
) -> dict[str, Any]:
    """Evaluate a checkpoint; what evaluation.json says of it."""
    out, log = record.folder / "evaluation", record.folder / "evaluation.log"
    shutil.rmtree(out, ignore_errors=True)
    definition = record.definition
    command = launch(
        "evaluate.launch.py",
        **{name: value for name, value in definition.launch.items() if name in PLAYED_AGAIN},
        config=record.config,
        checkpoint=checkpoint,
        episodes=episodes,
        seed=definition.evaluation.seed,
        data_dir=out,
        video="false",
        real_time_factor=factor,
    )
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
        return {name: result[name] for name in EVALUATION_COLUMNS[2:8]}
    except (OSError, ValueError, KeyError) as error:
        raise RunFailedError(f"an evaluation left no result ({error}), see {log}.") from None
