"""A method of somebody else's package, with real processes: nothing of it is known to the suite.

The tests of this file share one run, and run in order.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planet_msgs.msg import Metrics, Transition, Weights

from planet_node.qos import LATCHED, STREAM
from planet_node.testing import Bench, own_domain

CONFIG = """
/learner:
  ros__parameters:
    method: linear
    publish_updates: 1000000
    publish_seconds: 1.0
    metrics_updates: 200
"""
PATIENCE = 120.0  # s


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an installed package with the method, a file of parameters and the run's data."""
    folder = tmp_path_factory.mktemp("linear")
    package = folder / "site"
    installed = package / "linear_policy-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: linear_policy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[robo_planet.methods]\nlinear = linear_policy:METHOD\n"
    )
    shutil.copy(Path(__file__).with_name("linear_policy.py"), package)
    (folder / "linear.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(domain=own_domain(40))
    yield bench
    bench.close()


def launch(bench: Bench, folder: Path, file: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(folder / "site"), os.environ["PYTHONPATH"]])
    return subprocess.Popen(
        ["ros2", "launch", "planet_bringup", file, "profile:=test", *arguments],
        env=os.environ | {"ROS_DOMAIN_ID": str(bench.domain), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running(bench: Bench, folder: Path) -> Iterator[None]:
    """A training, which is ended as Ctrl-C would."""
    arguments = (f"data_dir:={folder / 'run'}", f"config:={folder / 'linear.yaml'}")
    process = launch(bench, folder, "sim.launch.py", *arguments)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE)[0]
        print(output)  # pytest shows it where a test fails
    assert process.returncode == 0
    assert "Traceback" not in output


def listen(bench: Bench, kind: type, topic: str, qos: Any) -> list[Any]:
    received: list[Any] = []
    bench.node.create_subscription(kind, topic, received.append, qos)
    return received


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of one of the run's tables."""
    with (folder / "run" / "metrics" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_acts_and_learns(bench: Bench, folder: Path) -> None:
    metrics = listen(bench, Metrics, "/learner/metrics", STREAM)
    transitions = listen(bench, Transition, "/ergojr/transition", STREAM)

    def acts() -> bool:
        ended = [t for t in transitions if t.terminated or t.truncated]
        return len({t.weights_version for t in ended if t.policy == "planner"}) > 1

    with running(bench, folder):
        bench.until(acts, "episodes with two versions of the weights", PATIENCE)
        bench.until(lambda: len(metrics) > 1, "metrics", PATIENCE)
    found = [float(row["linear_loss"]) for row in table(folder, "updates")]
    assert np.isfinite(found).all()
    assert np.mean(found[-3:]) < 0.5 * found[0]
    assert metrics[-1].loss_names == ["linear_loss", "accepted"]
    stored = {(e["policy"], int(e["weights_version"]) > 0) for e in table(folder, "episodes")}
    assert ("planner", True) in stored


def test_it_resumes(bench: Bench, folder: Path) -> None:
    weights = listen(bench, Weights, "/learner/weights", LATCHED)
    before = int(table(folder, "updates")[-1]["update"])
    with running(bench, folder):
        bench.until(lambda: len(weights) > 1, "weights", PATIENCE)
    assert before <= weights[0].update < weights[-1].update
    assert json.loads(weights[0].config_json)["method"] == "linear"


def test_it_is_evaluated_and_filmed_although_it_predicts_nothing(
    bench: Bench, folder: Path
) -> None:
    results = folder / "evaluation"
    arguments = (f"checkpoint:={folder / 'run'}", f"data_dir:={results}", "episodes:=2")
    process = launch(bench, folder, "evaluate.launch.py", *arguments)
    output = process.communicate(timeout=PATIENCE)[0]
    print(output)  # pytest shows it where a test fails
    assert process.returncode == 0
    assert "Traceback" not in output
    found = json.loads((results / "evaluation.json").read_text())
    assert found["episodes"] == 2
    assert found["update"] > 0
    assert (results / "video.webm").stat().st_size > 1000  # what the cameras saw
