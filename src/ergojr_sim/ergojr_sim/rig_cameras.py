"""The rig's two cameras, in a process of their own: rendering must not stall the servos' bus.

Started by `rig.Rig` with one JSON argument (a `CameraConfig`). Reads lines of JSON on stdin:

    {"arm": [6 rad], "cube": [x, y, z, qx, qy, qz, qw]}    the newest state of the world

with "fault": {<camera>: {"frozen": bool, "connected": bool, "delay": s}} where these have changed,
and ends when stdin does. Writes one line on stdout when it serves: the ports by camera. A picture
is drawn `fps` times a second, for the cameras that someone reads, with a sensor's noise: without it
an arm at rest would look like a frozen camera. A frozen camera goes on sending its last picture.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ergojr_sim.mjpeg import MjpegServer
from ergojr_sim.world import CAMERAS, World

JPEG_QUALITY = 90
NOISE = 3  # levels
NOISES = 5  # frames of it, in turn


@dataclass(frozen=True)
class CameraConfig:
    """Size in pixels, pictures a second, and the HTTP port of each camera (0: any)."""

    width: int = 320
    height: int = 240
    fps: float = 30.0
    ports: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAMERAS, 0))

    def to_json(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))


@dataclass
class CameraFault:
    """What is broken about one camera."""

    frozen: bool = False
    connected: bool = True
    delay: float = 0.0  # s


class FaultyCamera:
    """An MJPEG stream with the faults that a camera can have."""

    def __init__(self, port: int) -> None:
        self.server = MjpegServer(port)
        self.fault = CameraFault()
        self._last = b""
        self._late: deque[tuple[float, bytes]] = deque()

    def break_(self, fault: CameraFault) -> None:
        """Replace the present faults by `fault`."""
        self.fault = fault
        self.server.connect(fault.connected)
        self._late.clear()

    @property
    def drawn(self) -> bool:
        """Whether a new picture would reach anybody."""
        return self.server.readers > 0 and not (self.fault.frozen and self._last)

    def show(self, jpeg: bytes | None, now: float) -> None:
        """A new picture, or None where none was drawn, at `now` s of a steady clock."""
        if jpeg is not None:
            self._late.append((now + self.fault.delay, jpeg))
        ripe = bool(self._late) and self._late[0][0] <= now
        while self._late and self._late[0][0] <= now:
            self._last = self._late.popleft()[1]
        if self._last and (ripe or self.fault.frozen):
            self.server.publish(self._last)


class _World:
    """The newest state and the faults, from stdin."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.faults: dict[str, CameraFault] = {}
        self.ended = threading.Event()

    def read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            self.state = message
            for camera, fault in message.get("fault", {}).items():
                self.faults[camera] = CameraFault(**fault)
        self.ended.set()


def main() -> int:
    """Serve until stdin ends."""
    import cv2  # late: only this process needs it

    cv2.setNumThreads(1)
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))  # not the bus's
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the rig, which then ends this one
    config = CameraConfig(**json.loads(sys.argv[1]))
    try:
        cameras = {name: FaultyCamera(port) for name, port in config.ports.items()}
    except OSError:
        return 1  # the rig says it
    world = World("servo")
    world.reset(np.zeros(6), (0.0, 0.135), 0.0)
    random, size = np.random.default_rng(0), (config.height, config.width, 3)
    noise = [random.integers(0, NOISE, size, np.uint8) for _ in range(NOISES)]
    count = 0
    news = _World()
    threading.Thread(target=news.read, daemon=True).start()
    print(json.dumps({name: camera.server.port for name, camera in cameras.items()}), flush=True)
    due = time.monotonic()
    while not news.ended.wait(max(0.0, due - time.monotonic())):
        due = max(due + 1.0 / config.fps, time.monotonic())
        for name in list(news.faults):
            cameras[name].break_(news.faults.pop(name))
        if news.state:
            world.show(news.state["arm"], news.state["cube"])
        for name, camera in cameras.items():
            jpeg = None
            if camera.drawn:
                image = world.render_over_backdrop(name, config.width, config.height)
                image, count = cv2.subtract(image, noise[count % NOISES]), count + 1
                quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
                jpeg = cv2.imencode(".jpg", image[..., ::-1], quality)[1].tobytes()
            camera.show(jpeg, time.monotonic())
    return 0


if __name__ == "__main__":
    sys.exit(main())
