"""What the launch files give each node to compute with, on a machine with four cores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# In a process of its own: here, `launch` is this folder.
SCRIPT = """
import json, sys
from launch import LaunchContext
from planet_bringup import launching
from planet_bringup.cores import Machine
from planet_bringup.launching import Run, arguments, robot_arguments

learning, patience, given = json.loads(sys.argv[1])
context = LaunchContext()
for argument in [*arguments(".", learning=learning), *robot_arguments()]:
    argument.execute(context)
context.launch_configurations.update(given)
run = Run(context, learning=learning)
run.machine = Machine(((0,), (1,), (2,), (3,)))
launching.TRIAL_TIMEOUT = patience
print(run.data_dir)
try:
    print(json.dumps([[s.threads, list(s.cpus), s.why] for s in (run.acting, run.training)]))
except RuntimeError as error:
    sys.exit(str(error))
"""
ALL = [0, 1, 2, 3]


def made(
    folder: Path, *, learning: bool = True, patience: float = 600.0, **given: str
) -> subprocess.CompletedProcess[str]:
    """What SCRIPT prints in `folder`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            json.dumps([learning, patience, {"profile": "test", **given}]),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def shared(folder: Path, **given: Any) -> tuple[list[list[object]], str]:
    """Threads, CPUs and reason of acting and of training; and the error, if that is what came."""
    done = made(folder, **given)
    if done.returncode != 0:
        return [], done.stderr.strip()
    return json.loads(done.stdout.splitlines()[-1]), ""


def test_with_four_cores_it_is_measured_what_pays(tmp_path: Path) -> None:
    (acting, training), _ = shared(tmp_path)
    assert acting[0] + training[0] <= 4
    assert acting[1] + training[1] == ALL
    assert acting[1]
    assert training[1]


def test_a_measurement_that_takes_too_long_leaves_a_thread_each(tmp_path: Path) -> None:
    found, _ = shared(tmp_path, patience=0.01)
    why = "since more could not be measured in 0.01 s"
    assert [(share[0], share[2]) for share in found] == [(1, why)] * 2


def test_threads_that_are_asked_for_are_given(tmp_path: Path) -> None:
    found, _ = shared(tmp_path, roller_threads="3", learner_threads="1")
    assert found == [[3, [0, 1, 2], "as asked"], [1, [3], "as asked"]]


def test_who_computes_on_a_gpu_leaves_the_cores_to_the_other(tmp_path: Path) -> None:
    found, _ = shared(tmp_path, roller_threads="3", learner_device="cuda")
    assert found == [[3, [0, 1, 2], "as asked"], [1, [3], "since it computes on cuda"]]


def test_in_turns_each_has_all(tmp_path: Path) -> None:
    found, _ = shared(tmp_path, mode="sync", roller_threads="4", learner_threads="2")
    assert found == [[4, ALL, "as asked"], [2, ALL, "as asked"]]


@pytest.mark.parametrize(
    ("pace", "threads", "cpus"), [("0.0", "4", [ALL, ALL]), ("1.0", "3", [[0, 1, 2], [3]])]
)
def test_where_nothing_is_learnt_acting_has_all_or_at_the_robot_s_pace_all_but_one(
    tmp_path: Path, pace: str, threads: str, cpus: list[list[int]]
) -> None:
    found, _ = shared(tmp_path, learning=False, roller_threads=threads, real_time_factor=pace)
    assert [share[1] for share in found] == cpus


def test_a_negative_number_of_threads_is_refused(tmp_path: Path) -> None:
    _, error = shared(tmp_path, roller_threads="-1")
    assert error == "roller_threads is -1, but must be at least 0."


def test_a_parameter_that_cannot_be_measured_with_is_named(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("/learner:\n  ros__parameters: {model.conv_depth: 0}\n")
    _, error = shared(tmp_path, config=str(config))
    assert error == (
        "how many threads pay could not be measured (roller_threads, learner_threads set it): "
        "NetworkConfig.conv_depth is 0, expected at least 1."
    )


@pytest.mark.parametrize("name", ["0928", "n", "1e5"])
def test_a_folder_s_name_is_no_number_to_a_node(tmp_path: Path, name: str) -> None:
    done = made(tmp_path, roller_threads="1", learner_threads="1", data_dir=name)
    assert done.stdout.splitlines()[-2] == str(tmp_path / name)
