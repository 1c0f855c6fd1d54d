"""The real rig node in a process of its own: its services, its truth, and what its cameras show."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planet_msgs.msg import Reward
from planet_msgs.srv import InjectFault, PlaceCube

from ergojr_description import xl320
from planet_node.qos import STREAM
from planet_node.testing import Bench

cv2 = pytest.importorskip("cv2")


class Lab(Bench):
    """The rig's process and a node that speaks to it."""

    def __init__(self, port: Path) -> None:
        super().__init__("/ergojr")
        self.truths: list[Reward] = []
        self.node.create_subscription(Reward, "rig/truth", self.truths.append, STREAM)
        self.cubes = self.node.create_client(PlaceCube, "rig/place_cube")
        self.faults = self.node.create_client(InjectFault, "rig/fault")
        self.port = port

    def start_rig(self, **parameters: Any) -> None:
        self.start("ergojr_sim.rig_node", port_link=self.port, **parameters)


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
    lab.start_rig(**ports)
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

    assert lab.end(signal.SIGTERM)[0] == 0
    assert not lab.port.is_symlink()


def test_a_taken_http_port_is_told_in_one_sentence_and_not_tried_again(lab: Lab) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        lab.start_rig(side_http_port=taken.getsockname()[1])
        said = lab.process.communicate(timeout=20.0)[1]
    assert lab.process.returncode == 2
    assert "cannot serve on the HTTP ports" in said
