"""The roller's process, as a robot, a replay and a learner see it."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from planet_msgs.msg import DriverStatus, ReplayStatus, Reward, RobotSpec, Transition, Weights
from planet_msgs.srv import AddEpisode, Reset
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState

from planet_core.episode import Episode
from planet_node.images import to_message
from planet_node.qos import COMMAND, IMAGE, LATCHED, STREAM
from planet_node.stamps import from_ns, to_ns
from planet_node.testing import Bench

CAMERAS = ("camera_front", "camera_side")
JOINTS = ("m1", "m2", "m3")
STEPS = 5
PERIOD = 50_000_000  # ns
RUN = "ours"


class Graph(Bench):
    """A robot in lockstep and a replay, in this process; the roller in one of its own."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__("/ergojr")
        self.data_dir = data_dir
        self.commands: list[JointState] = []
        self.diagnostics: list[str] = []
        self.transitions: list[Transition] = []
        self.episodes: list[Episode] = []
        self.run_ids: set[str] = set()
        self.refused = ""
        self.image_size = 64
        self.velocity = 0.0
        self.resets = 0
        self.answers_to_lose = 0
        self.tick = -1
        self.stamp = 10**18
        node = self.node
        self.spec = node.create_publisher(RobotSpec, "robot_spec", LATCHED)
        self.joints = node.create_publisher(JointState, "joint_states", STREAM)
        self.reward = node.create_publisher(Reward, "reward", STREAM)
        self.images = {c: node.create_publisher(Image, f"{c}/image_raw", IMAGE) for c in CAMERAS}
        node.create_subscription(JointState, "joint_command", self.on_command, COMMAND)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.on_diagnostics, STREAM)
        node.create_subscription(Transition, "transition", self.transitions.append, STREAM)
        self.driver_status = node.create_publisher(DriverStatus, "driver_status", LATCHED)
        group = ReentrantCallbackGroup()
        node.create_service(Reset, "reset", self.on_reset, callback_group=group)
        node.create_service(AddEpisode, "/replay/add_episode", self.on_episode)
        self.status = node.create_publisher(ReplayStatus, "/replay/status", LATCHED)
        self.status.publish(ReplayStatus())
        self.spec.publish(self.robot())
        node.create_timer(0.5, self.repeat)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.spin)
        self.thread.start()
        self.start_roller()

    @staticmethod
    def robot(run_id: str = RUN) -> RobotSpec:
        """What a robot of a run announces."""
        return RobotSpec(
            run_id=run_id,
            name="ergojr",
            action_names=["m1", "m2"],
            action_low=[-0.1, -0.2],
            action_high=[0.1, 0.2],
            cameras=list(CAMERAS),
            state_names=list(JOINTS),
            control_period=PERIOD * 1e-9,
            max_steps=STEPS,
            real_time_factor=0.0,
        )

    def start_roller(self) -> None:
        self.start(
            "planet_roller.roller_node", data_dir=self.data_dir, seed_episodes=1000, run_id=RUN
        )

    def spin(self) -> None:
        """All the time, as a robot and a replay do: also while the roller is stopped or killed."""
        while not self.ended.is_set():
            self.executor.spin_once(timeout_sec=0.1)

    def publish(self) -> None:
        stamp = from_ns(self.stamp)
        joints = JointState(name=list(JOINTS), position=[0.1 * self.tick] * 3)
        joints.velocity, joints.effort = [self.velocity] * 3, [0.0] * 3
        reward = Reward(reward=float(self.tick), valid=True, truncated=self.tick == STEPS)
        joints.header.stamp = reward.header.stamp = stamp
        self.joints.publish(joints)
        self.reward.publish(reward)
        for camera, publisher in self.images.items():
            image = np.full((self.image_size, self.image_size, 3), self.tick, np.uint8)
            publisher.publish(to_message(image, stamp, camera))

    def repeat(self) -> None:
        if self.tick >= 0:
            self.publish()

    async def on_reset(self, _: Reset.Request, response: Reset.Response) -> Reset.Response:
        self.resets += 1
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            await Future()
        self.tick = 0
        self.stamp += PERIOD
        response.ok = True
        response.first_stamp = from_ns(self.stamp)
        self.publish()
        return response

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics += [status.message for status in message.status]

    def on_command(self, message: JointState) -> None:
        self.commands.append(message)
        if to_ns(message.header.stamp) == self.stamp and self.tick < STEPS:
            self.tick += 1
            self.stamp += PERIOD
            self.publish()

    def on_episode(
        self, request: AddEpisode.Request, response: AddEpisode.Response
    ) -> AddEpisode.Response:
        self.run_ids.add(request.run_id)
        response.accepted, response.message = not self.refused, self.refused
        if not self.refused:
            if request.id not in [episode.id for episode in self.episodes]:  # as the replay does
                self.episodes.append(Episode.from_bytes(bytes(request.safetensors)))
            response.sequence = len(self.episodes)
        return response

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < deadline, "nothing came of it in 40 s"
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)

    def close(self) -> None:
        self.ended.set()
        self.thread.join()
        super().close()


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    graph = Graph(tmp_path)
    yield graph
    graph.close()


