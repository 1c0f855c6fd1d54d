"""Real replay and learner nodes: what a robot sees of them, and what survives a kill."""

from __future__ import annotations

import signal
import subprocess
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from planet_msgs.msg import Metrics, ReplayStatus, Weights
from planet_msgs.srv import AddEpisode

from planet_core.episode import Episode
from planet_model.config import ModelConfig
from planet_model.weights import load
from planet_node.qos import LATCHED, STREAM
from planet_node.testing import Bench

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
RARELY = {"publish_seconds": 60.0, "publish_updates": 10**6}


class Graph(Bench):
    """The processes of a test, and a node that speaks to them."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self.data_dir = data_dir
        self.client = self.node.create_client(AddEpisode, "/replay/add_episode")

    def start_node(self, name: str, **parameters: Any) -> subprocess.Popen[str]:
        given = {"data_dir": self.data_dir, **parameters}
        return self.start(f"planet_{name}.{name}_node", **given)

    def listen(self, kind: type, topic: str, qos: Any = LATCHED) -> list[Any]:
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def add(self, episode: Episode) -> AddEpisode.Response:
        """Store an episode, asking again until there is an answer."""
        request = AddEpisode.Request(
            id=episode.id,
            robot=episode.robot,
            policy=episode.policy,
            weights_version=episode.weights_version,
            safetensors=array("B", episode.to_bytes()),
        )
        # As the roller does: a killed replay seems to be there for a while.
        return self.call(self.client, request, again=2.0)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    graph = Graph(tmp_path)
    yield graph
    graph.close()


def test_episodes_become_weights_and_metrics_and_a_stop_leaves_a_checkpoint(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    replay = graph.start_node("replay")
    # The next weights come late enough for these to be heard, however long the discovery takes.
    learner = graph.start_node("learner", metrics_updates=2, **SMALL | RARELY)
    weights = graph.listen(Weights, "/learner/weights")
    metrics = graph.listen(Metrics, "/learner/metrics", STREAM)
    for i in range(2):
        assert graph.add(make_episode(f"e{i}")).sequence == i + 1
    graph.until(lambda: weights and metrics, "weights and metrics")
    assert weights[0].update == 3
    assert (weights[0].version, weights[0].replay_sequence, metrics[0].episodes) == (1, 2, 2)
    config = ModelConfig(
        **{k.removeprefix("model."): v for k, v in SMALL.items() if k.startswith("model.")},
        cameras=("camera_0",),
        action_size=2,
    )
    load(bytes(weights[0].safetensors), config)
    code, errors = graph.end(signal.SIGTERM, learner)
    assert (code, "Traceback" in errors) == (0, False)
    assert list((graph.data_dir / "checkpoints").glob("checkpoint_*"))
    assert graph.end(signal.SIGINT, replay)[0] == 0
    assert len((graph.data_dir / "metrics" / "episodes.csv").read_text().splitlines()) == 3


def test_killed_nodes_go_on_and_no_acknowledged_episode_is_missing(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    replay = graph.start_node("replay")
    learner = graph.start_node("learner", **SMALL)
    weights = graph.listen(Weights, "/learner/weights")
    status = graph.listen(ReplayStatus, "/replay/status")
    for i in range(3):
        graph.add(make_episode(f"e{i}"))
    saved = graph.data_dir / "checkpoints"
    graph.until(lambda: any(saved.glob("checkpoint_*")) and weights, "a checkpoint and weights")

    graph.end(signal.SIGKILL, replay)
    before = weights[-1].update
    graph.until(lambda: weights[-1].update > before, "training without the replay")
    graph.start_node("replay")
    assert graph.add(make_episode("e2")).message == "was stored already"
    assert graph.add(make_episode("e3")).sequence == 4
    graph.until(lambda: weights[-1].replay_sequence == 4, "the fourth episode")
    graph.until(lambda: status[-1].episodes == 4, "the replay's status")

    graph.end(signal.SIGKILL, learner)
    killed = weights[-1]
    weights.clear()
    graph.start_node("learner", **SMALL)
    graph.until(lambda: len(weights) > 1, "two versions of the weights")
    assert weights[0].version > killed.version
    assert weights[0].run_id == killed.run_id
    assert weights[0].update > 3  # it resumed, and did not begin anew
    graph.until(lambda: weights[-1].replay_sequence == 4, "the fourth episode")


def test_a_late_joiner_gets_large_weights_at_once(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    graph.start_node("replay")
    large = {**SMALL, "model.conv_depth": 24, "model.embedding_size": 512}
    graph.start_node("learner", **{**large, "mode": "sync", "pretrain_updates": 1})
    metrics = graph.listen(Metrics, "/learner/metrics", STREAM)
    status = graph.listen(ReplayStatus, "/replay/status")
    for i in range(2):
        graph.add(make_episode(f"e{i}"))
    graph.until(lambda: status, "the status")
    early = graph.listen(Weights, "/learner/weights")
    graph.until(lambda: early, "weights")
    assert len(early[0].safetensors) >= 5_000_000
    assert metrics == []  # one update, no further publication: what comes late is the latched one
    late = graph.listen(Weights, "/learner/weights")
    graph.until(lambda: late, "the latched weights")
    assert late[0].safetensors == early[0].safetensors


def test_a_learner_trains_on_no_episode_of_another_run(
    graph: Graph, make_episode: Callable[..., Episode]
) -> None:
    replay = graph.start_node("replay", run_id="theirs")
    graph.start_node("learner", run_id="ours", **SMALL)
    weights = graph.listen(Weights, "/learner/weights")
    told = graph.listen(DiagnosticArray, "/diagnostics", STREAM)
    for i in range(2):
        assert graph.add(make_episode(f"e{i}")).accepted
    refused = "is refused: it is of run theirs, but this is run ours"
    graph.until(
        lambda: any(refused in status.message for array in told for status in array.status),
        "the refusal",
    )
    assert weights == []
    graph.end(signal.SIGINT, replay)
    graph.start_node("replay", run_id="ours")
    graph.until(lambda: weights, "weights of the same run's episodes")
    assert weights[0].run_id == "ours"


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
    process = graph.start_node(name, **parameters)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert sentence in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1
