"""Where gripper and cube are in a camera's image: blobs of a colour, or ArUco markers.

Pixel coordinates as in camera_info: (x, y), the centre of the first pixel is (0, 0). Detection runs
at the camera's full resolution: the learner's 64x64 images are too small for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import atan2, cos, hypot, inf, sin, sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from planet_core.config import Config, setting

Image = NDArray[np.uint8]
Point = tuple[float, float]

METHODS = ("hsv", "aruco")
_DARK_GREEN, _DARK_RED = (0, 110, 0), (140, 0, 0)
PART = 0.2  # a blob of this share of the largest one belongs to the object (the second finger)


@dataclass(frozen=True)
class DetectionConfig(Config):
    """What to look for. Colours in OpenCV's HSV: hue 0..179 (2 degrees each), 0..255, 0..255."""

    gripper: str = setting(
        "hsv", "The gripper is found by its colour (hsv) or by markers (aruco).", choices=METHODS
    )
    cube: str = setting(
        "hsv", "The cube is found by its colour (hsv) or by markers (aruco).", choices=METHODS
    )
    gripper_low: tuple[int, ...] = setting(
        (45, 80, 60),
        "The least hue (0 to 179), saturation and value (0 to 255) of the gripper; a "
        "least hue above the greatest one wraps around red.",
    )
    gripper_high: tuple[int, ...] = setting(
        (80, 255, 255),
        "The greatest hue (0 to 179), saturation and value (0 to 255) of the gripper.",
    )
    cube_low: tuple[int, ...] = setting(
        (170, 120, 60),
        "The least hue (0 to 179), saturation and value (0 to 255) of the cube; a least "
        "hue above the greatest one wraps around red.",
    )
    cube_high: tuple[int, ...] = setting(
        (10, 255, 255), "The greatest hue (0 to 179), saturation and value (0 to 255) of the cube."
    )
    min_area: float = setting(
        2e-4,
        "The least area of a gripper or cube found by its colour, as a share of the "
        "image; anything smaller is noise.",
        low=0.0,
        high=1.0,
    )
    max_area: float = setting(
        0.25,
        "The greatest area of a gripper or cube found by its colour, as a share of the "
        "image; anything larger is a broken picture or a wrong colour.",
        low=0.0,
        high=1.0,
    )
    gripper_markers: tuple[int, ...] = setting(
        (6,), "The ids of the ArUco 4x4_50 markers on the gripper."
    )
    cube_markers: tuple[int, ...] = setting(
        (0, 1, 2, 3, 4, 5), "The ids of the ArUco 4x4_50 markers on the cube's faces."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gripper_low", "gripper_high", "cube_low", "cube_high"):
            bound = getattr(self, name)
            limits = (179, 255, 255)
            if len(bound) != 3 or any(
                not 0 <= value <= limit for value, limit in zip(bound, limits, strict=True)
            ):
                raise ValueError(
                    f"{name} is {list(bound)}, but must be hue (0 to 179), saturation and value "
                    "(0 to 255)."
                )
        if self.min_area >= self.max_area:
            raise ValueError(
                f"min_area is {self.min_area:g}, but must be below max_area, {self.max_area:g}."
            )


@dataclass(frozen=True)
class Detection:
    """An object in an image.

    Attributes:
        centre: of its visible surface, sub-pixel.
        half: half of its length, a vector along its longer axis, as if it were a rectangle.
        mask: [height, width] uint8, 255 where it is.
    """

    centre: Point
    half: Point
    mask: Image

    def end_away_from(self, point: Point) -> Point:
        """The one of its two ends that is farther from `point`."""
        (x, y), (dx, dy) = self.centre, self.half
        sign = 1.0 if dx * (x - point[0]) + dy * (y - point[1]) >= 0 else -1.0
        return x + sign * dx, y + sign * dy


@dataclass(frozen=True)
class View:
    """What one camera's image tells.

    Attributes:
        gripper: its tip; None where not seen.
        cube: its centre; None where not seen.
        gap: px between the two nearest pixels of gripper and cube; None unless both are seen,
            infinite where it is beyond the detector's `reach` for sure.
        diagonal: px, of the image.
    """

    gripper: Point | None
    cube: Point | None
    gap: float | None
    diagonal: float


class Detector:
    """Finds gripper and cube in RGB images, uint8 [height, width, 3].

    Gaps beyond `reach`, over the image's diagonal, need not be measured.
    """

    def __init__(self, config: DetectionConfig, reach: float = inf) -> None:
        self._config = config
        self._reach = reach

    def find(self, image: Image) -> tuple[Detection | None, Detection | None]:
        """The gripper and the cube."""
        config = self._config
        area = config.min_area, config.max_area
        hsv = None
        if "hsv" in (config.gripper, config.cube):
            hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), dtype=np.uint8)
        markers = find_markers(image) if "aruco" in (config.gripper, config.cube) else {}
        gripper = (
            find_blob(hsv, config.gripper_low, config.gripper_high, area, PART)
            if config.gripper == "hsv" and hsv is not None
            else _marked(image, markers, config.gripper_markers)
        )
        cube = (
            find_blob(hsv, config.cube_low, config.cube_high, area)
            if config.cube == "hsv" and hsv is not None
            else _marked(image, markers, config.cube_markers)
        )
        return gripper, cube

    def view(self, image: Image, arm: Point) -> View:
        """What the image tells. Of the gripper's ends the one away from `arm`, the shoulder's place
        in the image, is the tip."""
        return self.judge(*self.find(image), image, arm)

    def judge(
        self, gripper: Detection | None, cube: Detection | None, image: Image, arm: Point
    ) -> View:
        """The same for what was found already."""
        diagonal = hypot(*image.shape[:2])
        return View(
            gripper.end_away_from(arm) if gripper else None,
            cube.centre if cube else None,
            gap(gripper.mask, cube.mask, self._reach * diagonal) if gripper and cube else None,
            diagonal,
        )


