"""ROS images to NumPy arrays, as OpenCV has them, and back: the part of `cv_bridge` in use."""

from __future__ import annotations

import array
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CvBridge", "CvBridgeError"]

Array = npt.NDArray[Any]

# Encodings with a meaning: how their channels are stored.
COLOURS = {
    "rgb8": "8UC3",
    "bgr8": "8UC3",
    "rgba8": "8UC4",
    "bgra8": "8UC4",
    "mono8": "8UC1",
    "mono16": "16UC1",
}
DEPTHS = {
    "8U": "uint8",
    "8S": "int8",
    "16U": "uint16",
    "16S": "int16",
    "32S": "int32",
    "32F": "float32",
    "64F": "float64",
}
NAMES = {dtype: depth for depth, dtype in DEPTHS.items()}


class CvBridgeError(TypeError):
    """An image cannot be converted."""


def _stored_as(encoding: str) -> tuple[np.dtype[Any], int]:
    """Return the type and the number of the channels of an encoding."""
    match = re.fullmatch(r"(\d+[USF])C([1-4])", COLOURS.get(encoding, encoding))
    if match is None or match[1] not in DEPTHS:
        raise CvBridgeError(f"Unrecognized image encoding [{encoding}]")
    return np.dtype(DEPTHS[match[1]]), int(match[2])


def _cv_type(image: Array) -> str:
    if image.dtype.name not in NAMES or image.ndim not in (2, 3):
        raise CvBridgeError(f"no image encoding for {image.dtype} of shape {image.shape}")
    return f"{NAMES[image.dtype.name]}C{1 if image.ndim == 2 else image.shape[2]}"


def _convert(image: Array, source: str, target: str) -> Array:
    """Return an image of one 8-bit colour encoding in another."""
    if source == target or (target not in COLOURS and target == COLOURS.get(source)):
        return image
    orders = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "mono8": "GRAY"}
    if source not in orders or target not in orders:
        raise CvBridgeError(f"[{source}] cannot be converted to [{target}]")
    import cv2

    code = getattr(cv2, f"COLOR_{orders[source]}2{orders[target]}")
    return np.asarray(cv2.cvtColor(image, code))


class CvBridge:
    """Converts between sensor_msgs images and arrays [height, width(, channel)]."""

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str = "passthrough") -> Array:
        """Return the image of a message; with the same encoding, it may share its memory.

        :raises CvBridgeError: the encoding is not known, the data do not fit, or there is no
            conversion to the desired encoding.
        """
        dtype, channels = _stored_as(img_msg.encoding)
        dtype = dtype.newbyteorder(">" if img_msg.is_bigendian else "<")
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        used = width * channels * dtype.itemsize
        if step < used or len(img_msg.data) < step * height:
            raise CvBridgeError(
                f"{len(img_msg.data)} bytes with step {step} are no {width}x{height} image in "
                f"[{img_msg.encoding}]"
            )
        rows = np.frombuffer(img_msg.data, np.uint8, count=step * height).reshape(height, step)
        shape = (height, width) if channels == 1 else (height, width, channels)
        image = np.ascontiguousarray(rows[:, :used]).view(dtype).reshape(shape)
        if dtype.byteorder == (">" if sys.byteorder == "little" else "<"):
            image = image.astype(dtype.newbyteorder("="))
        if desired_encoding == "passthrough":
            return image
        return _convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: Array, encoding: str = "passthrough", header: Any = None) -> Any:
        """Return a sensor_msgs/Image of an image whose encoding is `encoding`.

        :raises CvBridgeError: the array is not one of this encoding.
        """
        from sensor_msgs.msg import Image

        if not isinstance(cvim, np.ndarray):
            raise TypeError("Your input type is not a numpy array")
        cv_type = _cv_type(cvim)
        if encoding != "passthrough" and COLOURS.get(encoding, encoding) != cv_type:
            raise CvBridgeError(
                f"encoding specified as {encoding}, but image has incompatible type {cv_type}"
            )
        message = Image()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = cv_type if encoding == "passthrough" else encoding
        message.is_bigendian = int(cvim.dtype.byteorder == ">")
        message.step = cvim.nbytes // max(1, message.height)
        # An array('B') is taken over as a whole; a list would be checked byte by byte.
        message.data = array.array("B", cvim.tobytes())
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: Any, desired_encoding: str = "passthrough"
    ) -> Array:
        """Return the image of a sensor_msgs/CompressedImage, in BGR if it has colours.

        :raises CvBridgeError: it cannot be decoded or converted.
        """
        import cv2

        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise CvBridgeError(f"{data.size} bytes are no image in '{cmprs_img_msg.format}'")
        if desired_encoding == "passthrough":
            return np.asarray(image)
        source = {2: "mono8", 3: "bgr8"}[image.ndim] if image.shape[-1] != 4 else "bgra8"
        return _convert(np.asarray(image), source, desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: Array, dst_format: str = "jpg") -> Any:
        """Return a sensor_msgs/CompressedImage of a BGR or grey image.

        :raises CvBridgeError: it cannot be encoded in this format.
        """
        import cv2
        from sensor_msgs.msg import CompressedImage

        if not isinstance(cvim, np.ndarray):
            raise TypeError("Your input type is not a numpy array")
        try:
            data = cv2.imencode(f".{dst_format}", cvim)[1]
        except cv2.error as error:
            raise CvBridgeError(f"cannot encode as '{dst_format}': {error}") from error
        message = CompressedImage(format=dst_format)
        message.data = array.array("B", data.tobytes())
        return message
