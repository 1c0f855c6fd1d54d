"""What this process may compute with, and how acting and training share it.

A CPU is a hardware thread, as Linux counts them. The CPUs of one core share what computes with
floats, so a second thread on a core adds next to nothing. A container's quota shows in nobody's
affinity: of 64 threads on 64 CPUs under a quota of two, most stand still most of the time.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Core = tuple[int, ...]
"""The CPUs of one core that this process may run on, in order."""
Times = Mapping[int, float]
"""How long something takes (s), by its number of threads."""
Fixed = tuple[int, str]
"""A number of threads that is not to be chosen, and why: `(2, "as asked")`."""

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of threads that are worth a measurement."""

# Tensors freed and allocated again every update stay with the process: returning them to the
# system costs a learner almost half of its time in page faults.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""The environment of a process that learns or plans."""


@dataclass(frozen=True)
class Machine:
    """The cores that this process may run on, and its quota."""

    cores: tuple[Core, ...]
    quota: float = math.inf
    """CPUs' worth of time that its cgroups allow."""

    @property
    def budget(self) -> int:
        """How many threads compute at once without standing in each other's way; at least 1."""
        return max(1, int(min(len(self.cores), self.quota)))

    @property
    def reason(self) -> str:
        """Where the budget comes from, in words."""
        cpus = sum(map(len, self.cores))
        if self.quota < len(self.cores):
            return f"the quota is {_count(self.quota, 'CPU')}"
        if cpus > len(self.cores):
            return f"{_count(cpus, 'CPU')} are hyperthreads of {_count(len(self.cores), 'core')}"
        return f"there {'is' if cpus == 1 else 'are'} {_count(cpus, 'core')}"

    def parts(self, count: int) -> list[tuple[int, ...]]:
        """Disjoint CPUs for so many runs at once, none with more than its share of the quota.

        The CPUs of a core stay together, unless there are fewer cores than runs. Raises ValueError,
        one sentence, when there are too few CPUs.
        """
        units = list(self.cores)
        if count > len(units):
            units = [(cpu,) for core in self.cores for cpu in core]
        usable = max(1, int(min(len(units), self.quota)))
        size = usable // count
        if size < 1:
            raise ValueError(f"{count} runs at once are too many, since {self.reason}.")
        return [_flat(units[i * size : (i + 1) * size]) for i in range(count)]


@dataclass(frozen=True)
class Share:
    """What one process computes with."""

    cpus: tuple[int, ...]
    threads: int
    why: str

    def __str__(self) -> str:
        cpus = "CPU" if len(self.cpus) == 1 else "CPUs"
        return f"{_count(self.threads, 'thread')} on {cpus} {cpu_list(self.cpus)}, {self.why}"


def read(root: Path = Path("/"), affinity: Iterable[int] | None = None) -> Machine:
    """The machine as this process has it.

    Args:
        root: the folder in which /proc, /sys and mounted cgroups are looked for.
        affinity: the CPUs to look at; None: those that this process may run on.
    """
    allowed = set(os.sched_getaffinity(0) if affinity is None else affinity)
    cores = {tuple(sorted(_siblings(root, cpu) & allowed)) for cpu in allowed}
    return Machine(tuple(sorted(cores)), quota(root))


def quota(root: Path = Path("/")) -> float:
    """CPUs' worth of time that this process's cgroups allow; infinite where none has a quota."""
    return min((_quota(group) for group in _groups(root)), default=math.inf)


