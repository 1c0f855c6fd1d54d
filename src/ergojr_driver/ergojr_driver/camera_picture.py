"""Makes the published image out of a device's picture, and tells whether the picture is whole."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ergojr_driver.camera_config import CameraConfig, CameraError

Image = NDArray[np.uint8]

# Share of the rows that a decoder has made up in a damaged picture: one row of a JPEG's blocks.
DAMAGED = 1 / 32
COLUMNS = 4  # number of columns that are compared first
GREEN = (60, 170)  # range of green, beside no red and blue, that YUV's zero is decoded to
GREY = (126, 132)  # range of grey that the middle of YUV is decoded to
SAME_ASPECT = 0.02  # share of the width by which sizes may differ because of rounding


@dataclass(frozen=True)
class Cut:
    """The part of a device's picture that is published; all values are in pixels.

    Attributes:
        x: left edge of the part of the device's picture that is kept.
        y: upper edge of that part.
        width: width of that part.
        height: height of that part.
        wide: width that the part is scaled to.
        high: height that the part is scaled to.
        crop: x, y, width and height of what is published of the scaled part, often all of it.
    """

    x: int
    y: int
    width: int
    height: int
    wide: int
    high: int
    crop: tuple[int, int, int, int]


def cut(config: CameraConfig, width: int, height: int) -> Cut:
    """Compute how a device's pictures of width x height pixels are cut.

    Pictures of another aspect ratio are cut, never squeezed.

    Raises:
        CameraError: if the crop lies outside of the image.
    """
    wide, high = config.width or width, config.height or height
    kept_width, kept_height = width, height
    if not same_aspect((width, height), (wide, high)):
        kept_width = min(width, round(height * wide / high))
        kept_height = min(height, round(width * high / wide))
    x, y, crop_width, crop_height = config.crop
    if not crop_width:
        x, y, crop_width, crop_height = 0, 0, wide, high
    if x + crop_width > wide or y + crop_height > high or not crop_height:
        raise CameraError(f"crop {list(config.crop)} does not fit into {wide}x{high} images")
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    crop = (x, y, crop_width, crop_height)
    return Cut(left, top, kept_width, kept_height, wide, high, crop)


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes (width, height) differ in scale only."""
    across, along = one[0] * other[1], one[1] * other[0]
    return abs(across - along) <= SAME_ASPECT * max(across, along)


def fit(image: Image, config: CameraConfig) -> Image:
    """Make the published image out of a device's picture.

    Args:
        image: uint8 [height, width, 3] BGR.
        config: the camera's configuration.

    Returns:
        uint8 [height, width, 3] RGB.

    Raises:
        CameraError: if the crop lies outside of the image.
    """
    height, width = image.shape[:2]
    part = cut(config, width, height)
    image = image[part.y : part.y + part.height, part.x : part.x + part.width]
    if (part.width, part.height) != (part.wide, part.high):
        size = (part.wide, part.high)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    x, y, wide, high = part.crop
    image = image[y : y + high, x : x + wide]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def is_damaged(image: Image) -> bool:
    """Return whether a decoder made up a part of this picture, uint8 [height, width, 3] BGR.

    Where data is missing, a decoder leaves rows of exactly one colour: the green that is YUV's
    zero, or a middle grey. A sensor's rows have other colours, or several.
    """
    few = image[:, :: max(1, image.shape[1] // COLUMNS)]
    blue, green, red = few[:, 0].T
    made_up = (blue == 0) & (red == 0) & (green > GREEN[0]) & (green < GREEN[1])
    made_up |= (blue == green) & (red == green) & (green >= GREY[0]) & (green <= GREY[1])
    suspect = np.flatnonzero(made_up & (few == few[:, :1]).all(axis=(1, 2)))
    least = max(1, round(DAMAGED * len(image)))
    if len(suspect) < least:
        return False
    rows = image[suspect]
    return int((rows == rows[:, :1]).all(axis=(1, 2)).sum()) >= least
