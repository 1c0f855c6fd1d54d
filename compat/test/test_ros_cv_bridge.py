"""Images to messages and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from numpy.testing import assert_array_equal
from sensor_msgs.msg import Image
from std_msgs.msg import Header

BRIDGE = CvBridge()


def image(shape: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "encoding"),
    [
        ((4, 5, 3), np.uint8, "8UC3"),
        ((4, 5), np.uint8, "8UC1"),
        ((4, 5), np.uint16, "16UC1"),
        ((4, 5, 2), np.float32, "32FC2"),
    ],
)
def test_an_image_survives_the_round_trip(shape: Any, dtype: Any, encoding: str) -> None:
    array = image(shape, dtype)
    message = BRIDGE.cv2_to_imgmsg(array)
    assert message.encoding == encoding
    assert (message.height, message.width) == shape[:2]
    assert message.step == array.strides[0]
    back = BRIDGE.imgmsg_to_cv2(message)
    assert back.dtype == dtype
    assert_array_equal(back, array)


def test_colours_are_converted() -> None:
    array = image((4, 5, 3))
    message = BRIDGE.cv2_to_imgmsg(array, "rgb8")
    assert_array_equal(BRIDGE.imgmsg_to_cv2(message, "rgb8"), array)
    assert_array_equal(BRIDGE.imgmsg_to_cv2(message, "bgr8"), array[..., ::-1])
    grey = BRIDGE.imgmsg_to_cv2(message, "mono8")
    assert_array_equal(np.abs(grey - array @ [0.299, 0.587, 0.114]) <= 0.51, True)


def test_padded_rows_and_big_endian_data_are_read() -> None:
    array = image((2, 3), np.uint16)
    rows = [row.astype(">u2").tobytes() + b"pad!" for row in array]
    message = Image(height=2, width=3, encoding="mono16", is_bigendian=1, step=10)
    message.data = b"".join(rows)
    assert_array_equal(BRIDGE.imgmsg_to_cv2(message), array)


def test_the_header_is_kept() -> None:
    header = Header(frame_id="camera")
    assert BRIDGE.cv2_to_imgmsg(image((2, 2)), "mono8", header).header.frame_id == "camera"


def test_a_wrong_encoding_is_refused() -> None:
    with pytest.raises(CvBridgeError, match="rgb8, but image has incompatible type 8UC1"):
        BRIDGE.cv2_to_imgmsg(image((4, 5)), "rgb8")
    with pytest.raises(CvBridgeError, match=r"\[rgb9\]"):
        BRIDGE.imgmsg_to_cv2(Image(encoding="rgb9"))


def test_too_few_bytes_are_refused() -> None:
    message = BRIDGE.cv2_to_imgmsg(image((4, 5, 3)), "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(CvBridgeError, match="59 bytes with step 15 are no 5x4 image"):
        BRIDGE.imgmsg_to_cv2(message)


def test_a_compressed_image_survives_the_round_trip() -> None:
    array = image((8, 8, 3))
    message = BRIDGE.cv2_to_compressed_imgmsg(array, "png")
    assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(message), array)
    assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(message, "rgb8"), array[..., ::-1])
    message.data = b"no image"
    with pytest.raises(CvBridgeError, match="8 bytes are no image in 'png'"):
        BRIDGE.compressed_imgmsg_to_cv2(message)
