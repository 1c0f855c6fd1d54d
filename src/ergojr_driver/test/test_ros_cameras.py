"""The real camera and reward nodes on two streams over HTTP: what a controller meets."""

from __future__ import annotations

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from planet_msgs.msg import OperatorRequest, Reward
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ergojr_driver.detection import Image as Array
from ergojr_sim.mjpeg import MjpegServer
from planet_node.images import to_array
from planet_node.qos import IMAGE, LATCHED, PREVIEW, STREAM
from planet_node.stamps import to_ns
from planet_node.testing import Bench

CAMERAS = ("camera_front", "camera_side")
STREAMS: dict[str, tuple[type, Any]] = {
    "reward": (Reward, STREAM),
    "camera_front/image_raw": (Image, IMAGE),
    "camera_side/image_raw": (Image, IMAGE),
    "camera_front/camera_info": (CameraInfo, IMAGE),
    "camera_front/image_raw/compressed": (CompressedImage, PREVIEW),
    "camera_front/annotated": (Image, PREVIEW),
}


class Scene:
    """Two streams of a table with a green tip at `gripper` and a red cube, at 30 a second."""

    def __init__(self) -> None:
        self.servers = {name: MjpegServer() for name in CAMERAS}
        self.gripper = (100, 60)
        self.frozen = False
        self.share = 1.0  # of each picture that gets through
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        random = np.random.default_rng(0)
        jpeg = b""
        while not self._closed.wait(1 / 30):
            if not (self.frozen and jpeg):
                image: Array = np.full((240, 320, 3), 200, dtype=np.uint8)
                x, y = self.gripper
                image[y : y + 20, x : x + 20] = (0, 200, 0)
                image[150:170, 200:220] = (0, 0, 200)  # BGR
                image[:8] = random.integers(150, 250, (8, 320, 3))
                jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            for server in self.servers.values():
                server.publish(jpeg[: int(self.share * len(jpeg))])

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        for server in self.servers.values():
            server.close()


class Graph(Bench):
    """The nodes' processes and a node that listens to them."""

    def __init__(self, scene: Scene, together: bool, folder: Path) -> None:
        super().__init__("/ergojr")
        self.last: dict[str, Any] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.health: dict[str, str] = {}
        for topic, (kind, qos) in STREAMS.items():
            self.node.create_subscription(kind, topic, self.keeper(topic), qos)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.on_health, STREAM)
        self.requests = self.node.create_publisher(OperatorRequest, "operator/request", LATCHED)
        sources = {name: f"http://127.0.0.1:{one.port}/" for name, one in scene.servers.items()}
        # As a launch file gives them: to each node its own.
        sections: dict[str, dict[str, Any]] = {name: {"field_of_view": 60.0} for name in sources}
        if together:
            sections["pixel_reward"] = {
                f"{name}.source": source for name, source in sources.items()
            }
        else:
            for name, source in sources.items():
                sections[name]["source"] = source
        path = folder / "parameters.yaml"
        given = {f"/**/{name}": {"ros__parameters": section} for name, section in sections.items()}
        path.write_text(yaml.safe_dump(given))
        for name in () if together else sources:
            self.start_node(name, "camera_node", path)
        self.start_node("pixel_reward", "vision_node" if together else "pixel_reward_node", path)

    def start_node(self, name: str, module: str, parameters: Path) -> None:
        arguments = ("-r", f"__node:={name}", "--params-file", str(parameters))
        self.start(f"ergojr_driver.{module}", *arguments, stderr=None)

    def keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            self.last[topic] = message
            self.counts[topic] += 1

        return keep

    def on_health(self, message: DiagnosticArray) -> None:
        self.health.update({status.name: status.message for status in message.status})

    def says(self, name: str, sentence: str) -> None:
        self.until(lambda: sentence in self.health.get(name, ""), repr(sentence))

    def afresh(self, topic: str) -> Any:
        count = self.counts[topic]
        self.until(lambda: self.counts[topic] > count + 1, f"new messages on {topic}")
        return self.last[topic]


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["apart", "together"])
def graph(scene: Scene, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Graph]:
    made = Graph(scene, request.param, tmp_path)
    yield made
    made.close()


def test_images_and_reward_through_faults_and_repair(graph: Graph, scene: Scene) -> None:
    graph.until(lambda: len(graph.last) == len(STREAMS), "all topics")
    image, info = graph.afresh("camera_front/image_raw"), graph.last["camera_front/camera_info"]
    assert (image.encoding, image.width, image.height) == ("rgb8", 320, 240)
    assert image.header.frame_id == info.header.frame_id == "camera_front_optical_frame"
    assert info.k[0] == pytest.approx(207.8, abs=0.1)
    red = to_array(image)[160, 210]
    assert red[0] > 150
    assert red[1] < 80
    assert 0 <= time.time_ns() - to_ns(image.header.stamp) < 2_000_000_000
    compressed = graph.last["camera_front/image_raw/compressed"]
    blue = cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_COLOR)[160, 210]
    assert blue[2] > 150, "red, as BGR"

    reward = graph.afresh("reward")
    assert reward.valid
    assert not reward.terminated
    assert reward.reward == -reward.distance
    # From (110, 70) or an end of it to (210, 160), in two images of 400 px.
    assert reward.distance == pytest.approx(2 * np.hypot(100, 90) / 400, abs=0.06)

    request = OperatorRequest(id=1, state="place_cube", cube_x=0.0, cube_y=0.135, cube_yaw=0.0)
    graph.requests.publish(request)

    def marked() -> bool:
        drawn = to_array(graph.last["camera_front/annotated"]).astype(int)
        return bool((np.abs(drawn - (255, 200, 0)).sum(axis=2) < 10).sum() > 10)

    graph.until(marked, "the cube's marker")

    scene.gripper = (182, 155)
    graph.until(lambda: graph.last["reward"].terminated, "the touch")
    assert graph.last["reward"].touched
    scene.gripper = (100, 60)
    graph.until(lambda: not graph.last["reward"].touched, "the end of the touch")

    scene.frozen = True
    graph.says("/ergojr/camera_front: camera", "is frozen")
    graph.says("/ergojr/pixel_reward: reward", "no images of")
    count = graph.counts["camera_front/image_raw"]
    graph.says("/ergojr/camera_side: camera", "is frozen")
    assert graph.counts["camera_front/image_raw"] == count
    scene.frozen = False
    graph.says("/ergojr/camera_front: camera", "sends images")
    graph.afresh("reward")

    scene.servers["camera_side"].connect(False)
    graph.says("/ergojr/camera_side: camera", "tried again")
    scene.servers["camera_side"].connect(True)
    graph.says("/ergojr/camera_side: camera", "sends images")
    graph.afresh("reward")

    scene.share = 0.5
    graph.says("/ergojr/camera_front: camera", "has sent only damaged pictures")
    graph.says("/ergojr/pixel_reward: reward", "no images of")
    scene.share = 1.0
    graph.says("/ergojr/camera_front: camera", "damaged pictures so far, which were dropped")
    graph.afresh("reward")

    for process in graph.processes:
        process.send_signal(signal.SIGINT)
    assert [process.wait(10.0) for process in graph.processes] == [0] * len(graph.processes)
