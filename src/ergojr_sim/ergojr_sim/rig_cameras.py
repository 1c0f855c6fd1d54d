"""The rig's two cameras, in a process of their own: rendering must not stall the servos' bus.

Started by `rig.Rig` with one JSON argument (a `StreamConfig`). Reads lines of JSON on stdin:

    {"arm": [6 rad], "cube": [x, y, z, qx, qy, qz, qw]}    the newest state of the world

with "fault": {<camera>: fields of a `CameraFault`} where these have changed, and ends when stdin
does. Writes one line on stdout when it serves: the ports by camera. Each state is a picture of each
camera that someone reads (of states that had to wait, the newest), with a sensor's noise: without
it an arm at rest would look like a frozen camera. A frozen camera goes on sending its last picture.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ergojr_description.cameras import CAMERAS
from ergojr_sim.mjpeg import MjpegServer

PRIORITY = 5  # of real time, where that is allowed: below all that moves the arm
PATIENCE = 3.0  # s for a killed rig's cameras to give their HTTP ports back
GREEN = (0, 135, 0)  # what a decoder makes of a stream's part that is missing: YUV 0, 0, 0
JPEG_QUALITY = 90
NOISE = 3  # levels
NOISES = 5  # frames of it, in turn


@dataclass(frozen=True)
class StreamConfig:
    """Size in pixels, and the HTTP port of each camera (0: any)."""

    width: int = 320
    height: int = 240
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
    rate: float = 0.0  # pictures a second at most; 0: as many as there are
    green: float = 0.0  # share of the rows, from below


class Cameras:
    """The process that draws, as the rig sees it.

    Raises:
        OSError: an HTTP port is taken.
    """

    def __init__(self, config: StreamConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ergojr_sim.rig_cameras", config.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = self._process.stdin.fileno()
        self._news: dict[str, Any] = {}  # what the process has not been told yet
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise OSError(
                f"the cameras cannot serve on the HTTP ports {list(config.ports.values())}"
            )
        self.ports: dict[str, int] = json.loads(line)
        # Physics must not wait for a process that does not read.
        os.set_blocking(self._pipe, False)

    def show(self, arm: list[float], cube: list[float]) -> None:
        """A picture of each, of this state; RuntimeError where the process has ended."""
        news, self._news = self._news, {}
        message = {"arm": arm, "cube": cube, **news}
        try:
            os.write(self._pipe, json.dumps(message).encode() + b"\n")
        except BlockingIOError:
            # It is behind by seconds, and will get a newer state.
            self._news = {**news, **self._news}
        except BrokenPipeError as error:
            raise RuntimeError("the process of the cameras has ended") from error

    def break_(self, faults: dict[str, CameraFault]) -> None:
        """Break and mend, from the next `show` on."""
        self._news = {"fault": {name: asdict(fault) for name, fault in faults.items()}}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class FaultyCamera:
    """An MJPEG stream with the faults that a camera can have."""

    def __init__(self, port: int) -> None:
        self.server = MjpegServer(port)
        self.fault = CameraFault()
        self._last = b""
        self._late: deque[tuple[float, bytes]] = deque()
        self._due = 0.0  # when the next picture is, of a slow camera

    def break_(self, fault: CameraFault) -> None:
        """Replace the present faults by `fault`."""
        self._due = 0.0
        self.fault = fault
        self.server.connect(fault.connected)
        self._late.clear()

    def wants(self, now: float) -> bool:
        """Whether a new picture would reach anybody at `now` s of a steady clock."""
        frozen = self.fault.frozen and bool(self._last)
        return self.server.readers > 0 and not frozen and now >= self._due

    def show(self, jpeg: bytes | None, now: float) -> None:
        """A new picture, or None where none was drawn, at `now`."""
        if jpeg is not None:
            self._late.append((now + self.fault.delay, jpeg))
            period = 1.0 / self.fault.rate if self.fault.rate else 0.0
            self._due = max(self._due, now - period) + period
        ripe = bool(self._late) and self._late[0][0] <= now
        while self._late and self._late[0][0] <= now:
            self._last = self._late.popleft()[1]
        if self._last and (ripe or self.fault.frozen):
            self.server.publish(self._last)


class Sensor:
    """Makes a scene's pictures what a camera sends."""

    def __init__(self, width: int, height: int) -> None:
        from ergojr_sim.scene import Scene  # late: only this process needs OpenCV and a world

        self._scene = Scene(width, height)
        random = np.random.default_rng(0)
        self._noise = [
            random.integers(0, NOISE, (height, width, 3), np.uint8) for _ in range(NOISES)
        ]
        self._count = 0

    def expose(self, state: dict[str, Any]) -> None:
        """Show what the rig says."""
        self._scene.show(state["arm"], state["cube"])

    def jpeg(self, camera: str, green: float) -> bytes:
        """One picture; the share `green` of its rows, from below, is lost."""
        import cv2

        self._count += 1
        image = cv2.subtract(self._scene.picture(camera), self._noise[self._count % NOISES])
        if green:
            image[round(len(image) * (1.0 - green)) :] = GREEN
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def messages(pipe: int) -> Iterator[dict[str, Any]]:
    """What comes through `pipe`, line by line; of what came together, the newest."""
    rest = b""
    while data := os.read(pipe, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        news: dict[str, Any] = {}
        for line in lines:
            news |= json.loads(line)
        if news:
            yield news


def _camera(port: int) -> FaultyCamera:
    """Raises OSError where the port is taken, and stays so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return FaultyCamera(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    """Serve until stdin ends."""
    import cv2

    cv2.setNumThreads(1)
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))  # not the bus's
    with suppress(PermissionError):  # a right that not everybody has; threads inherit it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the rig, which then ends this one
    config = StreamConfig(**json.loads(sys.argv[1]))
    try:
        cameras = {name: _camera(port) for name, port in config.ports.items()}
    except OSError:
        return 1  # the rig says it
    sensor = Sensor(config.width, config.height)
    print(json.dumps({name: camera.server.port for name, camera in cameras.items()}), flush=True)
    for news in messages(sys.stdin.fileno()):
        for name, fault in news.get("fault", {}).items():
            cameras[name].break_(CameraFault(**fault))
        sensor.expose(news)
        for name, camera in cameras.items():
            wanted = camera.wants(time.monotonic())
            jpeg = sensor.jpeg(name, camera.fault.green) if wanted else None
            camera.show(jpeg, time.monotonic())
    return 0


if __name__ == "__main__":
    sys.exit(main())
