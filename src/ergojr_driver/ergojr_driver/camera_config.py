"""The configuration of one camera."""

from __future__ import annotations

from dataclasses import dataclass, field

from planet_core.config import Config, setting


class CameraError(Exception):
    """A source cannot be opened or does not do as configured; one sentence."""


@dataclass(frozen=True)
class CameraConfig(Config):
    """Where a camera's pictures come from, and how they become the published images."""

    source: str = field(
        metadata={
            "doc": "The V4L2 index or path, the video file (which is repeated without end) or the "
            "HTTP stream that the pictures come from."
        }
    )
    width: int = setting(
        0,
        "Image width in pixels requested from the device, to which every picture is brought; 0 "
        "keeps the device's own.",
        low=0,
    )
    height: int = setting(
        0,
        "Image height in pixels requested from the device, to which every picture is brought; 0 "
        "keeps the device's own.",
        low=0,
    )
    fps: float = setting(
        30.0,
        "Images per second requested from the device; no more than these are published.",
        low=1.0,
    )
    crop: tuple[int, ...] = setting(
        (0, 0, 0, 0),
        "The part of the image that is kept, after it was brought to width and height, as x, y, "
        "width and height in pixels; a width of 0 keeps everything.",
    )
    exposure: float = setting(
        -1.0,
        "The fixed exposure time in the device's unit (V4L2: 100 us); -1 leaves the device's "
        "setting as it is.",
    )
    white_balance: float = setting(
        -1.0,
        "The fixed colour temperature in kelvin; -1 leaves the device's setting as it is.",
    )
    calibration_file: str = setting(
        "",
        "The path of the YAML file that camera_calibration wrote for this camera; empty stands for "
        "no calibration.",
    )
    field_of_view: float = setting(
        0.0,
        "The device's vertical field of view in degrees, which camera_info shows as an ideal "
        "pinhole where there is no calibration_file; 0 stands for unknown.",
        low=0.0,
        high=179.0,
    )
    frozen_after: float = setting(
        0.8,
        "The seconds without a picture, or without a changed pixel, after which the camera counts "
        "as silent or frozen.",
        low=0.1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.crop) != 4 or min(self.crop) < 0:
            raise ValueError(
                f"crop is {list(self.crop)}, but must be x, y, width and height in pixels."
            )
        if (self.width == 0) != (self.height == 0):
            raise ValueError("width and height must be set both or neither.")
