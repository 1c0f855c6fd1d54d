"""The paper's reward on the robot: minus the sum over the cameras of the pixel distance between
gripper and cube, each over its image's diagonal.

What is not seen for a moment is helped out: a hidden cube still lies where it was last seen, a
hidden gripper counts for a shorter while, and a camera that knows nothing takes the mean of the
others. Where no camera knows anything, the last reward is repeated and marked as not valid.

Touched: in every camera gripper and cube are seen next to each other, and the distance is small, in
several image sets in a row. Nothing is remembered beyond that, so no touch survives a reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, pi
from typing import Generic, TypeVar

import numpy as np

from ergojr_description.cameras import CAMERAS, Camera
from ergojr_driver.detection import Point, View
from planet_core.config import Config, setting

SHOULDER = (0.0, 0.0, 0.1)  # m, about where the arm's fingers point away from


@dataclass(frozen=True)
class RewardConfig(Config):
    """How images become a reward."""

    cameras: tuple[str, ...] = setting(
        ("camera_front", "camera_side"), "The names of the cameras whose images are judged."
    )
    max_skew: float = setting(
        0.025, "The greatest time between the images of one set in seconds.", low=0.0
    )
    hold_gripper: float = setting(
        0.5, "The seconds for which a hidden gripper counts where it was last seen.", low=0.0
    )
    hold_cube: float = setting(
        5.0, "The seconds for which a hidden cube counts where it was last seen.", low=0.0
    )
    touch_gap: float = setting(
        0.005,
        "The greatest gap between gripper and cube at a touch, in every camera, as a "
        "share of the image's diagonal.",
        low=0.0,
    )
    touch_distance: float = setting(
        0.12, "The greatest distance at a touch, as the reward measures it.", low=0.0
    )
    touch_frames: int = setting(
        2, "The number of image sets in a row that must show the touch.", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras is {list(self.cameras)}, but must be different names.")


_FRONT, _SIDE = CAMERAS["camera_front"], CAMERAS["camera_side"]
_EYE = "The camera's position in the arm's base frame as x, y and z in metres."
_TARGET = "The point in the middle of the camera's image, in the arm's base frame, in metres."


@dataclass(frozen=True)
class PoseConfig(Camera):
    """Where a camera stands, in the arm's base frame: by default, in front of the arm."""

    eye: tuple[float, ...] = setting(_FRONT.eye, _EYE)
    target: tuple[float, ...] = setting(_FRONT.target, _TARGET)
    field_of_view: float = setting(
        _FRONT.field_of_view,
        "The vertical field of view of the camera's published image in degrees.",
        low=1.0,
        high=179.0,
    )

    def __post_init__(self) -> None:
        if len(self.eye) != 3 or len(self.target) != 3:
            raise ValueError("eye and target must be x, y and z in metres.")
        if self.eye[:2] == self.target[:2]:
            raise ValueError("eye and target must not be one above the other.")

    def footprint(
        self, x: float, y: float, yaw: float, width: int, height: int
    ) -> list[Point] | None:
        """The pixels of the corners of the cube's place on the table; None if out of sight."""
        half = 0.015 * 2**0.5
        turns = [yaw + pi / 4 + quarter * pi / 2 for quarter in range(4)]
        corners = [
            self.project((x + half * np.cos(a), y + half * np.sin(a), 0.0), width, height)
            for a in turns
        ]
        seen = [corner for corner in corners if corner is not None]
        return seen if len(seen) == 4 else None


@dataclass(frozen=True)
class SidePose(PoseConfig):
    """The same, by default beside the arm, 90 degrees to the right of the one in front."""

    eye: tuple[float, ...] = setting(_SIDE.eye, _EYE)
    target: tuple[float, ...] = setting(_SIDE.target, _TARGET)


POSES: dict[str, type[PoseConfig]] = {"camera_side": SidePose}
"""By the camera's name; a camera of another name stands where `PoseConfig` says."""

Item = TypeVar("Item")


class Pairing(Generic[Item]):
    """Sets of one image of each camera, at most `max_skew` ns apart; each image is used once."""

    def __init__(self, cameras: Sequence[str], max_skew: int) -> None:
        self._cameras = cameras
        self._max_skew = max_skew
        self._newest: dict[str, tuple[int, Item]] = {}

    def put(self, camera: str, stamp: int, item: Item) -> tuple[int, dict[str, Item]] | None:
        """A camera's newest; when it completes a set, that: its newest stamp (ns) and items."""
        self._newest[camera] = stamp, item
        stamps = [stamp for stamp, _ in self._newest.values()]
        if len(stamps) < len(self._cameras) or max(stamps) - min(stamps) > self._max_skew:
            return None
        items = {name: self._newest[name][1] for name in self._cameras}
        self._newest.clear()
        return max(stamps), items


@dataclass(frozen=True)
class Judgement:
    """On one set of images.

    Attributes:
        distance: the sum over the cameras of the pixel distance over the diagonal.
        touched: as the module says.
        valid: whether some camera knew the distance.
        unseen: "<camera>: gripper", "<camera>: cube" for what was not seen in this set.
    """

    distance: float
    touched: bool
    valid: bool
    unseen: tuple[str, ...]


class _Memory:
    """Where one camera last saw a thing, and when (ns)."""

    def __init__(self, hold: float) -> None:
        self._hold = int(hold * 1e9)
        self._stamp = 0
        self._point: Point | None = None

    def recall(self, stamp: int, point: Point | None) -> Point | None:
        """`point`, or where the thing was seen last, if that was not long before `stamp`."""
        if point is not None:
            self._stamp, self._point = stamp, point
        elif not 0 <= stamp - self._stamp <= self._hold:  # a clock that went back forgets, too
            self._point = None
        return self._point


class PixelReward:
    """Judges sets of views, in the order of their stamps."""

    def __init__(self, config: RewardConfig) -> None:
        self._config = config
        self._gripper = {name: _Memory(config.hold_gripper) for name in config.cameras}
        self._cube = {name: _Memory(config.hold_cube) for name in config.cameras}
        self._distance = 0.0
        self._touches = 0

    def judge(self, stamp: int, views: Mapping[str, View]) -> Judgement:
        """One set of views, by camera, with its stamp (ns)."""
        config = self._config
        known: list[float] = []
        unseen: list[str] = []
        together = True
        for name in config.cameras:
            view = views[name]
            unseen += [f"{name}: gripper"] * (view.gripper is None)
            unseen += [f"{name}: cube"] * (view.cube is None)
            gripper = self._gripper[name].recall(stamp, view.gripper)
            cube = self._cube[name].recall(stamp, view.cube)
            if gripper is not None and cube is not None:
                known.append(hypot(gripper[0] - cube[0], gripper[1] - cube[1]) / view.diagonal)
            together &= view.gap is not None and view.gap <= config.touch_gap * view.diagonal
        if known:
            self._distance = sum(known) * len(config.cameras) / len(known)
        touch = together and self._distance <= config.touch_distance
        self._touches = self._touches + 1 if touch else 0
        touched = self._touches >= config.touch_frames
        return Judgement(self._distance, touched, bool(known), tuple(unseen))
