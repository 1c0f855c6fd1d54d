"""Reads a camera and keeps its newest picture.

A thread reads as fast as the source sends, so that no buffer on the way delays pictures. It keeps
the newest frame only. When the source is gone, the thread opens it again, at growing intervals.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ergojr_driver.camera_config import CameraConfig, CameraError
from ergojr_driver.camera_picture import Image, fit, is_damaged, same_aspect
from ergojr_driver.camera_source import (
    READ_TIMEOUT,
    Capture,
    capture_age,
    is_device,
    open_source,
    refused,
)

FIRST_RETRY, LAST_RETRY = 0.25, 2.0  # s between two attempts to open a source; doubled each time
EARLY = 0.25  # share of the period by which a frame may come too early without being dropped
SETTLED = 10  # frames after which the rate is known
LATELY = 60  # frames over which the rate is measured
SLOW = 0.75  # share of the requested rate below which a warning is given
RECENT = 10.0  # s for which a warning on a damaged picture is given
GLANCE = 8  # every so many rows, one is compared first


@dataclass(frozen=True)
class Frame:
    """A published image.

    Attributes:
        image: uint8 [height, width, 3] RGB.
        stamp: the time of capture in ns since the epoch.
        sent: width and height in pixels of the device's picture that the image was made from.
    """

    image: Image
    stamp: int
    sent: tuple[int, int]


class Grabber:
    """Reads one camera in a thread of its own. It is thread-safe.

    Times are those of the steady clock, stamps those of the system's clock.

    Args:
        config: the camera's configuration.
        opener: opens the camera's source.
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
        self._refused = ""
        self._sent: tuple[int, int] | None = None
        self._read = self._changed = time.monotonic()
        self._arrivals: deque[float] = deque(maxlen=LATELY)
        self._damaged, self._damaged_at = 0, 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grabber", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a read that hangs in the device's driver is not waited for."""
        self._closed.set()
        with self._news:
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=READ_TIMEOUT / 1000 + 0.5)

    def next(self, timeout: float) -> Frame | None:
        """Take the newest frame that was not taken yet.

        Args:
            timeout: s to wait for a frame.

        Returns:
            None if no frame comes in time, or if the picture is frozen.

        Raises:
            Exception: the fault that ended the reading for good, if it is not the source's.
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
        """Return one sentence on why there are no pictures now, or an empty text."""
        now, source = time.monotonic(), self._config.source
        with self._news:
            if self._fault:
                return self._fault
            if (silent := now - self._read) > self._config.frozen_after:
                if self._damaged and self._damaged_at > self._read:
                    return f"{source} has sent only damaged pictures for {silent:.1f} s"
                return f"{source} has sent no picture for {silent:.1f} s"
            if (same := now - self._changed) > self._config.frozen_after:
                return f"{source} is frozen: the same pixels for {same:.1f} s"
            return ""

    def warnings(self) -> list[str]:
        """Return one sentence for each thing that the device does not do as configured."""
        config, rate, now = self._config, self.rate(), time.monotonic()
        with self._news:
            found = [self._refused] if self._refused else []
            if self._sent is not None and config.width:
                found += _misfit(config, self._sent)
            if len(self._arrivals) == LATELY and rate < SLOW * config.fps:
                found.append(
                    f"{config.source} sends {rate:.0f} images a second instead of {config.fps:g}: "
                    "more light or a fixed exposure may help"
                )
            if self._damaged and now - self._damaged_at < RECENT:
                found.append(
                    f"{config.source} has sent {self._damaged} damaged pictures so far, which were "
                    "dropped: see to its cable or network"
                )
        return found

    def damaged(self) -> int:
        """Return the number of pictures that were dropped because a part of them was missing."""
        with self._news:
            return self._damaged

    def rate(self) -> float:
        """Return the recent number of frames per second; 0 if too few have come to tell."""
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
        """Read until the source ends, and return whether there was any frame."""
        with self._news:
            self._refused = refused(capture, self._config)
        pace = _Pace(capture, self._config)
        before: Image | None = None
        due, period = 0.0, 1.0 / self._config.fps
        while capture.grab() and not self._closed.is_set():
            stamp, now = time.time_ns(), time.monotonic()
            if is_device(self._config.source):
                stamp -= capture_age(capture, now)
            if now < due - EARLY * period:
                continue
            ok, image = capture.retrieve()
            due = max(due, now - EARLY * period) + period
            if not ok or is_damaged(image):
                self._drop(now)
            else:
                rgb = fit(image, self._config)
                changed = before is None or _differ(rgb, before)
                before = rgb
                self._keep(Frame(rgb, stamp, (image.shape[1], image.shape[0])), now, changed)
            self._closed.wait(pace.wait())
        if not pace.is_file and not self._closed.is_set():
            self._fail(f"{self._config.source} ended; it is opened again")
        return before is not None

    def _keep(self, frame: Frame, now: float, changed: bool) -> None:
        with self._news:
            self._read = now
            self._changed = now if changed else self._changed
            self._fault, self._sent = "", frame.sent
            self._arrivals.append(now)
            if now - self._changed <= self._config.frozen_after:
                self._frame = frame
                self._news.notify_all()

    def _drop(self, now: float) -> None:
        with self._news:
            self._damaged, self._damaged_at, self._fault = self._damaged + 1, now, ""


def _misfit(config: CameraConfig, sent: tuple[int, int]) -> list[str]:
    """Return a sentence on what is wrong with the size of the pictures, or nothing."""
    asked = config.width, config.height
    text = f"{config.source} sends {sent[0]}x{sent[1]} pictures instead of {asked[0]}x{asked[1]}"
    if not same_aspect(sent, asked):
        return [f"{text}: they are cut to that aspect, and the edges are lost"]
    # The size of a stream or file cannot be requested, so the user wants its pictures scaled.
    return [f"{text}: they are scaled"] if sent != asked and is_device(config.source) else []


def _differ(one: Image, other: Image) -> bool:
    """Return whether any pixel differs; in most pictures a few rows are enough to tell."""
    if one.shape != other.shape or not np.array_equal(one[::GLANCE], other[::GLANCE]):
        return True
    return not np.array_equal(one, other)


class _Pace:
    """Plays files at the rate that they were recorded with, instead of all at once."""

    def __init__(self, capture: Capture, config: CameraConfig) -> None:
        self.is_file = "://" not in config.source and not is_device(config.source)
        self._period = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or config.fps) if self.is_file else 0.0
        self._due = time.monotonic()

    def wait(self) -> float:
        """Return the s until the next frame is due."""
        self._due = max(self._due + self._period, time.monotonic() - self._period)
        return max(0.0, self._due - time.monotonic()) if self.is_file else 0.0
