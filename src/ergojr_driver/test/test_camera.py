"""The grabber on sources made up, on a file and on an HTTP stream; calibrations."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ergojr_driver.camera import (
    CameraConfig,
    CameraError,
    Frame,
    Grabber,
    calibration,
    fit,
    is_device,
    open_source,
)
from ergojr_driver.detection import Image
from ergojr_sim.mjpeg import MjpegServer

CALIBRATION = """
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [600, 0, 320, 0, 601, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 601, 240, 0, 0, 0, 1, 0]}
"""


def picture(number: int) -> Image:
    """48x64 BGR of one grey, which survives JPEG."""
    return np.full((48, 64, 3), 10 * number % 250, dtype=np.uint8)


class Source:
    """A camera of a test's own: frames are handed to it one by one; None unplugs it."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._frames: list[Image | None] = []
        self._now: Image | None = None
        self.opened = 0
        self.taken = 0
        self.absent = False

    def send(self, image: Image | None) -> None:
        with self._news:
            self._frames.append(image)
            wanted = self.taken + len(self._frames)
            self._news.notify_all()
            assert self._news.wait_for(lambda: self.taken >= wanted, 5.0)

    def end(self) -> None:
        self.absent = True
        with self._news:
            self._frames.append(None)
            self._news.notify_all()

    def open(self, config: CameraConfig) -> Source:
        self.opened += 1
        if self.absent:
            raise CameraError("it is not there")
        return self

    def grab(self) -> bool:
        with self._news:
            # The frame before is done with: who sent it may go on.
            self.taken += self._now is not None
            self._now = None
            self._news.notify_all()
            if not self._news.wait_for(lambda: bool(self._frames), 5.0):
                return False
            self._now = self._frames.pop(0)
            if self._now is None:
                self.taken += 1
                self._news.notify_all()
            return self._now is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, self._now

    def get(self, prop: int) -> float:
        return 0.0

    def release(self) -> None:
        pass


@contextmanager
def grabbing(source: Source, **settings: Any) -> Iterator[Grabber]:
    config = CameraConfig(source="http://test", **{"fps": 1e6, **settings})
    grabber = Grabber(config, source.open)
    grabber.start()
    try:
        yield grabber
    finally:
        source.end()
        grabber.close()


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, f"waited 10 s for {what}"
        time.sleep(0.01)


def test_a_slow_reader_gets_the_newest_frame_only_and_each_once() -> None:
    source = Source()
    with grabbing(source) as grabber:
        before = time.time_ns()
        for number in (1, 2, 3):
            source.send(picture(number))
            time.sleep(0.002)
        frame = grabber.next(1.0)
        assert frame is not None
        assert (frame.image == 30).all()
        assert before < frame.stamp <= time.time_ns()
        assert grabber.next(0.0) is None


def test_a_fault_of_the_program_reaches_who_waits_for_a_picture() -> None:
    source = Source()
    source.retrieve = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    source._frames = [picture(1)]
    with grabbing(source) as grabber, pytest.raises(ZeroDivisionError):
        grabber.next(5.0)


def test_no_more_frames_than_asked_for() -> None:
    source = Source()
    with grabbing(source, fps=1.0) as grabber:
        source.send(picture(1))
        assert grabber.next(1.0) is not None
        source.send(picture(2))
        assert grabber.next(0.0) is None


def test_unchanged_pixels_are_a_frozen_camera_that_sends_nothing() -> None:
    source = Source()
    with grabbing(source, frozen_after=0.5) as grabber:
        source.send(picture(1))
        assert grabber.next(1.0) is not None
        until(lambda: (source.send(picture(1)), "frozen" in grabber.fault())[1], "the fault")
        grabber.next(0.0)
        source.send(picture(1))
        assert grabber.next(0.0) is None
        source.send(picture(2))
        assert grabber.next(1.0) is not None
        assert grabber.fault() == ""


def test_a_silent_camera_is_a_fault() -> None:
    source = Source()
    with grabbing(source, frozen_after=0.1) as grabber:
        source.send(picture(1))
        until(lambda: "has sent no picture for" in grabber.fault(), "the fault")


