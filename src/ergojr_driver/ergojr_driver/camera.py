"""A camera's newest picture: V4L2 device, video file or HTTP stream, through OpenCV.

A thread reads as fast as the source sends, so that no buffer of the way grows old, keeps the newest
frame only and opens the source again, ever less often, when it is gone.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import radians, tan
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

# FFmpeg's own lines would drown the one sentence of the diagnostics.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


Image = NDArray[np.uint8]

OPEN_TIMEOUT = 3000  # ms, of an HTTP stream
READ_TIMEOUT = 1000  # ms, of an HTTP stream
FIRST_RETRY, LAST_RETRY = 0.25, 2.0  # s between two attempts to open a source; doubled each time
MAX_CAPTURE_AGE = 1.0  # s; a driver that claims more does not use the monotonic clock
EARLY = 0.25  # of the period: a frame so much before its time is no frame too many
SETTLED = 10  # frames until the rate is told


@dataclass(frozen=True)
class CameraConfig:
    """One camera."""

    source: str = field(
        metadata={"doc": "V4L2 index or path, video file (repeated without end), or HTTP stream"}
    )
    width: int = field(
        default=0,
        metadata={"doc": "px, asked of the device, images are brought to it; 0: its", "low": 0},
    )
    height: int = field(
        default=0,
        metadata={"doc": "px, asked of the device, images are brought to it; 0: its", "low": 0},
    )
    fps: float = field(
        default=30.0,
        metadata={"doc": "images a second: asked of the device, and no more", "low": 1.0},
    )
    crop: tuple[int, ...] = field(
        default=(0, 0, 0, 0),
        metadata={"doc": "x, y, width, height (px) of what is kept; width 0: everything"},
    )
    exposure: float = field(
        default=-1.0,
        metadata={"doc": "fixed, in the device's unit (V4L2: 100 us); -1: as it is"},
    )
    white_balance: float = field(
        default=-1.0, metadata={"doc": "fixed colour temperature, K; -1: as it is"}
    )
    calibration_file: str = field(
        default="", metadata={"doc": "YAML as camera_calibration writes it; empty: none"}
    )
    field_of_view: float = field(
        default=0.0,
        metadata={
            "doc": "vertical, degrees, of the ideal pinhole without a calibration_file; 0: unknown",
            "low": 0.0,
            "high": 179.0,
        },
    )
    frozen_after: float = field(
        default=0.8,
        metadata={"doc": "s of unchanged pixels until the camera counts as frozen", "low": 0.1},
    )

    def __post_init__(self) -> None:
        if len(self.crop) != 4 or min(self.crop) < 0:
            raise ValueError(
                f"crop is {list(self.crop)}, but must be x, y, width and height in pixels."
            )
        if (self.width == 0) != (self.height == 0):
            raise ValueError("width and height must be set both or neither.")


@dataclass(frozen=True)
class Frame:
    """uint8 [height, width, 3] RGB, and when it was captured (ns since the epoch)."""

    image: Image
    stamp: int


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def grab(self) -> bool:
        """Wait for the next frame; False when there will be none."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode it, BGR."""

    def get(self, prop: int) -> float:
        """A property."""

    def release(self) -> None:
        """Let go of the source."""


class CameraError(Exception):
    """A source cannot be opened or does not do as configured; one sentence."""


def open_source(config: CameraConfig) -> Capture:
    """Open the source as configured.

    Raises:
        CameraError: if it cannot be opened.
    """
    source = config.source
    if "://" in source:
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT]
        options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT]
        # Decoding in several threads would delay the picture by as many frames.
        options += [cv2.CAP_PROP_N_THREADS, 1]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
    elif is_device(source):
        device = int(source) if source.isdigit() else source
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if capture.isOpened():
            for prop, value in _device_settings(config):
                capture.set(prop, value)
    else:
        capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        raise CameraError(f"{source} cannot be opened")
    opened: Capture = capture
    return opened


def is_device(source: str) -> bool:
    """Whether it is a V4L2 device's index or path."""
    return source.isdigit() or source.startswith("/dev/")


