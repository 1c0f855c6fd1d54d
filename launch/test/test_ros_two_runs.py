"""Two launches on one computer, as two people would start them in two terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from planet_core.episode import Episode
from planet_node.testing import own_domain

LAUNCH = ("ros2", "launch", "planet_bringup")


def environment(**changes: str) -> dict[str, str]:
    """Of a terminal where the user has set no domain, with changes."""
    inherited = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    return inherited | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} | changes


def start(file: str, data_dir: Path, *arguments: str, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LAUNCH, file, "profile:=test", f"data_dir:={data_dir}", *arguments],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a launch says up to a line with `words`."""
    assert process.stdout is not None
    heard = ""
    for line in process.stdout:
        heard += line
        if words in line:
            return heard
    raise AssertionError(f"the launch ended without saying '{words}': {heard}")


def episodes(data_dir: Path) -> list[Episode]:
    paths = (data_dir / "episodes").glob("*_*.safetensors")
    return [Episode.from_bytes(path.read_bytes()) for path in paths]


def test_an_evaluation_beside_a_training_ends_well_and_nothing_is_mixed_up(tmp_path: Path) -> None:
    training = start("sim.launch.py", tmp_path / "sim")
    heard = until(training, "process started")
    evaluation = start("evaluate.launch.py", tmp_path / "demo", "profile:=laptop", "episodes:=3")
    said = evaluation.communicate(timeout=300)[0]
    heard += until(training, "planner episode")
    training.send_signal(signal.SIGINT)
    print(heard, training.communicate(timeout=120)[0], said)  # pytest shows it where a test fails
    assert (training.returncode, evaluation.returncode) == (0, 0)
    assert said.count("so this one is in domain") == 1
    assert json.loads((tmp_path / "demo" / "evaluation.json").read_text())["episodes"] == 3
    assert {episode.policy for episode in episodes(tmp_path / "demo")} == {"evaluation"}
    trained = episodes(tmp_path / "sim")
    assert {"random", "planner"} <= {episode.policy for episode in trained}
    assert max(episode.weights_version for episode in trained) < 1000  # an evaluation's is random


def test_a_run_in_the_domain_of_another_is_refused_by_name_before_any_node_starts(
    tmp_path: Path,
) -> None:
    domain = {"ROS_DOMAIN_ID": str(own_domain(45))}
    first = start("sim.launch.py", tmp_path / "first", **domain)
    until(first, "process started")
    second = start("evaluate.launch.py", tmp_path / "second", **domain)
    said = second.communicate(timeout=60)[0]
    first.terminate()
    first.communicate(timeout=60)
    assert second.returncode == 1
    assert f"the run in {tmp_path / 'first'} (process {first.pid}) is in that domain" in said
    assert "process started" not in said
    assert "Traceback" not in said


def test_two_runs_that_meet_from_two_computers_store_nothing_of_each_other(tmp_path: Path) -> None:
    domain = {"ROS_DOMAIN_ID": str(own_domain(46))}
    runs = {}
    for name in ("one", "two"):
        (tmp_path / name / "runtime").mkdir(parents=True)  # neither sees the other's lock
        runtime = {"XDG_RUNTIME_DIR": str(tmp_path / name / "runtime")}
        runs[name] = start("sim.launch.py", tmp_path / name, "minutes:=3", **domain, **runtime)
    said = {name: until(run, "robot_spec is refused: it is of run") for name, run in runs.items()}
    for run in runs.values():
        run.send_signal(signal.SIGINT)
    for run in runs.values():
        run.communicate(timeout=120)
    ids = {
        name: json.loads((tmp_path / name / "meaning.json").read_text())["run_id"] for name in runs
    }
    assert f"it is of run {ids['two']}, but this is run {ids['one']}" in said["one"]
    assert f"it is of run {ids['one']}, but this is run {ids['two']}" in said["two"]
    stored = [{episode.id for episode in episodes(tmp_path / name)} for name in runs]
    assert not set.intersection(*stored)


@pytest.mark.parametrize(("file", "name"), [("sim.launch.py", "action_repeat")])
def test_a_run_resumed_with_another_rhythm_is_refused(tmp_path: Path, file: str, name: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"/**/roller:\n  ros__parameters: {{{name}: 5}}\n")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "meaning.json").write_text(json.dumps({name: 2}))
    process = start(file, data_dir, f"config:={config}", ROS_DOMAIN_ID=str(own_domain(47)))
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f"{data_dir} holds a run with {name}:=2, but {name} is 5" in said
    assert "process started" not in said
