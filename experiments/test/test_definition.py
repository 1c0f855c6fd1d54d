"""What an experiment's file may say, and how a mistake in it is told."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import provenance
from experiments.definition import DefinitionError, load, slug
from experiments.parameters import DECLARED, NODES, parameters_of
from planet_model.method import METHOD

Write = Callable[..., Path]


def test_runs_go_seed_by_seed_and_a_method_may_have_its_own(write: Write) -> None:
    experiment = load(write())
    names = [definition.folder for definition in experiment.runs]
    assert names == ["async/seed_0", "sync_c_10/seed_1", "async/seed_1"]
    sync = experiment.runs[1]
    assert sync.launch["profile"] == "test"
    assert sync.real_time_factor == 1.0
    assert sync.ros_parameters()["/learner"]["ros__parameters"] == {
        "checkpoint_seconds": 20.0,
        "batch_size": 4,
        "model": {"conv_depth": 2, "observation": "state"},
    }


SHIPPED = sorted(Path(__file__).resolve().parents[1].glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_definition_is_valid(path: Path) -> None:
    assert load(path).runs


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"minutes": 0}, "minutes is 0, expected a number above 0."),
        ({"seeds": [0, 0]}, "seeds names a seed twice."),
        ({"seeds": 3}, r"seeds must be a list of whole numbers, such as \[0, 1, 2\]."),
        ({"hours": 3}, "the file has an unknown hours, expected evaluation, "),
        ({"evaluation": {}}, "evaluation lacks every."),
        ({"launch": {"seed": 3}}, "launch.seed is for the runner to set."),
        ({"launch": {"speed": 3}}, "launch.speed is unknown, expected collect_interval, "),
        ({"launch": {"mode": "both"}}, "launch.mode is 'both', expected async or sync."),
        ({"launch": {"real_time_factor": -1}}, "is -1, expected a number of at least 0."),
        ({"parameters": {"camera": {}}}, "parameters.camera is no node, expected learner, "),
        ({"methods": [{"name": "a"}, {"name": "A"}]}, "two methods have the name 'A', or one like"),
        ({"methods": []}, "methods must be a list of at least one method."),
        ({"parallel": 0}, "parallel is 0, expected a whole number of at least 1."),
    ],
)
def test_a_mistake_is_one_sentence(write: Write, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        load(write(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"parameters": {"learner": {"batchsize": 16}}},
            "parameters.learner.batchsize is no parameter of the learner, "
            "the nearest is batch_size.",
        ),
        (
            {"parameters": {"roller": {"planner": {"horison": 8}}}},
            "parameters.roller.planner.horison is no parameter of the roller, "
            "the nearest is planner.horizon.",
        ),
        (
            {"methods": [{"name": "a", "parameters": {"progress": {"periods": 1.0}}}]},
            "methods[0].parameters.progress.periods is no parameter of the progress, "
            "the nearest is period.",
        ),
    ],
)
def test_a_mistyped_parameter_is_not_run_without(
    write: Write, changes: dict[str, Any], sentence: str
) -> None:
    path = write(**changes)
    with pytest.raises(DefinitionError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize(
    "path", sorted(provenance.PROFILES.glob("*.yaml")), ids=lambda path: path.stem
)
def test_no_parameter_of_a_profile_is_taken_for_a_mistake(write: Write, path: Path) -> None:
    profile = yaml.safe_load(path.read_text())
    for node, name in NODES.items():
        parameters = {node: profile.get(name, {}).get("ros__parameters", {})}
        load(write(parameters=parameters, methods=[{"name": "a"}]))


@pytest.mark.parametrize(
    ("node", "file"),
    [
        ("learner", "src/planet_learner/planet_learner/learner_node.py"),
        ("progress", "launch/planet_bringup/progress_node.py"),
        ("replay", "src/planet_replay/planet_replay/replay_node.py"),
        ("roller", "src/planet_roller/planet_roller/roller_node.py"),
        ("sim", "src/ergojr_sim/ergojr_sim/sim_node.py"),
    ],
)
def test_no_parameter_that_a_node_declares_is_forgotten(node: str, file: str) -> None:
    found = re.findall(r'declare\(self, (\w+)(?:, "(\w+)")?\)', Path(file).read_text())
    of_method = {"learner": METHOD.training, "roller": METHOD.acting}.get(node, {})
    assert {(prefix, name) for name, prefix in found} | {
        (prefix, config.__name__) for prefix, config in of_method.items()
    } == {(prefix, config.__name__) for prefix, config in DECLARED[node]}
    assert parameters_of(node)


def test_a_runner_takes_neither_memory_nor_time_for_pytorch_or_ros() -> None:
    imported = "import sys, experiments.run; print({'torch', 'rclpy', 'pybullet'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("title: [")
    with pytest.raises(DefinitionError, match=r"broken\.yaml is not YAML: "):
        load(path)


def test_a_method_s_folder_is_plain() -> None:
    assert (slug("sync C = 10"), slug("2x"), slug("images + state")) == (
        "sync_c_10",
        "2x",
        "images_state",
    )
