"""The ideal camera: square pixels, the principal point in the middle, no distortion.

Pixel centres have whole numbers, so an image's edge is at -1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians, tan

import numpy as np


@dataclass(frozen=True)
class Pinhole:
    """An ideal camera of images of `width` x `height` pixels."""

    width: int
    height: int
    field_of_view: float
    """Vertical, in degrees."""

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.height / 2 / tan(radians(self.field_of_view) / 2)

    @property
    def centre(self) -> tuple[float, float]:
        """The principal point in pixels, x and y."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @property
    def k(self) -> list[float]:
        """Return the intrinsic matrix, row by row, as sensor_msgs/CameraInfo has it."""
        f, (x, y) = self.focal, self.centre
        return [f, 0.0, x, 0.0, f, y, 0.0, 0.0, 1.0]

    @property
    def p(self) -> list[float]:
        """Return the projection matrix, row by row, as sensor_msgs/CameraInfo has it."""
        f, (x, y) = self.focal, self.centre
        return [f, 0.0, x, 0.0, 0.0, f, y, 0.0, 0.0, 0.0, 1.0, 0.0]

    def project(
        self, point: Sequence[float], eye: Sequence[float], target: Sequence[float]
    ) -> tuple[float, float] | None:
        """Return the pixel of `point`, seen from `eye` towards `target`; None behind the camera.

        All three are [3] m in one frame whose z is up; `eye` and `target` are not one above the
        other.
        """
        ahead = np.subtract(target, eye)
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        offset = np.subtract(point, eye)
        depth = float(offset @ ahead)
        if depth <= 0.0:
            return None
        x, y = self.centre
        return (
            x + self.focal * float(offset @ right) / depth,
            y - self.focal * float(offset @ np.cross(right, ahead)) / depth,
        )
