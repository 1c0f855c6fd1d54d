"""RGB images as NumPy arrays, and back."""

from __future__ import annotations

import array
from functools import lru_cache
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from planet_node.main import StartupError


@lru_cache(maxsize=1)
def _bridge() -> Any:
    # Late: a cv_bridge compiled against another NumPy than the one installed fails at import, and
    # only nodes that handle images should suffer from it.
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError) as error:
        raise StartupError(
            f"cv_bridge cannot be imported ({error}): with NumPy {np.__version__}, "
            "install the NumPy that your ROS 2 was built for."
        ) from error
    return CvBridge()


def to_array(message: Image) -> NDArray[np.uint8]:
    """Return the image as RGB, uint8 [height, width, 3]; it may share the message's memory.

    Raises:
        ValueError: the encoding is not a colour or grey one, or the data does not fit the size.
    """
    expected = message.height * message.step
    if not message.height or not message.width or len(message.data) != expected:
        raise ValueError(
            f"an image of {message.width}x{message.height} in {message.encoding} carries "
            f"{len(message.data)} bytes where {expected} were expected"
        )
    if message.encoding == "rgb8" and message.step == 3 * message.width:  # no copy
        data = np.frombuffer(message.data, dtype=np.uint8)
        return data.reshape(message.height, message.width, 3)
    try:
        image = _bridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except (RuntimeError, TypeError) as error:  # CvBridgeError is a TypeError
        raise ValueError(f"an image in {message.encoding} cannot become rgb8: {error}") from error
    return np.asarray(image, dtype=np.uint8)


def to_message(image: NDArray[np.uint8], stamp: Time, frame_id: str) -> Image:
    """Return an rgb8 message of `image`, uint8 [height, width, 3], RGB."""
    height, width, channels = image.shape
    if channels != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image is {image.dtype} {image.shape}, but must be uint8 RGB")
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    data = array.array("B")  # taken over as it is: the one copy
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    message.data = data
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message
