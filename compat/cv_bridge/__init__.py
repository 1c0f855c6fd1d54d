"""ROS images as NumPy arrays, as OpenCV has them: the part of `cv_bridge` in use."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["CvBridge", "CvBridgeError"]

# How OpenCV calls the order of the channels, and how many there are, one byte each.
COLOURS = {
    "rgb8": ("RGB", 3),
    "bgr8": ("BGR", 3),
    "rgba8": ("RGBA", 4),
    "bgra8": ("BGRA", 4),
    "mono8": ("GRAY", 1),
}


class CvBridgeError(TypeError):
    """An image cannot be converted."""


def _colour(encoding: str) -> tuple[str, int]:
    if encoding not in COLOURS:
        raise CvBridgeError(f"Unrecognized image encoding [{encoding}]")
    return COLOURS[encoding]


class CvBridge:
    """Converts sensor_msgs images."""

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str) -> npt.NDArray[np.uint8]:
        """Return the image of a message, uint8 [height, width(, channel)].

        :raises CvBridgeError: an encoding is not one of 8-bit colours, or the data do not fit.
        """
        (source, channels), (target, _) = _colour(img_msg.encoding), _colour(desired_encoding)
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        used = width * channels
        if step < used or len(img_msg.data) < step * height:
            raise CvBridgeError(
                f"{len(img_msg.data)} bytes with step {step} are no {width}x{height} image in "
                f"[{img_msg.encoding}]"
            )
        rows = np.frombuffer(img_msg.data, np.uint8, count=step * height).reshape(height, step)
        shape = (height, width) if channels == 1 else (height, width, channels)
        image = np.ascontiguousarray(rows[:, :used]).reshape(shape)
        if source == target:
            return image
        code = getattr(cv2, f"COLOR_{source}2{target}")
        return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)
