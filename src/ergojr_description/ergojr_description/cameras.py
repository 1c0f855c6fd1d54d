"""Pinhole cameras: where the arm's cameras stand, and what their images show of a point.

Pixel coordinates are those of sensor_msgs/CameraInfo: (x, y) from the upper left, and the centre of
the first pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians, tan

import numpy as np


@dataclass(frozen=True)
class Intrinsics:
    """A camera's images as the fields of sensor_msgs/CameraInfo; k[0] = 0 stands for unknown.

    Attributes:
        width: width of the images in pixels.
        height: height of the images in pixels.
        distortion_model: the name of the model that `d` belongs to.
        d: the parameters of the distortion.
        k: [9] the camera matrix, row by row.
        r: [9] the rectification matrix, row by row.
        p: [12] the projection matrix, row by row.
    """

    width: int
    height: int
    distortion_model: str
    d: list[float]
    k: list[float]
    r: list[float]
    p: list[float]


def pinhole(field_of_view: float, width: int, height: int) -> Intrinsics:
    """An ideal camera: square pixels, its principal point in the middle, and no distortion.

    Args:
        field_of_view: the vertical one in degrees; 0 stands for unknown.
        width: width of the images in pixels.
        height: height of the images in pixels.
    """
    identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    k, p = [0.0] * 9, [0.0] * 12
    if field_of_view:
        focal = height / 2 / tan(radians(field_of_view) / 2)
        x, y = (width - 1) / 2, (height - 1) / 2
        k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
        p = [focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return Intrinsics(width, height, "plumb_bob", [0.0] * 5, k, identity, p)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that stands upright in the arm's base frame.

    Attributes:
        eye: [3] m, its position.
        target: [3] m, the point in the middle of its image; it must not be above or below `eye`.
        field_of_view: the vertical one in degrees.
    """

    eye: tuple[float, ...]
    target: tuple[float, ...]
    field_of_view: float = 60.0

    def project(
        self, point: Sequence[float], width: int, height: int
    ) -> tuple[float, float] | None:
        """The pixel of an image of width x height that shows `point` [3] m.

        Returns:
            (x, y) in pixels, or None for a point behind the camera.
        """
        ahead = np.subtract(self.target, self.eye)
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        offset = np.subtract(point, self.eye)
        depth = float(offset @ ahead)
        if depth <= 0.0:
            return None
        focal, _, x, _, _, y, *_ = pinhole(self.field_of_view, width, height).k
        along = float(offset @ np.cross(right, ahead))
        return x + focal * float(offset @ right) / depth, y - focal * along / depth


CAMERAS: dict[str, Camera] = {
    "camera_front": Camera(eye=(0.0, 0.45, 0.15), target=(0.0, 0.0, 0.05)),
    "camera_side": Camera(eye=(-0.30, 0.15, 0.15), target=(0.0, 0.15, 0.05)),
}
"""Where the simulated cameras stand, and where those of the lab should."""
