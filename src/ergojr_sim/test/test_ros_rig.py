"""The real rig node in a process of its own: its services, its truth, and what its cameras show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from planet_node.qos import STREAM
from rclpy.executors import SingleThreadedExecutor

from ergojr_description import xl320
from planet_msgs.msg import Reward
from planet_msgs.srv import InjectFault, PlaceCube

cv2 = pytest.importorskip("cv2")


class Lab:
    """The rig's process and a node that speaks to it."""

    def __init__(self, port: Path) -> None:
        self.domain = 30 + os.getpid() % 70
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("test", context=self.context, namespace="/ergojr")
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.truths: list[Reward] = []
        self.node.create_subscription(Reward, "rig/truth", self.truths.append, STREAM)
        self.cubes = self.node.create_client(PlaceCube, "rig/place_cube")
        self.faults = self.node.create_client(InjectFault, "rig/fault")
        self.port = port
        self.process: subprocess.Popen[str] | None = None

    def start(self, **parameters: Any) -> None:
        given = [x for key, value in parameters.items() for x in ("-p", f"{key}:={value}")]
        module = [sys.executable, "-m", "ergojr_sim.rig_node"]
        self.process = subprocess.Popen(
            [*module, "--ros-args", "-r", "__ns:=/ergojr", "-p", f"port_link:={self.port}", *given],
            env={**os.environ, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 20.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client: Any, request: Any) -> Any:
        self.until(client.service_is_ready, "the service")
        future = client.call_async(request)
        self.until(future.done, "the answer")
        return future.result()

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()  # not killed: Fast DDS minds peers that vanish
            self.process.wait(20)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "port")
    yield made
    made.close()


def free_ports() -> dict[str, int]:
    import socket

    with socket.socket() as one, socket.socket() as other:
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
        front, side = one.getsockname()[1], other.getsockname()[1]
    return {"front_http_port": front, "side_http_port": side}


def red_column(image: Any) -> float:
    """Where, from 0 (left) to 1, the cube is in a BGR image."""
    blue, green, red = np.moveaxis(image.astype(int), 2, 0)
    columns = np.nonzero((red > 2 * green) & (red > 2 * blue) & (red > 60))[1]
    return float(columns.mean() / image.shape[1]) if len(columns) else -1.0


def test_services_truth_and_a_picture_of_the_cube_where_it_was_put(
    lab: Lab, connect: Callable[[Path], Any]
) -> None:
    ports = free_ports()
    lab.start(**ports)
    lab.until(lambda: len(lab.truths) > 3, "rig/truth")
    truth = lab.truths[-1]
    assert truth.valid
    assert truth.reward == pytest.approx(-truth.distance)
    assert 0.01 < truth.distance < 0.5

    # Seen from the front the robot's right hand side is on the left.
    capture = cv2.VideoCapture(f"http://127.0.0.1:{ports['front_http_port']}/stream.mjpg")
    for x, left in ((0.1, True), (-0.1, False)):
        assert lab.call(lab.cubes, PlaceCube.Request(x=x, y=0.15, yaw=0.3)).ok
        lab.until(
            lambda left=left: (column := red_column(capture.read()[1])) > 0.0
            and (column < 0.4 if left else column > 0.6),
            "the cube in the picture",
        )
    assert capture.read()[1].shape == (240, 320, 3)
    capture.release()
    refused = lab.call(lab.cubes, PlaceCube.Request(x=9.0))
    assert not refused.ok
    assert "no place" in refused.message

    host = connect(lab.port)
    assert [reply.id for reply in host.ask(xl320.ping(xl320.BROADCAST), 6)] == [1, 2, 3, 4, 5, 6]
    assert lab.call(lab.faults, InjectFault.Request(kind="silence", target="m2")).ok
    assert host.ask(xl320.ping(2), timeout=0.1) == []
    assert lab.call(lab.faults, InjectFault.Request()).ok
    assert host.ask(xl320.ping(2))
    refused = lab.call(lab.faults, InjectFault.Request(kind="explode"))
    assert not refused.ok
    assert "there is no fault 'explode'" in refused.message

    assert lab.process is not None
    lab.process.send_signal(signal.SIGTERM)
    assert lab.process.wait(10.0) == 0
    assert not lab.port.is_symlink()


def test_a_taken_http_port_is_told_in_one_sentence_and_not_tried_again(lab: Lab) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        lab.start(side_http_port=taken.getsockname()[1])
        assert lab.process is not None
        said = lab.process.communicate(timeout=20.0)[1]
    assert lab.process.returncode == 2
    assert "cannot serve on the HTTP ports" in said
