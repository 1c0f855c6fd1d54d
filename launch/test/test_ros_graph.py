"""The whole graph with real processes: it learns, survives kill -9 of any node, and stops cleanly.

The tests of this file share one launch and run in order.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from planet_msgs.msg import Metrics, ReplayStatus, Transition, Weights
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from planet_node.qos import LATCHED, STREAM
from planet_node.testing import own_domain

DOMAIN = str(own_domain(20))
NODES = {"/ergojr/sim", "/ergojr/roller", "/ergojr/progress", "/replay", "/learner"}


class Watcher(Node):
    """Listens to the graph; `wait` returns as soon as a condition on what it heard holds."""

    def __init__(self) -> None:
        super().__init__("watcher")
        self.changed = threading.Condition()
        self.status = ReplayStatus()
        self.metrics = Metrics()
        self.weights: list[Weights] = []
        self.transitions: list[Transition] = []
        self.create_subscription(ReplayStatus, "/replay/status", self._on_status, LATCHED)
        self.create_subscription(Metrics, "/learner/metrics", self._on_metrics, STREAM)
        self.create_subscription(Weights, "/learner/weights", self._on_weights, LATCHED)
        self.create_subscription(Transition, "/ergojr/transition", self._on_transition, STREAM)

    def _on_status(self, message: ReplayStatus) -> None:
        with self.changed:
            self.status = message
            self.changed.notify_all()

    def _on_metrics(self, message: Metrics) -> None:
        with self.changed:
            self.metrics = message
            self.changed.notify_all()

    def _on_weights(self, message: Weights) -> None:
        with self.changed:
            self.weights.append(message)
            self.changed.notify_all()

    def _on_transition(self, message: Transition) -> None:
        with self.changed:
            self.transitions.append(message)
            self.changed.notify_all()

    def wait(self, what: str, condition: Callable[[], bool], timeout: float = 120.0) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                pytest.fail(f"within {timeout:.0f} s it never happened: {what}")

    def versions_in_use(self) -> set[int]:
        return {t.weights_version for t in self.transitions if t.weights_version}


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    rclpy.init(domain_id=int(DOMAIN))
    node = Watcher()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    yield node
    ended.set()
    thread.join()
    node.destroy_node()
    rclpy.shutdown()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("poke")


def launch(data_dir: Path | str, *arguments: str) -> subprocess.Popen[str]:
    command = ["ros2", "launch", "planet_bringup", "sim.launch.py", f"data_dir:={data_dir}"]
    return subprocess.Popen(
        [*command, *arguments],
        env=os.environ | {"ROS_DOMAIN_ID": DOMAIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


class Graph:
    """A launch that is going on, with its output read as it comes."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.process = launch(data_dir, *arguments)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=30)
        self._reader.join()
        print("".join(self.lines[-80:]))  # pytest shows it where a test fails
        return code

    def pid(self, name: str) -> int:
        """The process of the node `name`, 0 if there is none just now."""
        for pid in descendants(self.process.pid):
            command = cmdline(pid)
            if f"__node:={name}" in command and "taskset" not in command[0]:
                return pid
        return 0


