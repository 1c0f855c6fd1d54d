"""Show that a launch file starts the same processes under the real `ros2 launch` and under ours.

    python compat/test/compare_with_real.py --real <PYTHONPATH of the real launch, launch_ros,
        ros2cli, ros2launch and what they import> sim.launch.py profile:=test

Both are run, with every executable of every package replaced by `recorder.py`. What it was given
is compared: arguments, the contents of parameter files, environment, folder, number of cores, how
often it was started (with `--die`: it exits twice), and the names that the launch gave it. Nothing
but the names of temporary files is left out. The exit code is 0 if there is no difference.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
COMPAT = HERE.parent
QUIET = 2.0  # s without a new process: longer than a respawn takes
LIMIT = 20.0  # s that a process may take to record
ROS2 = "import sys; from ros2cli.cli import main; sys.exit(main())"
# They differ by construction.
OWN = {"PYTHONPATH", "AMENT_PREFIX_PATH", "ROS_LOG_DIR"}
# The shell and Python, in between, set them.
OWN |= {"_", "SHLVL", "PWD", "OLDPWD", "LC_CTYPE"}


class Loader(yaml.SafeLoader):
    """Reads Python's tuples, which the real launch_ros writes, as lists."""


def read_tuple(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return list(loader.construct_sequence(node))


Loader.add_constructor("tag:yaml.org,2002:python/tuple", read_tuple)


def fake_prefix(folder: Path, python: str) -> None:
    """Make a prefix whose packages have the executables' names and the real share folders."""
    index = folder / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        packages = Path(prefix or "/nowhere", "share/ament_index/resource_index/packages")
        for package in sorted(path.name for path in packages.glob("*")):
            if (index / package).exists():
                continue
            (index / package).touch()
            (folder / "share" / package).symlink_to(Path(prefix, "share", package))
            (folder / "lib" / package).mkdir(parents=True)
            for executable in Path(prefix, "lib", package).glob("*"):
                write_fake(folder / "lib" / package / executable.name, python)


def write_fake(path: Path, python: str) -> None:
    """Write an executable that records how it was started."""
    recorder = shlex.join([python, "-IS", str(HERE / "recorder.py")])
    path.write_text(f'#!/bin/sh\nexec {recorder} "$0" "$@"\n')
    path.chmod(0o755)


def readable(record: dict[str, Any], base: dict[str, str], home: str) -> dict[str, Any]:
    """Return a record without what depends on the run: parameters instead of files' names."""
    arguments: list[Any] = []
    for argument in record["arguments"]:
        text = record["files"].get(argument)
        arguments.append(argument if text is None else yaml.load(text, Loader))
    its = record["environment"]
    environment = {
        name: its.get(name)
        for name in sorted({*base, *its} - OWN)
        if its.get(name) != base.get(name)
    }
    if "PATH" not in its:
        environment = {"(nothing else)": "", **{k: v for k, v in environment.items() if v}}
    plain = {
        "executable": record["executable"],
        "arguments": arguments,
        "environment": environment,
        "folder": record["folder"],
        "cores": "all" if record["cores"] == len(os.sched_getaffinity(0)) else record["cores"],
    }
    text = json.dumps(plain).replace(home, "<tmp>").replace(str(HERE), "<here>")
    return dict(json.loads(text))


def record(launch_file: Sequence[str], python_path: str, *, die: bool = False) -> dict[str, Any]:
    """Launch with fake executables; return what they recorded, and the names they were given."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "records").mkdir()
        fake_prefix(folder / "prefix", sys.executable)
        write_fake(folder / "recorder", sys.executable)
        prefixes = [str(folder / "prefix"), os.environ.get("AMENT_PREFIX_PATH", "")]
        paths = [python_path, os.environ.get("PYTHONPATH", "")]
        base = {
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join(prefixes),
            "PYTHONPATH": os.pathsep.join(paths),
            "ROS_LOG_DIR": str(folder / "log"),
            "RECORD_DIR": str(folder / "records"),
            "RECORDER": str(folder / "recorder"),
            "TMPDIR": home,
        }
        if die:
            base["RECORD_DIE"] = "1"
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", ROS2, "launch", *launch_file],
                env=base,
                cwd=HERE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                wait_until_quiet(process, folder)
                process.send_signal(signal.SIGINT)
                code = process.wait(30)
            finally:
                # The real launch leaves behind what a shell started.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        text = output_of(folder)
        plain = [readable(item, base, home) for item in records_of(folder)]
    processes: list[dict[str, Any]] = []
    for item in sorted(plain, key=json.dumps):
        if processes and {**processes[-1], "lives": 1} == {**item, "lives": 1}:
            processes[-1]["lives"] += 1
        else:
            processes.append({**item, "lives": 1})
    names = re.findall(r"^\[INFO\] \[(.+?)\]: process started", text, re.MULTILINE)
    said = [line for line in text.splitlines() if "exception" in line]
    if not names and not said:
        said = text.splitlines()[-1:]
    return {
        "exit code": code,
        "names": sorted(names),
        "said": sorted(line.replace(home, "<tmp>") for line in said),
        "processes": processes,
    }


def wait_until_quiet(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the launch has ended, or all have recorded and none has started for a while."""
    seen: object = None
    start = since = time.monotonic()
    while time.monotonic() < since + QUIET:
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            started = set(re.findall(r"process started with pid \[(\d+)\]", output_of(folder)))
            records = {pid for r in records_of(folder) for pid in r["pids"]}
            waiting = [
                pid for pid in started if int(pid) not in records and Path("/proc", pid).exists()
            ]
            now = (started, records)
            slow = waiting or not started
            if now != seen or (slow and time.monotonic() < start + LIMIT):
                seen, since = now, time.monotonic()
        else:
            return


def output_of(folder: Path) -> str:
    return (folder / "output").read_text()


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "records").glob("*.json")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--real", required=True, help="PYTHONPATH of the real tools")
    parser.add_argument("--die", action="store_true", help="Let each process exit twice")
    parser.add_argument("--dump", help="Write what the real tools do to this file")
    parser.add_argument("launch_file", nargs="+", help="as for ros2 launch, with arguments")
    options = parser.parse_args()
    texts = []
    for path in (options.real, str(COMPAT)):
        found = record(options.launch_file, path, die=options.die)
        texts.append(yaml.safe_dump(found, default_flow_style=None, width=100))
    if options.dump:
        Path(options.dump).write_text(texts[0])
    real, ours = (text.splitlines() for text in texts)
    difference = list(difflib.unified_diff(real, ours, "real", "compat", lineterm=""))
    print("\n".join(difference) or f"no difference in {texts[0].count('executable')} processes")
    if "processes: []" in texts[0]:
        print(texts[0])
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
