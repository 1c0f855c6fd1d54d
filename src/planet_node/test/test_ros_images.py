"""Images survive the way over a message; a broken one is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from planet_node.images import to_array, to_message
from planet_node.stamps import from_ns, to_ns


def test_an_image_comes_back_as_it_went() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    message = to_message(image, Time(sec=3), "camera_front_optical_frame")
    assert (message.encoding, message.header.stamp.sec) == ("rgb8", 3)
    np.testing.assert_array_equal(to_array(message), image)


def test_bgr_becomes_rgb() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[..., 0] = 255
    message = to_message(image, Time(), "")
    message.encoding = "bgr8"
    np.testing.assert_array_equal(to_array(message)[0, 0], [0, 0, 255])


def test_missing_bytes_are_refused() -> None:
    message = to_message(np.zeros((4, 4, 3), dtype=np.uint8), Time(), "")
    message.data = message.data[:-1]
    with pytest.raises(ValueError, match="4x4 in rgb8 carries 47 bytes where 48 were expected"):
        to_array(message)


def test_an_unknown_encoding_is_refused() -> None:
    message = to_message(np.zeros((4, 4, 3), dtype=np.uint8), Time(), "")
    message.encoding = "nonsense"
    with pytest.raises(ValueError, match="nonsense"):
        to_array(message)


def test_stamps_keep_their_nanoseconds() -> None:
    nanoseconds = 1_700_000_000_123_456_789
    assert to_ns(from_ns(nanoseconds)) == nanoseconds
