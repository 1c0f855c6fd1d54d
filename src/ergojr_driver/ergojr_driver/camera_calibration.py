"""What camera_info says of the published images: a calibration, an ideal pinhole, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ergojr_description.cameras import Intrinsics, pinhole
from ergojr_driver.camera_config import CameraConfig, CameraError
from ergojr_driver.camera_picture import Cut, cut


def calibration(config: CameraConfig, width: int, height: int) -> Intrinsics:
    """Compute the intrinsics of the published images.

    The calibration file may describe the device's pictures, the scaled images, or the published
    images, which are cropped: the size in the file tells which. Without a file the camera is an
    ideal pinhole, or unknown.

    Args:
        config: the camera's configuration.
        width: width of the device's pictures in pixels.
        height: height of the device's pictures in pixels.

    Raises:
        CameraError: if the file cannot be read or belongs to images of another size, or the crop
            lies outside of the image.
    """
    part = cut(config, width, height)
    published, scaled, sent = part.crop[2:], (part.wide, part.high), (width, height)
    if not config.calibration_file:
        return _of_crop(_of_part(pinhole(config.field_of_view, *sent), part), part)
    found = load_calibration(config.calibration_file)
    size = (found.width, found.height)
    if size == published:
        return found
    if size == scaled:
        return _of_crop(found, part)
    if size == sent:
        return _of_crop(_of_part(found, part), part)
    raise CameraError(
        f"{config.calibration_file} is of {size[0]}x{size[1]} images, but "
        f"{config.source} sends {scaled[0]}x{scaled[1]}"
    )


def _of_part(known: Intrinsics, part: Cut) -> Intrinsics:
    """Return the intrinsics of the part that is kept of a picture, after scaling."""
    scale = part.wide / part.width, part.high / part.height
    return _moved(known, (part.x, part.y), scale, (part.wide, part.high))


def _of_crop(known: Intrinsics, part: Cut) -> Intrinsics:
    """Return the intrinsics of the crop of a scaled image."""
    x, y, width, height = part.crop
    return _moved(known, (x, y), (1.0, 1.0), (width, height))


def _moved(
    known: Intrinsics,
    corner: tuple[int, int],
    scale: tuple[float, float],
    size: tuple[int, int],
) -> Intrinsics:
    """Return the intrinsics of images that begin at `corner` of the known ones and are scaled."""
    k, p = list(known.k), list(known.p)
    if k[0]:
        for matrix, stride in ((k, 3), (p, 4)):
            for axis in range(2):
                row = slice(axis * stride, axis * stride + stride)
                matrix[row] = [value * scale[axis] for value in matrix[row]]
                # Pixel centres have whole numbers, so the image's edge is at -1/2.
                centre = axis * stride + 2
                matrix[centre] += scale[axis] * (0.5 - corner[axis]) - 0.5
    return Intrinsics(*size, known.distortion_model, known.d, k, known.r, p)


def load_calibration(path: str) -> Intrinsics:
    """Read a file that camera_calibration wrote (the YAML of camera_info_manager).

    Raises:
        CameraError: if the file cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
        return Intrinsics(
            int(content["image_width"]),
            int(content["image_height"]),
            str(content["distortion_model"]),
            [float(value) for value in content["distortion_coefficients"]["data"]],
            _matrix(content, "camera_matrix", 9),
            _matrix(content, "rectification_matrix", 9),
            _matrix(content, "projection_matrix", 12),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CameraError(
            f"{path} is no calibration as camera_calibration writes it: {error}"
        ) from error


def _matrix(content: Any, name: str, size: int) -> list[float]:
    values = [float(value) for value in content[name]["data"]]
    if len(values) != size:
        raise ValueError(f"{name} has {len(values)} numbers instead of {size}")
    return values
