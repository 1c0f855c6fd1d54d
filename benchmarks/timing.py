"""Contestants in processes of their own, timed in turn.

Each contestant has its own environment (threads, malloc settings, cores) and does one step when it
is told to, while the others wait: what else the machine does hits all of them alike, and only
ratios of one run are worth quoting.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from planet_bringup import cores as processors
from planet_bringup.cores import MALLOC

ROOT = Path(__file__).parents[1]


class Contestant:
    """A process that runs `module` with `arguments` and :func:`serve`s steps.

    Args:
        malloc: whether memory that is freed stays with the process, as the launch files set it.
        cores: pinned to these; None leaves it alone.
    """

    def __init__(
        self,
        module: str,
        arguments: Mapping[str, Any],
        threads: int,
        malloc: bool = True,
        cores: Sequence[int] | None = None,
    ) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in MALLOC}
        environment["OMP_NUM_THREADS"] = str(threads)
        if malloc:
            environment |= MALLOC
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        self._process = subprocess.Popen(
            [*pinned, sys.executable, "-m", module, "--contestant", json.dumps(dict(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.times: list[float] = []
        """Of the steps so far, s; those before the first :meth:`step` are not among them."""

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def begin(self) -> None:
        """Start a step without waiting for it."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)

    def end(self) -> float:
        """Wait for the step that :meth:`begin` started; its time, s."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended with {self._process.wait()}: see its error")
        self.times.append(float(line))
        return self.times[-1]

    def step(self) -> float:
        """One step; its time, s."""
        self.begin()
        return self.end()

    def warm_up(self, steps: int) -> None:
        """Steps that do not count."""
        for _ in range(steps):
            self.step()
        self.times.clear()

    def milliseconds(self) -> dict[str, float]:
        """Minimum, median and 99th percentile of its times, ms."""
        times = 1e3 * np.array(self.times)
        return {
            "minimum": round(float(times.min()), 2),
            "median": round(float(np.median(times)), 2),
            "p99": round(float(np.percentile(times, 99)), 2),
        }


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, warm_up: int, many: Mapping[str, int]
) -> None:
    """`rounds` times a step of each in turn (of those in `many` so many), then end them all."""
    try:
        for one in contestants.values():
            one.warm_up(warm_up)
        for _ in range(rounds):
            for name, one in contestants.items():
                for _ in range(many.get(name, 1)):
                    one.step()
    finally:
        for one in contestants.values():
            one.__exit__(None, None, None)


def serve(step: Callable[[], object]) -> None:
    """A contestant's side: a step for every line that comes in, its time (s) as the answer."""
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in values.items()}
    return {
        "cpu": found.get("model name", platform.processor()),
        "cores": processors.read().budget,
        "avx512_bf16": "avx512_bf16" in found.get("flags", "").split(),
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in markdown."""
    cells = [[f"{c:.1f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([line(heads), rule, *map(line, cells)])


def finish(result: dict[str, Any], text: str, path: Path | None) -> None:
    """Print `text` and, if there is a `path`, write `result` there as JSON ("-": print that)."""
    if path is not None and str(path) == "-":
        print(json.dumps(result, indent=1))
        return
    print(text)
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n")