def test_an_unplugged_camera_is_opened_again() -> None:
    source = Source()
    with grabbing(source) as grabber:
        source.send(picture(1))
        source.absent = True
        source.send(None)
        until(lambda: "it is not there" in grabber.fault(), "the fault")
        source.absent = False
        until(lambda: source.opened >= 3, "another attempt")
        source.send(picture(2))
        until(lambda: (f := grabber.next(0.0)) is not None and (f.image == 20).all(), "a frame")
        assert grabber.fault() == ""


def test_a_stream_over_http_breaks_off_and_comes_back() -> None:
    server = MjpegServer()
    port, number = server.port, 0

    def publish_until(condition: Callable[[], Any], what: str) -> None:
        nonlocal number

        def step() -> Any:
            nonlocal number
            number += 1
            server.publish(cv2.imencode(".jpg", picture(number))[1].tobytes())
            return condition()

        until(step, what)

    grabber = Grabber(CameraConfig(source=f"http://127.0.0.1:{port}/", fps=100.0))
    grabber.start()
    try:
        frames: list[Frame] = []

        def got() -> bool:
            frame = grabber.next(0.0)
            frames.extend([frame] if frame else [])
            return len(frames) >= 3

        publish_until(got, "frames")
        assert frames[0].image.shape == (48, 64, 3)
        server.connect(False)
        until(grabber.fault, "the fault")
        server.connect(True)
        frames.clear()
        publish_until(got, "frames after the break")
        assert grabber.fault() == ""
    finally:
        grabber.close()
        server.close()


def test_a_video_file_is_repeated_at_its_own_pace(tmp_path: Path) -> None:
    path = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for number in range(5):
        writer.write(picture(number))
    writer.release()
    grabber = Grabber(CameraConfig(source=path, fps=200.0))
    grabber.start()
    try:
        begin, stamps = time.monotonic(), []
        while len(stamps) < 12:
            frame = grabber.next(5.0)
            assert frame is not None
            stamps.append(frame.stamp)
        assert time.monotonic() - begin > 8 / 50
    finally:
        grabber.close()


def test_a_source_that_is_not_there_is_said_in_one_sentence() -> None:
    with pytest.raises(CameraError, match=r"/nowhere/at\.all cannot be opened"):
        open_source(CameraConfig(source="/nowhere/at.all"))


def test_devices_are_told_from_files_and_streams() -> None:
    assert [is_device(s) for s in ("0", "/dev/video2", "a.avi", "http://cam/0")] == [
        True,
        True,
        False,
        False,
    ]


def test_images_are_brought_to_size_cropped_and_rgb() -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[:, 32:] = (255, 0, 0)  # blue, as OpenCV has it
    config = CameraConfig(source="0", width=32, height=24, crop=(16, 4, 8, 10))
    fitted = fit(image, config)
    assert fitted.shape == (10, 8, 3)
    assert (fitted == (0, 0, 255)).all()
    with pytest.raises(CameraError, match="does not fit"):
        fit(image, dataclasses.replace(config, crop=(30, 0, 8, 8)))


def test_a_pinhole_as_the_simulator_has_it_or_nothing() -> None:
    known = calibration(CameraConfig(source="0", field_of_view=60.0), 320, 240)
    focal = 120 / np.tan(np.radians(30))
    assert known.k == pytest.approx([focal, 0, 159.5, 0, focal, 119.5, 0, 0, 1])
    assert known.p[:3] == known.k[:3]
    assert calibration(CameraConfig(source="0"), 320, 240).k == [0.0] * 9


def test_a_calibration_file_is_taken_over_and_follows_the_crop(tmp_path: Path) -> None:
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION)
    config = CameraConfig(source="0", calibration_file=str(path))
    known = calibration(config, 640, 480)
    assert known.k[:3] == [600.0, 0.0, 320.0]
    assert known.d[:2] == [0.1, -0.2]
    cropped = dataclasses.replace(config, width=640, height=480, crop=(100, 40, 320, 240))
    known = calibration(cropped, 320, 240)
    assert (known.k[2], known.k[5], known.p[2], known.p[6]) == (220.0, 200.0, 220.0, 200.0)
    with pytest.raises(CameraError, match="640x480 images, but 0 sends 320x240"):
        calibration(config, 320, 240)
    path.write_text("image_width: 640")
    with pytest.raises(CameraError, match="is no calibration"):
        calibration(config, 640, 480)
