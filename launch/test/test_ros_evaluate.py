"""evaluate.launch.py with real processes: from a small model to the last line on the terminal."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from planet_core.episode import Episode
from planet_core.weights import to_file
from planet_model.config import ModelConfig, ObjectiveConfig, TrainingConfig
from planet_model.trainer import PlanetTrainer
from planet_node.testing import own_domain

DOMAIN = str(own_domain(30))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """An untrained model, which touches by chance if at all."""
    return write_model(tmp_path / "weights.safetensors", termination_head=True)


def write_model(path: Path, termination_head: bool) -> Path:
    config = ModelConfig(
        cameras=("camera_front", "camera_side"),
        action_size=4,
        deterministic_size=32,
        stochastic_size=8,
        hidden_size=32,
        embedding_size=64,
        conv_depth=2,
        termination_head=termination_head,
    )
    weights = PlanetTrainer(config, ObjectiveConfig(), TrainingConfig()).weights(full=True)
    path.write_bytes(to_file(dataclasses.replace(weights, update=5)))
    return path


def evaluate(checkpoint: Path, data_dir: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    done = subprocess.run(
        [
            *("ros2", "launch", "planet_bringup", "evaluate.launch.py", "profile:=test"),
            *(f"checkpoint:={checkpoint}", f"data_dir:={data_dir}", *arguments),
        ],
        check=False,
        env=os.environ | {"ROS_DOMAIN_ID": DOMAIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    print(done.stdout)  # pytest shows it where a test fails
    return done.returncode, done.stdout


def running(word: str) -> list[str]:
    """Processes with `word` in their command line."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_text())
        except OSError:
            continue
    return [command for command in commands if word in command]


def test_it_plays_its_seeds_ends_by_itself_and_does_so_again(
    checkpoint: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "evaluation"
    for seed, episodes in [(7, 3), (100, 2)]:  # the second in the same place: nothing is mixed up
        code, output = evaluate(checkpoint, data_dir, f"episodes:={episodes}", f"seed:={seed}")
        assert code == 0
        last = re.fullmatch(r"touched (\d+) of (\d+) episodes \((\d+) %\)", output.splitlines()[-1])
        assert last is not None
        with (data_dir / "evaluation.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["seed"]) for row in rows] == list(range(seed, seed + episodes))
        assert int(last[2]) == episodes
        assert int(last[1]) == sum(int(row["touched"]) for row in rows)
        assert json.loads((data_dir / "evaluation.json").read_text())["update"] == 5
        assert (data_dir / "video.webm").stat().st_size > 1000
        assert "Traceback" not in output
    assert running(str(data_dir)) == []


def test_the_same_seed_is_the_same_start(checkpoint: Path, tmp_path: Path) -> None:
    first = []
    for name in ("one", "two"):
        assert evaluate(checkpoint, tmp_path / name, "episodes:=1", "video:=false")[0] == 0
        assert not (tmp_path / name / "video.webm").exists()
        # The roller begins another while the launch ends; the first is the one that was asked for.
        path = min((tmp_path / name / "episodes").glob("*_*.safetensors"))
        first.append(Episode.from_bytes(path.read_bytes()).images[0].tobytes())
    assert first[0] == first[1]


def test_a_model_that_the_roller_refuses_ends_the_launch_with_the_reason(tmp_path: Path) -> None:
    path = write_model(tmp_path / "headless.safetensors", termination_head=False)
    code, output = evaluate(path, tmp_path / "evaluation", "episodes:=3")
    assert code == 1
    assert "the roller cannot act: refused" in output
    assert "no termination head" in output
    assert "touched" not in output.splitlines()[-1]


def test_a_run_is_not_judged_under_another_control(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("position\n")
    code, output = evaluate(tmp_path, tmp_path / "evaluation")
    assert code == 1
    assert f"{tmp_path} holds a run with control:=position, but control is torque" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("checkpoint:=/nowhere", "there is no checkpoint /nowhere"),
        ("config:=/nowhere.yaml", "config is '/nowhere.yaml', but there is no file /nowhere.yaml"),
    ],
)
def test_a_wrong_argument_ends_the_launch_with_one_sentence(
    argument: str, sentence: str, checkpoint: Path, tmp_path: Path
) -> None:
    code, output = evaluate(checkpoint, tmp_path / "evaluation", argument)
    assert code == 1
    assert sentence in output
    assert "Traceback" not in output
