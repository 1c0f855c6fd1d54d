"""The real robot's nodes and the simulator are one interface to whoever acts on it.

Both graphs are run, one after the other, and compared: names, types, QoS, frames, units, order of
joints. The real robot's run on virtual hardware.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planet_msgs.msg import Reward, RobotSpec, Transition
from sensor_msgs.msg import CameraInfo, Image, JointState

from planet_node.images import to_array
from planet_node.qos import COMMAND, IMAGE, LATCHED, STREAM
from planet_node.stamps import to_ns
from planet_node.testing import Bench, own_domain
from planet_roller.fitting import fit_image

ROBOT = "/ergojr"
CAMERAS = ("camera_front", "camera_side")
PUBLISHED: dict[str, tuple[Any, Any]] = {
    "robot_spec": (RobotSpec, LATCHED),
    "joint_states": (JointState, STREAM),
    "reward": (Reward, STREAM),
    **{f"{camera}/image_raw": (Image, IMAGE) for camera in CAMERAS},
    **{f"{camera}/camera_info": (CameraInfo, IMAGE) for camera in CAMERAS},
}
SERVED = ("reset", "emergency_stop")
ENOUGH = 40  # messages of each stream


@dataclass
class Seen:
    """What a graph offers, and what it said."""

    offers: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)
    """Topic -> of each publisher: type, reliability, durability."""
    takes: set[tuple[str, str, str]] = field(default_factory=set)
    """Of each subscriber of joint_command: type, reliability, durability."""
    services: dict[str, str] = field(default_factory=dict)
    messages: dict[str, list[Any]] = field(default_factory=dict)


def watch(arguments: list[str], domain: int) -> Seen:
    """Run a launch file until an episode is under way and each stream has said enough."""
    process = subprocess.Popen(
        ["ros2", "launch", "planet_bringup", *arguments],
        env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: output.extend(process.stdout or []))
    reader.start()
    seen = Seen(messages={name: [] for name in (*PUBLISHED, "joint_command", "transition")})
    bench = Bench(name="watcher", domain=domain)
    node = bench.node
    driving = threading.Event()  # messages count from the first transition on

    def listen(name: str, kind: Any, qos: Any) -> None:
        def heard(message: Any) -> None:
            if name == "transition":
                driving.set()
            if driving.is_set() or name == "robot_spec":
                seen.messages[name].append(message)

        node.create_subscription(kind, f"{ROBOT}/{name}", heard, qos)

    names = [f"{ROBOT}/{name}" for name in SERVED]
    for name, (kind, qos) in PUBLISHED.items():
        # Deeper than the topic is offered: what is counted here shall not be lost here.
        listen(name, kind, STREAM if qos is IMAGE else qos)
    listen("joint_command", JointState, COMMAND)
    listen("transition", Transition, STREAM)
    try:
        deadline = node.get_clock().now().nanoseconds + 120 * 10**9
        while not set(names) <= set(dict(node.get_service_names_and_types())) or any(
            len(heard) < (1 if name == "robot_spec" else ENOUGH)
            for name, heard in seen.messages.items()
            if name != "transition"
        ):
            bench.executor.spin_once(timeout_sec=0.1)
            if node.get_clock().now().nanoseconds > deadline or process.poll() is not None:
                counts = {name: len(heard) for name, heard in seen.messages.items()}
                pytest.fail(f"{arguments[0]} said only {counts}:\n" + "".join(output))
        for name in PUBLISHED:
            seen.offers[name] = {
                _end(info) for info in node.get_publishers_info_by_topic(f"{ROBOT}/{name}")
            }
        seen.takes = {
            _end(info)
            for info in node.get_subscriptions_info_by_topic(f"{ROBOT}/joint_command")
            if info.node_name != "watcher"
        }
        offered = dict(node.get_service_names_and_types())
        seen.services = {name: offered[f"{ROBOT}/{name}"][0] for name in SERVED}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
        reader.join()
        bench.close()
    return seen


def _end(info: Any) -> tuple[str, str, str]:
    qos = info.qos_profile
    return info.topic_type, qos.reliability.name, qos.durability.name


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, Seen]]:
    """The simulator's and the real robot's."""
    folder: Path = tmp_path_factory.mktemp("contract")
    sim = ["sim.launch.py", "profile:=test", "real_time_factor:=1.0", f"data_dir:={folder / 'sim'}"]
    real = ["rig.launch.py", "profile:=test", f"data_dir:={folder / 'real'}"]
    return watch(sim, own_domain(40)), watch(real, own_domain(41))


def test_topics_have_the_same_types_and_qos(graphs: tuple[Seen, Seen]) -> None:
    sim, real = graphs
    assert real.offers == sim.offers
    assert real.takes == sim.takes
    assert all(len(ends) == 1 for ends in real.offers.values())


def test_services_have_the_same_types(graphs: tuple[Seen, Seen]) -> None:
    sim, real = graphs
    assert real.services == sim.services


def test_the_specs_differ_in_nothing(graphs: tuple[Seen, Seen]) -> None:
    sim, real = (graph.messages["robot_spec"][0] for graph in graphs)
    assert real.run_id != sim.run_id  # each launch is a run of its own
    for name in set(RobotSpec.get_fields_and_field_types()) - {"run_id"}:
        assert getattr(real, name) == getattr(sim, name), name


def test_joints_come_in_the_same_order_and_units(graphs: tuple[Seen, Seen]) -> None:
    for graph in graphs:
        for message in graph.messages["joint_states"]:
            assert list(message.name) == ["m1", "m2", "m3", "m4", "m5", "m6"]
            assert np.abs(message.position).max() < np.pi  # rad, not degrees
            assert np.abs(message.velocity).max() < 12.0  # rad/s
            assert np.abs(message.effort).max() < 0.4  # N m: stall is 0.39
        moved = np.ptp([m.position for m in graph.messages["joint_states"]], axis=0)
        assert moved[[0, 1, 2, 4]].max() > 0.05


def test_commands_fit_both(graphs: tuple[Seen, Seen]) -> None:
    for graph in graphs:
        spec = graph.messages["robot_spec"][0]
        for message in graph.messages["joint_command"]:
            assert list(message.name) == list(spec.action_names) == ["m1", "m2", "m3", "m5"]
            assert (np.abs(message.effort) <= np.array(spec.action_high) + 1e-9).all()


def test_images_have_the_same_frame_and_the_same_size_for_the_model(
    graphs: tuple[Seen, Seen],
) -> None:
    for camera in CAMERAS:
        shapes, frames = set(), set()
        for graph in graphs:
            message = graph.messages[f"{camera}/image_raw"][-1]
            frames.add((message.header.frame_id, message.encoding))
            shapes.add(fit_image(camera, to_array(message)).shape)
            info = graph.messages[f"{camera}/camera_info"][-1]
            assert info.header.frame_id == message.header.frame_id
            assert (info.width, info.height) == (message.width, message.height)
        assert frames == {(f"{camera}_optical_frame", "rgb8")}
        assert shapes == {(64, 64, 3)}


def test_the_models_images_look_alike(graphs: tuple[Seen, Seen]) -> None:
    """The same scene from the same place: lens, crop and colours are the same."""
    for camera in CAMERAS:
        sim, real = (
            fit_image(camera, to_array(graph.messages[f"{camera}/image_raw"][-1])).astype(float)
            for graph in graphs
        )
        assert abs(sim.mean() - real.mean()) < 25
        assert np.corrcoef(sim.ravel(), real.ravel())[0, 1] > 0.6


def test_rewards_judge_images_and_are_never_positive_without_a_touch(
    graphs: tuple[Seen, Seen],
) -> None:
    for graph in graphs:
        images = {
            to_ns(message.header.stamp)
            for camera in CAMERAS
            for message in graph.messages[f"{camera}/image_raw"]
        }
        rewards = graph.messages["reward"]
        common = {to_ns(message.header.stamp) for message in rewards} & images
        assert len(common) > len(rewards) / 2
        for message in rewards:
            if message.valid and not message.touched:
                assert message.reward == pytest.approx(-message.distance)
                assert 0.0 <= message.distance < 2.0


def test_stamps_grow_at_the_pace_of_the_robot(graphs: tuple[Seen, Seen]) -> None:
    for graph in graphs:
        for name, least in (("joint_states", 19.0), ("camera_front/image_raw", 19.0)):
            stamps = [to_ns(message.header.stamp) for message in graph.messages[name]]
            assert (np.diff(stamps) > 0).all()
            # Some are lost where all of it runs on one core: the quickest quarter tells the pace.
            assert 1e9 / np.quantile(np.diff(stamps), 0.25) > least
