"""The grabber on sources made up, on a file and on an HTTP stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ergojr_driver.camera import LATELY, Frame, Grabber
from ergojr_driver.camera_config import CameraConfig, CameraError
from ergojr_driver.camera_picture import Image
from ergojr_driver.camera_source import is_device, open_source
from ergojr_sim.mjpeg import MjpegServer


def picture(number: int) -> Image:
    """48x64 BGR of a grey of its own, which survives JPEG, and a bright edge."""
    image = np.full((48, 64, 3), 10 * number % 250, dtype=np.uint8)
    image[:, 48:] = 250
    return image


def broken(number: int) -> Image:
    """The same whose lower half was not decoded."""
    image = picture(number)
    image[24:] = (0, 135, 0)
    return image


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
def grabbing(camera: Source, **settings: Any) -> Iterator[Grabber]:
    config = CameraConfig(**{"source": "http://test", "fps": 1e6, **settings})
    grabber = Grabber(config, camera.open)
    grabber.start()
    try:
        yield grabber
    finally:
        camera.end()
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
        assert np.array_equal(frame.image, picture(3))
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


def test_a_picture_that_is_half_decoded_is_dropped_counted_and_told() -> None:
    source = Source()
    with grabbing(source) as grabber:
        source.send(picture(1))
        source.send(broken(2))
        source.send(broken(3))
        frame = grabber.next(1.0)
        assert frame is not None
        assert np.array_equal(frame.image, picture(1))
        assert grabber.damaged() == 2
        assert grabber.warnings() == [
            "http://test has sent 2 damaged pictures so far, which were dropped: see to its cable "
            "or network"
        ]
        assert grabber.fault() == ""


def test_a_camera_that_sends_only_damaged_pictures_is_a_fault() -> None:
    source = Source()
    with grabbing(source, frozen_after=0.1) as grabber:
        until(lambda: (source.send(broken(1)), "only damaged" in grabber.fault())[1], "the fault")
        assert grabber.next(0.0) is None


@pytest.mark.parametrize(
    ("source", "size", "said"),
    [
        ("/dev/video9", (64, 48), []),
        ("/dev/video9", (32, 24), ["sends 64x48 pictures instead of 32x24: they are scaled"]),
        ("http://test", (32, 24), []),
        ("/dev/video9", (64, 36), ["instead of 64x36: they are cut to that aspect"]),
        ("http://test", (64, 36), ["instead of 64x36: they are cut to that aspect"]),
    ],
)
def test_another_size_than_asked_for_is_told(
    source: str, size: tuple[int, int], said: list[str]
) -> None:
    camera = Source()
    with grabbing(camera, source=source, width=size[0], height=size[1]) as grabber:
        camera.send(picture(1))
        frame = grabber.next(1.0)
        assert frame is not None
        assert (frame.image.shape, frame.sent) == ((size[1], size[0], 3), (64, 48))
        warnings = grabber.warnings()
        assert len(warnings) == len(said)
        assert all(part in warning for part, warning in zip(said, warnings, strict=True))


def test_half_the_rate_is_told_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 100.0
        time_ns = staticmethod(time.time_ns)

        def monotonic(self) -> float:
            return self.now

    clock, source = Clock(), Source()
    monkeypatch.setattr("ergojr_driver.camera.time", clock)
    with grabbing(source, fps=30.0) as grabber:
        for rate, said in ((15.0, ["sends 15 images a second instead of 30"]), (30.0, [])):
            for number in range(LATELY + 1):
                clock.now += 1 / rate
                source.send(picture(number))
            warnings = grabber.warnings()
            assert len(warnings) == len(said)
            assert all(part in warning for part, warning in zip(said, warnings, strict=True))


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
        until(
            lambda: (f := grabber.next(0.0)) is not None and np.array_equal(f.image, picture(2)),
            "a frame",
        )
        assert grabber.fault() == ""


def test_a_stream_over_http_breaks_off_comes_back_and_is_cut_short() -> None:
    server = MjpegServer()
    port, number, share = server.port, 0, 1.0

    def publish_until(condition: Callable[[], Any], what: str) -> None:
        nonlocal number

        def step() -> Any:
            nonlocal number
            number += 1
            jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
            server.publish(jpeg[: int(share * len(jpeg))])
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
        share = 0.7
        publish_until(lambda: grabber.damaged() > 2, "damaged pictures")
        while grabber.next(0.2) is not None:
            pass
        publish_until(lambda: "only damaged" in grabber.fault(), "the fault")
        assert grabber.next(0.0) is None, "no half of an older picture"
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
