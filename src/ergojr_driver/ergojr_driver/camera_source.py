"""Opens the source of a camera's pictures with OpenCV: V4L2 device, video file or HTTP stream."""

from __future__ import annotations

import os
from typing import Any, Protocol

import cv2

from ergojr_driver.camera_config import CameraConfig, CameraError

# FFmpeg's own output would hide the one sentence of the diagnostics.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.setLogLevel(0)

MJPEG = cv2.VideoWriter.fourcc(*"MJPG")
OPEN_TIMEOUT = 3000  # ms for an HTTP stream to open
READ_TIMEOUT = 1000  # ms for the next data of an HTTP stream
MAX_CAPTURE_AGE = 1.0  # s; a driver that reports more does not use the monotonic clock


class Capture(Protocol):
    """The part of cv2.VideoCapture that this package uses."""

    def grab(self) -> bool:
        """Wait for the next frame, and return whether there is one."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the frame, and return whether it could be and its BGR image."""

    def get(self, prop: int) -> float:
        """Return the value of a property."""

    def release(self) -> None:
        """Close the source."""


class Jpegs:
    """A stream of JPEGs, each of which is decoded by itself and only on demand.

    FFmpeg, in contrast, would fill missing parts of a picture with parts of an earlier one.
    """

    def __init__(self, stream: Capture) -> None:
        self._stream = stream
        self.grab, self.get, self.release = stream.grab, stream.get, stream.release

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the newest JPEG; a JPEG that is cut off cannot be decoded."""
        ok, data = self._stream.retrieve()
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if ok and data.size else None
        return image is not None, image


def open_source(config: CameraConfig) -> Capture:
    """Open a camera's source as configured.

    Raises:
        CameraError: if the source cannot be opened.
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
    jpegs = "://" in source and int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPEG
    raw = jpegs and capture.set(cv2.CAP_PROP_FORMAT, -1.0)
    return Jpegs(opened) if raw else opened


def is_device(source: str) -> bool:
    """Return whether a source is the index or path of a V4L2 device."""
    return source.isdigit() or source.startswith("/dev/")


def _device_settings(config: CameraConfig) -> list[tuple[int, float]]:
    settings = [
        (cv2.CAP_PROP_FOURCC, float(MJPEG)),  # raw pictures of 640x480 would fill a USB bus
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
    """Return a sentence on the fixed settings that the device did not take, or an empty text."""
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


def capture_age(capture: Capture, now: float) -> int:
    """Return the ns since the capture of the frame if the device's driver reports it, else 0."""
    age = now - capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return int(age * 1e9) if 0.0 <= age < MAX_CAPTURE_AGE else 0