def share(
    machine: Machine,
    *,
    together: bool,
    fixed: tuple[Fixed | None, Fixed | None],
    measure: Callable[[Sequence[int], Sequence[int]], tuple[Times, Times]],
) -> tuple[Share, Share]:
    """What acting and training compute with.

    Args:
        together: they work at the same time, so each gets CPUs of its own; else they take turns,
            and each gets all.
        fixed: threads of acting and of training; None: as many as make it faster.
        measure: is given the numbers of threads to try, of a plan and of an update, and returns
            how long each takes; a number that is missing there does not pay. It is called only
            where there is a choice, so never with two cores.
    """
    budget = machine.budget
    tried: list[list[int]] = []
    for own, other in (fixed, fixed[::-1]):
        most = max(1, budget - (other[0] if other else 1)) if together else budget
        counts = [count for count in STEPS if count < most] + [most]
        tried.append([own[0]] if own else counts if budget > 2 else [most])
    unknown = [counts if len(counts) > 1 else [] for counts in tried]
    times = measure(unknown[0], unknown[1]) if any(unknown) else ({}, {})
    plan, update = (found or {counts[-1]: 1.0} for found, counts in zip(times, tried, strict=True))
    threads = _fastest(plan, update, budget if together else math.inf)
    cpus = _divide(machine.cores, *threads) if together else (_flat(machine.cores),) * 2
    why = [
        own[1] if own else _told(found) if found else f"since {machine.reason}"
        for own, found in zip(fixed, times, strict=True)
    ]
    return Share(cpus[0], threads[0], why[0]), Share(cpus[1], threads[1], why[1])


def _fastest(plan: Times, update: Times, most: float) -> tuple[int, int]:
    """The pair, of at most so many threads, that speeds up both by most: by product.

    Where both are fixed and too many, so be it.
    """
    pairs = [(k, m) for k in plan for m in update]
    fit = [(k, m) for k, m in pairs if k + m <= most] or [min(pairs, key=sum)]
    return min(fit, key=lambda pair: (plan[pair[0]] * update[pair[1]], sum(pair)))


def _divide(cores: Sequence[Core], first: int, second: int) -> tuple[Core, Core]:
    """All CPUs, in two parts as `first` to `second`; where these are too many, both have all."""
    if len(cores) == 1:
        cores = [(cpu,) for cpu in cores[0]]
    if first + second > len(cores):
        return _flat(cores), _flat(cores)
    cut = round(len(cores) * first / (first + second))
    return _flat(cores[:cut]), _flat(cores[cut:])


def _flat(cores: Iterable[Core]) -> tuple[int, ...]:
    return tuple(sorted(cpu for core in cores for cpu in core))


def _told(times: Times) -> str:
    if len(times) == 1:
        return "measured: more do not pay"
    found = ", ".join(f"{1e3 * times[count]:.0f} ms with {count}" for count in sorted(times))
    return f"measured: {found}"


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"


def cpu_list(cpus: Iterable[int]) -> str:
    """CPUs as Linux writes them: `0-3,8`."""
    runs: list[tuple[int, int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], cpu)
        else:
            runs.append((cpu, cpu))
    return ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in runs)


def _siblings(root: Path, cpu: int) -> set[int]:
    """The CPUs of the core that `cpu` is of; only itself where the kernel does not say."""
    path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        runs = [run.split("-") for run in path.read_text().strip().split(",")]
    except FileNotFoundError:
        return {cpu}
    return {cpu for run in runs for cpu in range(int(run[0]), int(run[-1]) + 1)}


# Control groups, see cgroups(7) and proc_pid_mountinfo(5).


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups that may bound its CPU time, up to their mounts."""
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        if kind not in paths or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        within, point = (_unescaped(field) for field in mount.split(" ")[3:5])
        top = root / point.lstrip("/")
        # In a container the mount may begin at the container's own group.
        group = top / os.path.relpath(paths[kind], within)
        if ".." in group.relative_to(top).parts:
            group = top  # what is above a namespace's root cannot be seen from within
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(top))


def _quota(group: Path) -> float:
    """What this one cgroup allows."""
    try:
        amount, period = (group / "cpu.max").read_text().split()
    except OSError:
        try:
            amount = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:  # the controller does not act here, this is the root, or it is hidden
            return math.inf
    return math.inf if amount in ("max", "-1") else int(amount) / int(period)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # a kernel without cgroups
        return []


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
