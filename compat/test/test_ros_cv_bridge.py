"""Images of messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from numpy.testing import assert_array_equal
from sensor_msgs.msg import Image

BRIDGE = CvBridge()
PIXELS = np.random.default_rng(0).integers(0, 200, (4, 5, 3), dtype=np.uint8)


def message(array: Any, encoding: str, padding: int = 0) -> Image:
    """An image message whose rows are padded by so many bytes."""
    rows = array.reshape(array.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    height, width = array.shape[:2]
    return Image(
        height=height, width=width, encoding=encoding, step=rows.shape[1], data=rows.tobytes()
    )


@pytest.mark.parametrize("padding", [0, 7])
def test_colours_are_converted(padding: int) -> None:
    rgb = message(PIXELS, "rgb8", padding)
    assert_array_equal(BRIDGE.imgmsg_to_cv2(rgb, "rgb8"), PIXELS)
    assert_array_equal(BRIDGE.imgmsg_to_cv2(rgb, "bgr8"), PIXELS[..., ::-1])
    grey = BRIDGE.imgmsg_to_cv2(rgb, "mono8")
    assert_array_equal(np.abs(grey - PIXELS @ [0.299, 0.587, 0.114]) <= 0.51, True)
    back = BRIDGE.imgmsg_to_cv2(message(grey, "mono8", padding), "rgb8")
    assert_array_equal(back, np.repeat(grey[..., None], 3, axis=-1))


def test_an_unknown_encoding_is_refused() -> None:
    for image, desired in (("rgb9", "rgb8"), ("rgb8", "rgb9")):
        with pytest.raises(CvBridgeError, match=r"\[rgb9\]"):
            BRIDGE.imgmsg_to_cv2(message(PIXELS, image), desired)


def test_too_few_bytes_are_refused() -> None:
    short = message(PIXELS, "rgb8")
    short.data = short.data[:-1]
    with pytest.raises(CvBridgeError, match="59 bytes with step 15 are no 5x4 image"):
        BRIDGE.imgmsg_to_cv2(short, "rgb8")
