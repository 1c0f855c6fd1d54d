"""Real replay and learner nodes: what a robot sees of them, and what survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from planet_model.config import ModelConfig
from planet_model.episode import Episode
from planet_model.weights import load
from planet_node.qos import LATCHED, STREAM
from rclpy.executors import SingleThreadedExecutor

from planet_msgs.msg import Metrics, ReplayStatus, Weights
from planet_msgs.srv import AddEpisode

SMALL = {
    "model.deterministic_size": 8,
    "model.stochastic_size": 4,
    "model.hidden_size": 8,
    "model.embedding_size": 16,
    "model.conv_depth": 2,
    "seed_episodes": 2,
    "pretrain_updates": 3,
    "publish_seconds": 0.5,
    "checkpoint_seconds": 1.0,
    "batch_size": 2,
    "chunk_length": 4,
    "capacity_steps": 1000,
}


class Graph:
    """The processes of a test, and a node that speaks to them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        domain = 30 + os.getpid() % 70
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("robot", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.client = self.node.create_client(AddEpisode, "/replay/add_episode")

    def start(self, name: str, **parameters: Any) -> subprocess.Popen[str]:
        given = {"data_dir": str(self.data_dir), **parameters}
        arguments = [x for key, value in given.items() for x in ("-p", f"{key}:={value}")]
        module = f"planet_{name}.{name}_node"
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", module, "--ros-args", *arguments],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.processes[name]

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> tuple[int, float, str]:
        """Send a signal; return the exit code, the seconds it took, and stderr."""
        process, begin = self.processes.pop(name), time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        return process.returncode, time.monotonic() - begin, errors

    def listen(self, kind: type, topic: str, qos: Any = LATCHED) -> list[Any]:
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> float:
        """Spin until `condition` holds; return how long that took."""
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() - begin < seconds, "it did not happen in time"
            self.executor.spin_once(timeout_sec=0.05)
        return time.monotonic() - begin

    def add(self, episode: Episode) -> AddEpisode.Response:
        """Store an episode, asking again until there is an answer."""
        self.until(self.client.service_is_ready)
        request = AddEpisode.Request(
            id=episode.id,
            robot=episode.robot,
            policy=episode.policy,
            weights_version=episode.weights_version,
            safetensors=array("B", episode.to_bytes()),
        )
        while True:  # as the roller does: a killed replay seems to be there for a while
            future = self.client.call_async(request)
            self.executor.spin_until_future_complete(future, timeout_sec=2.0)
            if future.done():
                return future.result()
            self.client.remove_pending_request(future)

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()  # not killed: Fast DDS minds peers that vanish
            process.communicate(timeout=20)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    graph = Graph(tmp_path)
    yield graph
    graph.close()


def test_episodes_become_weights_and_metrics_and_a_stop_leaves_a_checkpoint(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    graph.start("replay")
    graph.start("learner", metrics_updates=2, **SMALL)
    weights = graph.listen(Weights, "/learner/weights")
    metrics = graph.listen(Metrics, "/learner/metrics", STREAM)
    for i in range(2):
        assert graph.add(make_episode(f"e{i}")).sequence == i + 1
    graph.until(lambda: len(weights) > 1 and bool(metrics))
    assert weights[0].update == 3
    assert (weights[0].version, weights[0].replay_sequence, metrics[0].episodes) == (1, 2, 2)
    config = ModelConfig(
        **{k.removeprefix("model."): v for k, v in SMALL.items() if k.startswith("model.")},
        cameras=("camera_0",),
        action_size=2,
    )
    load(bytes(weights[0].safetensors), config)
    code, seconds, errors = graph.end("learner")
    assert (code, "Traceback" in errors) == (0, False)
    assert seconds < 4.0
    assert list((graph.data_dir / "checkpoints").glob("checkpoint_*"))
    assert graph.end("replay", signal.SIGINT)[0] == 0
    assert len((graph.data_dir / "metrics" / "episodes.csv").read_text().splitlines()) == 3


def test_killed_nodes_go_on_and_no_acknowledged_episode_is_missing(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    graph.start("replay")
    graph.start("learner", **SMALL)
    weights = graph.listen(Weights, "/learner/weights")
    status = graph.listen(ReplayStatus, "/replay/status")
    for i in range(3):
        graph.add(make_episode(f"e{i}"))
    saved = graph.data_dir / "checkpoints"
    graph.until(lambda: any(saved.glob("checkpoint_*")) and bool(weights))

    graph.end("replay", signal.SIGKILL)
    before = weights[-1].update
    graph.until(lambda: weights[-1].update > before)  # training goes on without the replay
    graph.start("replay")
    assert graph.add(make_episode("e2")).message == "was stored already"
    assert graph.add(make_episode("e3")).sequence == 4
    graph.until(lambda: weights[-1].replay_sequence == 4)
    assert status[-1].episodes == 4

    graph.end("learner", signal.SIGKILL)
    killed = weights[-1]
    weights.clear()
    graph.start("learner", **SMALL)
    graph.until(lambda: len(weights) > 1)
    assert weights[0].version > killed.version
    assert weights[0].run_id == killed.run_id
    assert weights[0].update > 3  # it resumed, and did not begin anew
    graph.until(lambda: weights[-1].replay_sequence == 4)


def test_a_late_joiner_gets_large_weights_at_once(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    graph.start("replay")
    large = {**SMALL, "model.conv_depth": 24, "model.embedding_size": 512}
    graph.start("learner", **{**large, "mode": "sync", "pretrain_updates": 1})
    metrics = graph.listen(Metrics, "/learner/metrics", STREAM)
    status = graph.listen(ReplayStatus, "/replay/status")
    for i in range(2):
        graph.add(make_episode(f"e{i}"))
    graph.until(lambda: bool(status))
    early = graph.listen(Weights, "/learner/weights")
    graph.until(lambda: bool(early))
    assert len(early[0].safetensors) >= 5_000_000
    assert metrics == []  # one update, no further publication: what comes late is the latched one
    late = graph.listen(Weights, "/learner/weights")
    assert graph.until(lambda: bool(late)) < 2.0
    assert late[0].safetensors == early[0].safetensors


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("replay", {"data_dir": "/proc/nowhere"}, "the directory /proc/nowhere/episodes cannot be"),
        ("replay", {"capacity_steps": 0}, "capacity_steps is 0"),
        ("learner", {"data_dir": "/proc/nowhere"}, "the directory /proc/nowhere/checkpoints"),
        ("learner", {"mode": "both"}, "async, sync"),
        ("learner", {"batch_size": 2.5}, "batch_size is 2.5"),
        ("learner", {"device": "cuda:77"}, "device is 'cuda:77'"),
        ("learner", {"capacity_steps": 10**9}, "capacity_steps = 1000000000 needs"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_exit_code_2(
    graph: Graph, name: str, parameters: dict[str, Any], sentence: str
) -> None:
    process = graph.start(name, **parameters)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert sentence in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1
