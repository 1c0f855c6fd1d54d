"""Where a run's numbers come from: profile, pace, machine and versions, as run.json has them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from experiments.definition import Definition
from experiments.parameters import NODES
from planet_bringup import cores

TICK = 0.05  # s, the robot's
PROFILES = Path(__file__).resolve().parents[1] / "launch" / "config"


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


def machine(cpus: Sequence[int]) -> dict[str, Any]:
    """The CPU, how many of its cores the run has, and what else it does."""
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
    """Versions of what computes, and the commit of this checkout where there is one."""
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