def test_commands_answer_observations_and_episodes_reach_the_replay(graph: Graph) -> None:
    graph.wait(lambda: len(graph.episodes) >= 2)
    code, errors = graph.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in errors
    episode = graph.episodes[0]
    assert episode.reward.tolist() == [0, 1, 2, 3, 4, 5]
    assert episode.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert episode.position[:, 0] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    commands = {to_ns(command.header.stamp): command for command in graph.commands}  # some repeated
    for t in range(STEPS):
        command = commands[int(episode.stamp[t])]
        assert list(command.name) == ["m1", "m2"]
        assert command.effort == pytest.approx(episode.action[t + 1] * (0.1, 0.2))
    told = graph.transitions[0]
    assert (told.episode_id, told.policy, told.step, told.reward) == (episode.id, "random", 1, 1.0)
    assert 0.0 < told.latency < 1.0


def test_bad_messages_cost_episodes_but_neither_the_process_nor_a_bad_command(graph: Graph) -> None:
    graph.wait(lambda: len(graph.episodes) >= 1)
    for fault in ({"velocity": math.nan}, {"velocity": 0.0, "image_size": 32}):
        vars(graph).update(fault)
        resets = graph.resets
        graph.wait(lambda resets=resets: graph.resets >= resets + 2)
    graph.image_size = 64
    count = len(graph.episodes)
    graph.wait(lambda: len(graph.episodes) >= count + 2)
    errors = graph.end(signal.SIGINT)[1]
    assert "the velocity of m1 is not finite" in errors
    assert "camera_front sends 32x32 images, but at least 64x64 are needed" in errors
    assert all(math.isfinite(effort) for command in graph.commands for effort in command.effort)


def test_a_reset_whose_answer_is_lost_is_asked_for_again(graph: Graph) -> None:
    graph.wait(lambda: len(graph.episodes) >= 1)
    graph.answers_to_lose = 1
    graph.wait(lambda: graph.answers_to_lose == 0)
    count = len(graph.episodes)
    graph.wait(lambda: len(graph.episodes) >= count + 2)


def test_the_driver_s_state_says_whether_the_arm_has_power(graph: Graph) -> None:
    graph.driver_status.publish(DriverStatus(state="driving", torque=False))
    graph.wait(lambda: len(graph.episodes) >= 1)
    # Torque that no motor has confirmed to be off is none to act with.
    cause = "m3 did not confirm that the torque is off"
    graph.driver_status.publish(DriverStatus(state="fault", torque=True, cause=cause))
    resets = graph.resets
    graph.wait(lambda: graph.resets >= resets + 3)
    assert f"the driver let go: {cause}" in graph.end(signal.SIGINT)[1]


def test_no_episode_is_made_while_a_robot_of_another_run_has_the_topics(graph: Graph) -> None:
    graph.wait(lambda: len(graph.episodes) >= 1)
    assert graph.run_ids == {RUN}
    stranger = graph.node.create_publisher(RobotSpec, "robot_spec", LATCHED)
    stranger.publish(graph.robot("theirs"))
    refused = "robot_spec is refused: it is of run theirs, but this is run ours"
    graph.wait(lambda: any(f"given up: {refused}" in told for told in graph.diagnostics))
    resets = graph.resets
    graph.diagnostics.clear()
    graph.wait(lambda: len([told for told in graph.diagnostics if "given up" in told]) >= 3)
    assert graph.resets == resets
    graph.node.destroy_publisher(stranger)
    count = len(graph.episodes)
    graph.wait(lambda: len(graph.episodes) >= count + 2)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("/replay/status", ReplayStatus(run_id="theirs", training_episodes=1000)),
        ("/learner/weights", Weights(run_id="theirs", version=1, config_json="{}")),
    ],
)
def test_what_another_run_publishes_changes_nothing_and_is_told(
    graph: Graph, topic: str, message: ReplayStatus | Weights
) -> None:
    graph.wait(lambda: len(graph.episodes) >= 1)
    graph.node.create_publisher(type(message), topic, LATCHED).publish(message)
    refused = f"{topic} is refused: it is of run theirs, but this is run ours"
    graph.wait(lambda: any(refused in told for told in graph.diagnostics))
    count = len(graph.episodes)
    graph.wait(lambda: len(graph.episodes) >= count + 2)
    assert {episode.policy for episode in graph.episodes} == {"random"}


def test_kill_9_loses_no_spooled_episode(graph: Graph) -> None:
    graph.refused = "the disk is full"
    spool = graph.data_dir / "spool" / "ergojr"
    graph.wait(lambda: len(list(spool.glob("*.safetensors"))) >= 3)
    graph.end(signal.SIGKILL)
    left = sorted(path.stem.partition("_")[2] for path in spool.glob("*.safetensors"))
    graph.refused = ""
    graph.start_roller()
    graph.wait(lambda: len(graph.episodes) > len(left))
    assert sorted(episode.id for episode in graph.episodes[: len(left)]) == left


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("seed_action_holds:=[0]", "seed_action_holds is [0]"),
        ("device:=abacus", "device is 'abacus', expected cpu, cuda or cuda:<n>"),
        ("data_dir:=/proc/nowhere", "the directory /proc/nowhere/spool/ergojr cannot be written"),
    ],
)
def test_a_misconfigured_roller_says_so_in_one_sentence(
    tmp_path: Path, parameter: str, sentence: str
) -> None:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "planet_roller.roller_node"),
            *("--ros-args", "-r", "__ns:=/ergojr", "-p", f"data_dir:={tmp_path}", "-p", parameter),
        ],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert process.returncode == 2
    assert sentence in process.stderr
    assert "Traceback" not in process.stderr