def _device_settings(config: CameraConfig) -> list[tuple[int, float]]:
    settings = [
        (cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG"))),  # raw 640x480 fills a bus
        (cv2.CAP_PROP_FPS, config.fps),
        (cv2.CAP_PROP_BUFFERSIZE, 1.0),
    ]
    if config.width:
        settings += [(cv2.CAP_PROP_FRAME_WIDTH, float(config.width))]
        settings += [(cv2.CAP_PROP_FRAME_HEIGHT, float(config.height))]
    return settings + _fixed(config)


def _fixed(config: CameraConfig) -> list[tuple[int, float]]:
    settings: list[tuple[int, float]] = []
    if config.exposure >= 0:
        settings += [(cv2.CAP_PROP_AUTO_EXPOSURE, 1.0)]  # V4L2_EXPOSURE_MANUAL
        settings += [(cv2.CAP_PROP_EXPOSURE, config.exposure)]
    if config.white_balance >= 0:
        settings += [(cv2.CAP_PROP_AUTO_WB, 0.0)]
        settings += [(cv2.CAP_PROP_WB_TEMPERATURE, config.white_balance)]
    return settings


def refused(capture: Capture, config: CameraConfig) -> str:
    """What of the fixed settings the device did not take: a sentence, or empty."""
    names = {
        cv2.CAP_PROP_EXPOSURE: "exposure",
        cv2.CAP_PROP_WB_TEMPERATURE: "white_balance",
    }
    wrong = [
        f"{names[prop]} is {got:g} instead of {value:g}"
        for prop, value in (_fixed(config) if is_device(config.source) else [])
        if prop in names and abs((got := capture.get(prop)) - value) > 0.02 * abs(value) + 1.0
    ]
    return f"the device keeps its own: {', '.join(wrong)}" if wrong else ""


def fit(image: Image, config: CameraConfig) -> Image:
    """RGB of a BGR image, brought to width x height, then cropped.

    Raises:
        CameraError: if the crop lies outside of the image.
    """
    height, width = image.shape[:2]
    if config.width and (width, height) != (config.width, config.height):
        size = (config.width, config.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    x, y, wide, high = config.crop
    if wide:
        height, width = image.shape[:2]
        if x + wide > width or y + high > height or not high:
            raise CameraError(f"crop {list(config.crop)} does not fit into {width}x{height} images")
        image = image[y : y + high, x : x + wide]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class Grabber:
    """Reads one camera in a thread of its own. Thread-safe.

    `opener` is for tests; times of it are the steady clock's, stamps are of the system's clock.
    """

    def __init__(
        self, config: CameraConfig, opener: Callable[[CameraConfig], Capture] = open_source
    ) -> None:
        self._config = config
        self._opener = opener
        self._news = threading.Condition()
        self._frame: Frame | None = None
        self._fault = f"{config.source} is being opened"
        self._error: Exception | None = None
        self._warning = ""
        self._read = self._changed = time.monotonic()
        self._arrivals: deque[float] = deque(maxlen=2 * SETTLED)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grabber", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a read that hangs in the device's driver is left to itself."""
        self._closed.set()
        with self._news:
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=READ_TIMEOUT / 1000 + 0.5)

    def next(self, timeout: float) -> Frame | None:
        """Take the newest frame that was not taken yet; None if none comes, or when frozen.

        Raises:
            Exception: what ended the reading for good, a fault that is not the source's.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._frame is not None or self._error or self._closed.is_set(), timeout
            )
            if self._error is not None:
                raise self._error
            frame, self._frame = self._frame, None
            return frame

    def fault(self) -> str:
        """Why there are no pictures now: one sentence, or empty."""
        now = time.monotonic()
        with self._news:
            if self._fault:
                return self._fault
            if now - self._read > self._config.frozen_after:
                return f"{self._config.source} has sent no picture for {now - self._read:.1f} s"
            if now - self._changed > self._config.frozen_after:
                return (
                    f"{self._config.source} is frozen: the same pixels for "
                    f"{now - self._changed:.1f} s"
                )
            return ""

    def warning(self) -> str:
        """What the device does not do as configured: one sentence, or empty."""
        with self._news:
            return self._warning

    def rate(self) -> float:
        """Frames a second of late; 0 when too few came."""
        with self._news:
            if len(self._arrivals) < SETTLED:
                return 0.0
            return (len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0])

    def _run(self) -> None:
        retry = FIRST_RETRY
        while not self._closed.is_set():
            try:
                capture = self._opener(self._config)
                try:
                    if self._read_all(capture):
                        retry = FIRST_RETRY
                finally:
                    capture.release()
            except (CameraError, cv2.error) as error:
                self._fail(f"{str(error).strip()}; it is tried again")
            except Exception as error:  # noqa: BLE001 -- whoever waits for a picture is to know it
                with self._news:
                    self._error = error
                    self._news.notify_all()
                return
            self._closed.wait(retry)
            retry = min(2 * retry, LAST_RETRY)

    def _fail(self, sentence: str) -> None:
        with self._news:
            self._fault = sentence
            self._frame = None
            self._arrivals.clear()

    def _read_all(self, capture: Capture) -> bool:
        """Read until the source ends; whether there was any frame."""
        warning = refused(capture, self._config)
        pace = _Pace(capture, self._config)
        before: Image | None = None
        due, period = 0.0, 1.0 / self._config.fps
        while capture.grab() and not self._closed.is_set():
            stamp, now = time.time_ns(), time.monotonic()
            if is_device(self._config.source):
                stamp -= _capture_age(capture, now)
            if now < due - EARLY * period:
                continue
            ok, image = capture.retrieve()
            if not ok:
                break
            due = max(due, now - EARLY * period) + period
            rgb = fit(image, self._config)
            changed = before is None or not np.array_equal(rgb, before)
            before = rgb
            with self._news:
                self._read = now
                self._changed = now if changed else self._changed
                self._warning, self._fault = warning, ""
                self._arrivals.append(now)
                if now - self._changed <= self._config.frozen_after:
                    self._frame = Frame(rgb, stamp)
                    self._news.notify_all()
            self._closed.wait(pace.wait())
        if not pace.is_file and not self._closed.is_set():
            self._fail(f"{self._config.source} ended; it is opened again")
        return before is not None


class _Pace:
    """A file would be read at once: it is shown at the rate it was recorded with."""

    def __init__(self, capture: Capture, config: CameraConfig) -> None:
        self.is_file = "://" not in config.source and not is_device(config.source)
        self._period = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or config.fps) if self.is_file else 0.0
        self._due = time.monotonic()

    def wait(self) -> float:
        """s until the next frame is due."""
        self._due = max(self._due + self._period, time.monotonic() - self._period)
        return max(0.0, self._due - time.monotonic()) if self.is_file else 0.0


def _capture_age(capture: Capture, now: float) -> int:
    """ns since the device's driver captured the frame, where it tells (V4L2: monotonic clock)."""
    age = now - capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return int(age * 1e9) if 0.0 <= age < MAX_CAPTURE_AGE else 0


@dataclass(frozen=True)
class Calibration:
    """The fields of sensor_msgs/CameraInfo; k[0] = 0 means that nothing is known."""

    width: int
    height: int
    distortion_model: str
    d: list[float]
    k: list[float]
    r: list[float]
    p: list[float]


def calibration(config: CameraConfig, width: int, height: int) -> Calibration:
    """Of published images of width x height: from the file, else an ideal pinhole, else unknown.

    Raises:
        CameraError: if the file cannot be read or belongs to images of another size.
    """
    x, y, wide, _ = config.crop
    full = (config.width, config.height) if config.width else (width, height)
    if config.calibration_file:
        found = load_calibration(config.calibration_file)
        if (found.width, found.height) != full and not (wide and not config.width):
            raise CameraError(
                f"{config.calibration_file} is of {found.width}x{found.height} images, but "
                f"{config.source} sends {full[0]}x{full[1]}"
            )
    else:
        found = pinhole(config.field_of_view, *full)
    k, p = list(found.k), list(found.p)
    # The crop moves the principal point.
    if k[0] and wide and (config.calibration_file or config.width):
        k[2], k[5], p[2], p[6] = k[2] - x, k[5] - y, p[2] - x, p[6] - y
    return Calibration(width, height, found.distortion_model, found.d, k, found.r, p)


def pinhole(field_of_view: float, width: int, height: int) -> Calibration:
    """Square pixels, principal point in the middle, no distortion; 0 degrees: nothing known."""
    identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    if not field_of_view:
        return Calibration(width, height, "plumb_bob", [0.0] * 5, [0.0] * 9, identity, [0.0] * 12)
    focal = height / 2 / tan(radians(field_of_view) / 2)
    x, y = (width - 1) / 2, (height - 1) / 2  # pixel centres have whole numbers
    k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
    p = [focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return Calibration(width, height, "plumb_bob", [0.0] * 5, k, identity, p)


def load_calibration(path: str) -> Calibration:
    """The file of camera_calibration (camera_info_manager's YAML).

    Raises:
        CameraError: if it cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
        return Calibration(
            int(content["image_width"]),
            int(content["image_height"]),
            str(content["distortion_model"]),
            [float(value) for value in content["distortion_coefficients"]["data"]],
            _matrix(content, "camera_matrix", 9),
            _matrix(content, "rectification_matrix", 9),
            _matrix(content, "projection_matrix", 12),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CameraError(
            f"{path} is no calibration as camera_calibration writes it: {error}"
        ) from error


def _matrix(content: Any, name: str, size: int) -> list[float]:
    values = [float(value) for value in content[name]["data"]]
    if len(values) != size:
        raise ValueError(f"{name} has {len(values)} numbers instead of {size}")
    return values
