"""One camera's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field


class CameraError(Exception):
    """A source cannot be opened or does not do as configured; one sentence."""


@dataclass(frozen=True)
class CameraConfig:
    """One camera."""

    source: str = field(
        metadata={
            "doc": "The V4L2 index or path, the video file (which is repeated without end) or the "
            "HTTP stream that the pictures come from."
        }
    )
    width: int = field(
        default=0,
        metadata={
            "doc": "Image width in pixels requested from the device, to which every picture is "
            "brought; 0 keeps the device's own.",
            "low": 0,
        },
    )
    height: int = field(
        default=0,
        metadata={
            "doc": "Image height in pixels requested from the device, to which every picture is "
            "brought; 0 keeps the device's own.",
            "low": 0,
        },
    )
    fps: float = field(
        default=30.0,
        metadata={
            "doc": "Images per second requested from the device; no more than these are published.",
            "low": 1.0,
        },
    )
    crop: tuple[int, ...] = field(
        default=(0, 0, 0, 0),
        metadata={
            "doc": "The part of the image that is kept, after it was brought to width and height, "
            "as x, y, width and height in pixels; a width of 0 keeps everything."
        },
    )
    exposure: float = field(
        default=-1.0,
        metadata={
            "doc": "The fixed exposure time in the device's unit (V4L2: 100 us); -1 leaves the "
            "device's setting as it is."
        },
    )
    white_balance: float = field(
        default=-1.0,
        metadata={
            "doc": "The fixed colour temperature in kelvin; -1 leaves the device's setting as it "
            "is."
        },
    )
    calibration_file: str = field(
        default="",
        metadata={
            "doc": "The path of the YAML file that camera_calibration wrote for this camera; empty "
            "stands for no calibration."
        },
    )
    field_of_view: float = field(
        default=0.0,
        metadata={
            "doc": "The device's vertical field of view in degrees, which camera_info shows as an "
            "ideal pinhole where there is no calibration_file; 0 stands for unknown.",
            "low": 0.0,
            "high": 179.0,
        },
    )
    frozen_after: float = field(
        default=0.8,
        metadata={
            "doc": "The seconds without a picture, or without a changed pixel, after which the "
            "camera counts as silent or frozen.",
            "low": 0.1,
        },
    )

    def __post_init__(self) -> None:
        if len(self.crop) != 4 or min(self.crop) < 0:
            raise ValueError(
                f"crop is {list(self.crop)}, but must be x, y, width and height in pixels."
            )
        if (self.width == 0) != (self.height == 0):
            raise ValueError("width and height must be set both or neither.")
