"""The real sim node in a process of its own: the interface that a controller meets."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from planet_msgs.msg import Reward, RobotSpec
from planet_msgs.srv import Reset
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import SetBool

from planet_node.images import to_array
from planet_node.qos import COMMAND, IMAGE, LATCHED, STREAM
from planet_node.stamps import from_ns, to_ns
from planet_node.testing import Bench

PERIOD_NS = 50_000_000
STREAMS: dict[str, tuple[type, Any]] = {
    "joint_states": (JointState, STREAM),
    "reward": (Reward, STREAM),
    "camera_front/image_raw": (Image, IMAGE),
    "camera_side/image_raw": (Image, IMAGE),
    "camera_front/camera_info": (CameraInfo, IMAGE),
}


class Robot(Bench):
    """The simulator's process and a node that speaks to it."""

    def __init__(self) -> None:
        super().__init__("/ergojr")
        self.last: dict[str, Any] = {}
        self.specs: list[RobotSpec] = []
        self.diagnostics: list[str] = []
        for topic, (kind, qos) in STREAMS.items():
            self.node.create_subscription(kind, topic, self.keeper(topic), qos)
        self.node.create_subscription(Clock, "/clock", self.keeper("/clock"), STREAM)
        self.node.create_subscription(RobotSpec, "robot_spec", self.specs.append, LATCHED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.on_diagnostics, STREAM)
        self.commands = self.node.create_publisher(JointState, "joint_command", COMMAND)
        self.resets = self.node.create_client(Reset, "reset")
        self.stops = self.node.create_client(SetBool, "emergency_stop")

    def keeper(self, topic: str) -> Callable[[Any], None]:
        return lambda message: self.last.__setitem__(topic, message)

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics.extend(status.message for status in message.status)

    def start_sim(self, **parameters: Any) -> None:
        self.start("ergojr_sim.sim_node", stderr=None, **parameters)

    def reset(self, seed: int = 1) -> int:
        """Reset and return the stamp of the complete first observation."""
        answer = self.call(self.resets, Reset.Request(seed=seed), again=2.0)
        assert answer.ok, answer.message
        stamp = to_ns(answer.first_stamp)
        self.until(lambda: self.complete(stamp), "the first observation")
        return stamp

    def complete(self, stamp: int) -> bool:
        heads = [to_ns(self.last[topic].header.stamp) for topic in STREAMS if topic in self.last]
        return len(heads) == len(STREAMS) and all(head >= stamp for head in heads)

    def command(self, stamp: int, values: list[float], names: str = "m1 m2 m3 m5") -> None:
        message = JointState(name=names.split(), effort=values)
        message.header.stamp = from_ns(stamp)
        self.commands.publish(message)

    def said(self, sentence: str) -> None:
        self.until(lambda: any(sentence in text for text in self.diagnostics), repr(sentence))


@pytest.fixture
def robot() -> Iterator[Robot]:
    made = Robot()
    yield made
    made.close()


def test_the_whole_interface_in_lockstep_and_after_a_kill(robot: Robot) -> None:
    robot.start_sim(max_steps=30)
    robot.until(lambda: robot.specs, "the latched robot_spec")
    spec = robot.specs[0]
    assert list(spec.action_names) == ["m1", "m2", "m3", "m5"]
    assert list(spec.action_high) == [0.16] * 4
    assert list(spec.cameras) == ["camera_front", "camera_side"]
    assert (spec.control_period, spec.max_steps, spec.real_time_factor) == (0.05, 30, 0.0)

    # A tick per answered observation, everything with its stamp.
    stamp = robot.reset()
    assert not robot.last["reward"].valid
    for _ in range(5):
        robot.command(stamp, [0.02, 0.0, 0.0, 0.0])
        stamp += PERIOD_NS
        robot.until(lambda stamp=stamp: robot.complete(stamp), "the next observation")
    joints, reward = robot.last["joint_states"], robot.last["reward"]
    assert list(joints.name) == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert joints.effort[0] == pytest.approx(0.02)
    assert reward.valid
    assert reward.reward == pytest.approx(-reward.distance)
    robot.until(
        lambda: "/clock" in robot.last and to_ns(robot.last["/clock"].clock) == stamp,
        "the clock's stamp",
    )
    image, info = robot.last["camera_side/image_raw"], robot.last["camera_front/camera_info"]
    assert to_array(image).shape == (64, 64, 3)
    assert image.header.frame_id == "camera_side_optical_frame"
    assert info.k[0] == pytest.approx(32 / np.tan(np.radians(30)))
    assert (info.width, info.height) == (64, 64)

    # Bad commands move nothing and are named.
    robot.command(stamp, [float("nan"), 0.0, 0.0, 0.0])
    robot.said("joint_command for m1 is nan, expected a finite number")
    robot.command(stamp, [0.0] * 4, names="m1 m2 m3 m4")
    robot.said("joint_command names m1, m2, m3, m4, expected m1, m2, m3, m5")
    robot.command(stamp, [0.0] * 3)
    robot.said("3 values for 4 joints")
    robot.command(stamp - PERIOD_NS, [0.0] * 4)
    robot.said("another observation than the current one")
    assert to_ns(robot.last["reward"].header.stamp) == stamp

    # The emergency stop is latched.
    assert robot.call(robot.stops, SetBool.Request(data=True)).success
    robot.said("latched: torque off")
    assert not robot.call(robot.resets, Reset.Request(seed=1)).ok
    assert robot.call(robot.stops, SetBool.Request(data=False)).success
    stamp = robot.reset()

    # A respawned simulator says who it is again and uses no stamp twice.
    robot.end(signal.SIGKILL)
    robot.last.clear()
    robot.start_sim(cube_in_state=True)
    robot.until(lambda: len(robot.specs) > 1, "the new robot_spec")
    assert robot.reset() > stamp
    joints, names = robot.last["joint_states"], list(robot.specs[1].state_names)
    assert list(joints.name) == names == ["m1", "m2", "m3", "m4", "m5", "m6", "cube_x", "cube_y"]
    assert len(joints.position) == len(joints.velocity) == len(joints.effort) == 8
    assert robot.end(signal.SIGTERM)[0] == 0


def test_real_time_publishes_at_20_hz_and_lets_go_without_commands(robot: Robot) -> None:
    robot.start_sim(real_time_factor=1.0)
    robot.reset()
    begin, first = time.monotonic(), to_ns(robot.last["joint_states"].header.stamp)
    while time.monotonic() - begin < 2.0:
        stamp = to_ns(robot.last["joint_states"].header.stamp)
        robot.command(stamp, [0.02, 0.0, 0.0, 0.0])
        robot.until(
            lambda stamp=stamp: to_ns(robot.last["joint_states"].header.stamp) > stamp, "a tick"
        )
    ticks = (to_ns(robot.last["joint_states"].header.stamp) - first) / PERIOD_NS
    assert 20 <= ticks <= 42
    assert robot.last["joint_states"].effort[0] == pytest.approx(0.02)
    robot.said("no command for 125 ms: torque off")
    robot.until(lambda: robot.last["joint_states"].effort[0] == 0.0, "the torque to go off")
