"""A camera's image as the networks see it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from planet_core.episode_format import IMAGE_SIZE


def fit_image(camera: str, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image, uint8 [height, width, 3], cut to its centre square and reduced to 64x64.

    The reduction averages areas. An image is never enlarged: raises ValueError for a smaller one.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{camera} sends {image.dtype} {image.shape}, expected RGB images")
    height, width = image.shape[:2]
    side = min(height, width)
    if side < IMAGE_SIZE:
        raise ValueError(
            f"{camera} sends {width}x{height} images, but at least {IMAGE_SIZE}x{IMAGE_SIZE} "
            "are needed"
        )
    if height == width == IMAGE_SIZE:
        return image
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == IMAGE_SIZE:
        return square
    reduced = cv2.resize(square, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8)
