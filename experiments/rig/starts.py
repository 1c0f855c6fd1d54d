"""The rig, started and ended again and again in one folder, as its user would; some are killed.

A start is good when its robot gets as far as asked and nothing of it is left when it has ended: no
process, and after an orderly end no serial port. What a killed one leaves must not disturb the
next.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from experiments.processes import command_line, kill
from experiments.rig.graph import Graph
from experiments.tables import fresh

HUNG = 180.0  # s within which a start must get as far as it is asked to
ENDING = 60.0  # s for an end that Ctrl-C asked for
GRACE = 5.0  # s for the processes of a launch that has ended
SLICE = 0.5  # s between two looks at whether the launch still lives


@dataclass(frozen=True)
class Start:
    """One start; times in s, NaN where there is none."""

    number: int
    ended_by: str
    decision_s: float
    """From the command to the first decision that was heard of."""
    episode_s: float
    """To the first episode that was stored."""
    end_s: float
    """From the signal to the end of the last process."""
    exit_code: int | None
    trouble: str
    """What never happened, empty where all is well."""
    leftovers: str
    """What was left GRACE after the end."""


def starts(
    out: Path, count: int, killed: int, domain: int, until: str, arguments: tuple[str, ...]
) -> list[Start]:
    """Start `count` times, `killed` of them ended by SIGKILL; rows are printed as they come.

    Args:
        out: gets `starts.csv`, the runs' `data` folder, and a log of each.
        until: "decision" or "episode".
        arguments: of rig.launch.py, such as profile:=test.
    """
    rows: list[Start] = []
    (out / "logs").mkdir(parents=True, exist_ok=True)
    table = fresh(out / "starts.csv", [field.name for field in fields(Start)])
    for number in range(count):
        signalled = "SIGINT"
        if number * killed // count != (number + 1) * killed // count:
            signalled = "SIGKILL"
        log = out / "logs" / f"{number:03d}.log"
        log.unlink(missing_ok=True)
        row = start(number, signalled, out / "data", log, domain, until, arguments)
        rows.append(row)
        table.append(vars(row))
        print(row, flush=True)
    print(summary(rows))
    return rows


def start(
    number: int,
    ended_by: str,
    data_dir: Path,
    log: Path,
    domain: int,
    until: str,
    arguments: tuple[str, ...],
) -> Start:
    """One start and its end."""
    began = time.monotonic()
    running = Graph(data_dir, domain, *arguments, log=log)
    decision = episode = math.nan
    trouble = ""
    try:
        decision = _wait(running, began, "first decision", lambda: running.driven > 0.0)
        if until == "episode":

            def stored() -> bool:
                return bool(running.stored) and running.stored[-1] > running.stored[0]

            episode = _wait(running, began, "first episode", stored)
    except TimeoutError as error:
        trouble = str(error)
    ending = time.monotonic()
    if ended_by == "SIGKILL":
        kill(running.mark)
    else:
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGINT)
    try:
        running.process.wait(ENDING)
    except subprocess.TimeoutExpired:
        trouble = trouble or f"no end within {ENDING:g} s of Ctrl-C"
    left = _left(running, data_dir / "port", interrupted=ended_by == "SIGINT")
    kill(running.mark)
    running.leave()
    return Start(
        number,
        ended_by,
        round(decision, 2),
        round(episode, 2),
        round(left[1] - ending, 2),
        running.process.wait(),
        trouble,
        "; ".join(left[0]),
    )


def _wait(running: Graph, began: float, what: str, condition: Callable[[], bool]) -> float:
    """Seconds since `began`; TimeoutError where it never happens or the launch ends before."""
    while True:
        left = began + HUNG - time.monotonic()
        if left <= 0.0:
            raise TimeoutError(f"no {what} within {HUNG:g} s")
        with suppress(TimeoutError):
            running.wait(what, condition, min(left, SLICE))
            return time.monotonic() - began
        if running.process.poll() is not None:
            code = running.process.returncode
            raise TimeoutError(f"no {what}: the launch has ended with exit code {code}")


def _left(running: Graph, port: Path, interrupted: bool) -> tuple[list[str], float]:
    """What is left GRACE after the end, and when the last process that did end had ended."""
    deadline = time.monotonic() + GRACE
    while (pids := running.pids()) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = time.monotonic()
    left = [f"{pid} {command_line(pid)[:120]}" for pid in pids]
    if interrupted and port.is_symlink():
        left.append(f"the link {port.name}")
    return left, ended


def summary(rows: list[Start]) -> str:
    """What came of it, in some lines."""
    lines = []
    for ended_by in ("SIGINT", "SIGKILL"):
        chosen = [row for row in rows if row.ended_by == ended_by]
        if chosen:
            codes = sorted({str(row.exit_code) for row in chosen})
            lines.append(
                f"{len(chosen)} ended by {ended_by}: "
                f"{sum(bool(row.trouble) for row in chosen)} with trouble, "
                f"{sum(bool(row.leftovers) for row in chosen)} with leftovers, "
                f"exit codes {', '.join(codes)}; "
                f"first decision after {_spread([row.decision_s for row in chosen])}, "
                f"first episode after {_spread([row.episode_s for row in chosen])}, "
                f"end after {_spread([row.end_s for row in chosen])}"
            )
    return "\n".join(lines)


def _spread(times: list[float]) -> str:
    known = sorted(time for time in times if not math.isnan(time))
    if not known:
        return "-"
    return f"{known[len(known) // 2]:.1f} s (at most {known[-1]:.1f})"