def cmdline(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return [""]


def descendants(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            found += [child, *descendants(child)]
    return found


@pytest.fixture(scope="module")
def graph(watcher: Watcher, data_dir: Path) -> Iterator[Graph]:
    graph = Graph(data_dir, "profile:=test")
    yield graph
    if graph.process.poll() is None:
        graph.stop()


def stored(data_dir: Path) -> set[str]:
    return {path.name for path in (data_dir / "episodes").glob("*.safetensors")}


def last_sequence(data_dir: Path) -> int:
    """Of the files: what the watcher heard last may be an earlier graph's."""
    return max(int(name.partition("_")[0]) for name in stored(data_dir))


def test_episodes_are_stored_and_new_weights_are_taken_over(graph: Graph, watcher: Watcher) -> None:
    watcher.wait("8 episodes are stored", lambda: watcher.status.episodes >= 8)
    watcher.wait("three versions of the weights act", lambda: len(watcher.versions_in_use()) >= 3)
    assert watcher.metrics.update > 0


def test_every_node_is_there_under_its_name(graph: Graph, watcher: Watcher) -> None:
    found = {f"{ns.rstrip('/')}/{name}" for name, ns in watcher.get_node_names_and_namespaces()}
    assert found >= NODES


def test_roller_and_learner_compute_apart_with_the_threads_of_their_share(graph: Graph) -> None:
    roller, learner = graph.pid("roller"), graph.pid("learner")
    cpus = os.sched_getaffinity(roller), os.sched_getaffinity(learner)
    if len(os.sched_getaffinity(0)) > 1:
        assert not cpus[0] & cpus[1]
    for name, pid in (("roller", roller), ("learner", learner)):
        line = next(line for line in graph.lines if f"{name}: " in line and " thread" in line)
        threads = line.split(f"{name}: ")[1].split()[0]
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        assert f"OMP_NUM_THREADS={threads}" in environment


def test_a_late_joiner_gets_the_latched_weights(graph: Graph, watcher: Watcher) -> None:
    late: list[Weights] = []

    def receive(message: Weights) -> None:
        with watcher.changed:
            late.append(message)
            watcher.changed.notify_all()

    watcher.create_subscription(Weights, "/learner/weights", receive, LATCHED)
    watcher.wait("a late joiner gets weights", lambda: bool(late), timeout=10.0)
    assert len(late[0].safetensors) > 1000


@pytest.mark.parametrize("name", ["roller", "replay", "learner", "sim"])
def test_kill_9_of_one_node_loses_nothing_and_the_graph_goes_on(
    graph: Graph, watcher: Watcher, data_dir: Path, name: str
) -> None:
    seen = len(watcher.transitions)
    watcher.wait("an episode is under way", lambda: len(watcher.transitions) > seen + 5)
    checkpoints = data_dir / "checkpoints"
    watcher.wait("a checkpoint is written", lambda: any(checkpoints.glob("*.safetensors")))
    before, episodes, update = stored(data_dir), watcher.status.episodes, watcher.metrics.update
    victim = graph.pid(name)
    assert victim, f"{name} does not run"
    os.kill(victim, signal.SIGKILL)
    watcher.wait("three more episodes are stored", lambda: watcher.status.episodes >= episodes + 3)
    watcher.wait(
        f"{name} is started again", lambda: graph.pid(name) not in (0, victim), timeout=20.0
    )
    assert before <= stored(data_dir)
    if name == "learner":
        watcher.wait("the learner trains on", lambda: watcher.metrics.update > update)
        assert any("resumed run" in line for line in graph.lines)


def test_ctrl_c_stops_everything_with_exit_code_0(graph: Graph, data_dir: Path) -> None:
    children = descendants(graph.process.pid)
    assert children
    assert graph.stop() in (0, -signal.SIGINT)
    assert [pid for pid in children if any(str(data_dir) in word for word in cmdline(pid))] == []
    assert not any("Traceback" in line for line in graph.lines)


def test_a_second_start_goes_on_where_the_first_stopped(watcher: Watcher, data_dir: Path) -> None:
    episodes, newest = len(stored(data_dir)), last_sequence(data_dir)
    run = watcher.weights[-1].run_id
    seen = len(watcher.weights)
    graph = Graph(data_dir, "profile:=test", "minutes:=1")
    try:
        watcher.wait(
            "two more episodes are stored",
            lambda: watcher.status.newest_sequence >= newest + 2,
        )
        watcher.wait("weights are published", lambda: len(watcher.weights) > seen)
    finally:
        graph.stop()
    assert len(stored(data_dir)) >= episodes + 2
    assert watcher.weights[-1].run_id == run
    with (data_dir / "metrics" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["sequence"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["policy"] != "random" for row in rows[newest:])


def test_sync_mode_makes_exactly_c_updates_per_episode(watcher: Watcher, tmp_path: Path) -> None:
    seen = len(watcher.weights)
    graph = Graph(tmp_path, "profile:=test", "mode:=sync", "collect_interval:=5")
    try:
        watcher.wait("five versions are published", lambda: len(watcher.weights) >= seen + 5)
    finally:
        graph.stop()
    with (tmp_path / "metrics" / "episodes.csv").open(newline="") as file:
        policies = [row["policy"] for row in csv.DictReader(file)]
    assert policies[:3] == ["random"] * 3
    assert "random" not in policies[3:]
    for weights in watcher.weights[seen:]:
        trained = [policy != "evaluation" for policy in policies[: weights.replay_sequence]]
        assert weights.update == 10 + 5 * (sum(trained) - 3)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("profile:=desktop", "desktop"),
        ("minutes:=soon", "minutes is 'soon', but must be a number"),
        ("data_dir:=/proc/poke", "data_dir /proc/poke cannot be used"),
        ("mode:=fast", "fast"),
    ],
)
def test_a_wrong_argument_ends_the_launch_with_one_sentence(
    argument: str, sentence: str, tmp_path: Path
) -> None:
    name, _, value = argument.partition(":=")
    process = launch(value) if name == "data_dir" else launch(tmp_path, argument)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert sentence in output
    assert "Traceback" not in output


def test_weights_of_another_architecture_stop_the_launch(data_dir: Path) -> None:
    # The data directory was trained with the test profile.
    process = launch(data_dir, "profile:=laptop")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"learner-\d+ cannot start as it is configured", output)


def test_a_run_is_not_gone_on_with_under_another_control(data_dir: Path) -> None:
    process = launch(data_dir, "profile:=test", "control:=position")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{data_dir} holds a run with control:=torque, but control is position" in output
    assert "Traceback" not in output


def test_a_corrupt_episode_is_set_aside_and_never_served(watcher: Watcher, data_dir: Path) -> None:
    victim = sorted((data_dir / "episodes").glob("*.safetensors"))[0]
    content = bytearray(victim.read_bytes())
    content[-100] ^= 0xFF
    victim.write_bytes(content)
    newest = last_sequence(data_dir)
    graph = Graph(data_dir, "profile:=test")
    try:
        watcher.wait("it is set aside", lambda: not victim.exists())
        watcher.wait("it goes on", lambda: watcher.status.newest_sequence >= newest + 2)
    finally:
        graph.stop()
    assert any(f"{victim.name} is corrupt" in line for line in graph.lines)