def colour_mask(hsv: Image, low: Sequence[int], high: Sequence[int]) -> Image:
    """[height, width] uint8, 255 where the colour is within the bounds; a low hue above the high
    one means the hues around red: from low to 179 and from 0 to high."""
    if low[0] <= high[0]:
        return np.asarray(cv2.inRange(hsv, tuple(low), tuple(high)), dtype=np.uint8)
    upper = cv2.inRange(hsv, tuple(low), (179, *high[1:]))
    lower = cv2.inRange(hsv, (0, *low[1:]), tuple(high))
    return np.asarray(cv2.bitwise_or(upper, lower), dtype=np.uint8)


def find_blob(
    hsv: Image,
    low: Sequence[int],
    high: Sequence[int],
    area: tuple[float, float],
    part: float = 1.0,
) -> Detection | None:
    """The largest blob of a colour, with all others that have at least its size times `part`.

    None where it is smaller than the first `area`, or all together are larger than the second one;
    both are shares of the image.
    """
    mask = colour_mask(hsv, low, high)
    x0, y0, wide, high = cv2.boundingRect(mask)
    if not wide:
        return None
    # Lone pixels of noise are no object; an opening would eat thin fingers.
    part_of_image = mask[y0 : y0 + high, x0 : x0 + wide]  # labelling is what costs
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part_of_image, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    least, most = area[0] * mask.size, area[1] * mask.size
    if areas.max() < least:
        return None
    kept = np.flatnonzero(areas >= max(part * areas.max(), least)) + 1
    if areas[kept - 1].sum() > most:
        return None
    chosen = mask if len(kept) == count - 1 else np.zeros_like(mask)
    moments = []
    for label in kept:
        left, top, width, height = stats[label, :4]
        blob = (labels[top : top + height, left : left + width] == label).astype(np.uint8)
        left, top = left + x0, top + y0
        moments.append({**cv2.moments(blob, binaryImage=True), "left": left, "top": top})
        if chosen is not mask:
            chosen[top : top + height, left : left + width] |= 255 * blob
    size = sum(one["m00"] for one in moments)
    x = sum(one["m10"] + one["left"] * one["m00"] for one in moments) / size
    y = sum(one["m01"] + one["top"] * one["m00"] for one in moments) / size
    # Two fingers side by side: their own longer axis, not that of the pair.
    xx, xy, yy = (sum(one[name] for one in moments) / size for name in ("mu20", "mu11", "mu02"))
    angle = 0.5 * atan2(2 * xy, xx - yy)
    variance = (xx + yy) / 2 + hypot((xx - yy) / 2, xy)
    half = sqrt(3 * variance)  # of a rectangle's length
    return Detection((x, y), (half * cos(angle), half * sin(angle)), chosen)


@lru_cache(maxsize=1)
def _aruco() -> Any:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    return cv2.aruco.ArucoDetector(dictionary)


def find_markers(image: Image) -> dict[int, NDArray[np.float32]]:
    """The corners [4, 2] of each ArUco 4x4_50 marker, by id."""
    corners, ids, _ = _aruco().detectMarkers(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    if ids is None:
        return {}
    return {int(i): c.reshape(4, 2) for i, c in zip(ids.ravel(), corners, strict=True)}


def _marked(
    image: Image, markers: dict[int, NDArray[np.float32]], ids: Sequence[int]
) -> Detection | None:
    seen = [markers[i] for i in ids if i in markers]
    if not seen:
        return None
    mask: Image = np.zeros(image.shape[:2], dtype=np.uint8)
    for corners in seen:
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    x, y = np.mean([corners.mean(axis=0) for corners in seen], axis=0)
    return Detection((float(x), float(y)), (0.0, 0.0), mask)


def gap(one: Image, other: Image, reach: float = inf) -> float:
    """px between the nearest pixels of two masks that are not empty; neighbours are 1 apart.

    Infinite where the masks' boxes alone are further apart than `reach`.
    """
    left, top, width, height = cv2.boundingRect(one)
    left2, top2, width2, height2 = cv2.boundingRect(other)
    across = max(left2 - left - width, left - left2 - width2)
    along = max(top2 - top - height, top - top2 - height2)
    if max(across, along) + 1 > reach:
        return inf
    x0, y0 = min(left, left2), min(top, top2)
    x1, y1 = max(left + width, left2 + width2), max(top + height, top2 + height2)
    away = cv2.distanceTransform(cv2.bitwise_not(one[y0:y1, x0:x1]), cv2.DIST_L2, 3)
    return float(away[other[y0:y1, x0:x1] > 0].min())


def annotate(image: Image, found: tuple[Detection | None, Detection | None], view: View) -> None:
    """Draw the outlines of gripper and cube, their points and the line between, into `image`."""
    for one, colour in zip(found, (_DARK_GREEN, _DARK_RED), strict=True):
        if one is not None:
            outlines, _ = cv2.findContours(one.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(image, outlines, -1, colour, 1)
    points = [None if p is None else (round(p[0]), round(p[1])) for p in (view.gripper, view.cube)]
    for point, colour in zip(points, (_DARK_GREEN, _DARK_RED), strict=True):
        if point is not None:
            cv2.drawMarker(image, point, colour, cv2.MARKER_CROSS, 12, 2)
    if points[0] is not None and points[1] is not None:
        cv2.line(image, points[0], points[1], (0, 0, 0), 1)
