"""Pictures of the arm, the table and the cube, by PyBullet's software renderer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ergojr_description import kinematics
from ergojr_description.cameras import CAMERAS
from ergojr_description.kinematics import Array
from ergojr_sim.bullet import Bullet

Image = NDArray[np.uint8]
Window = tuple[int, int, int, int]
"""Pixels: left, top, and the first ones right of and below it."""

NEAR, FAR = 0.1, 0.8  # m from a camera: what is drawn lies in between

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def _zoom(window: Window, width: int, height: int) -> Array:
    """[4, 4]: clip coordinates of a picture to those of a window in it."""
    left, top, right, bottom = window
    across, down = width / (right - left), height / (bottom - top)
    zoom = np.diag([across, down, 1.0, 1.0])
    zoom[0, 3] = across * (1.0 - (left + right) / width)
    zoom[1, 3] = down * ((top + bottom) / height - 1.0)
    return zoom


class Renderer:
    """Draws the bodies of one world.

    Args:
        bullet: the world.
        table: PyBullet's id of the table.
        arm: PyBullet's id of the arm.
        joints: PyBullet's indices of m1 to m6, which are those of the links that they move.
        cube: PyBullet's id of the cube.
    """

    def __init__(self, bullet: Bullet, table: int, arm: int, joints: list[int], cube: int) -> None:
        self._bullet = bullet
        self._table = table
        self._arm = arm
        self._joints = joints
        self._cube = cube

    def render(self, camera: str, width: int, height: int) -> Image:
        """[height, width, 3] RGB of one of `CAMERAS`."""
        return np.array(self.draw(camera, width, height)[0][:, :, :3])

    def draw(
        self, camera: str, width: int, height: int, window: Window | None = None
    ) -> tuple[Image, Array]:
        """RGBA [h, w, 4] and depth buffer [h, w] of the pixels of `window`; None: of all."""
        bullet = self._bullet
        part = window or (0, 0, width, height)
        wide, high = part[2] - part[0], part[3] - part[1]
        view, clip = self.matrices(camera, width / height)
        picture = bullet.getCameraImage(
            wide,
            high,
            view.T.ravel().tolist(),
            (_zoom(part, width, height) @ clip).T.ravel().tolist(),
            renderer=bullet.ER_TINY_RENDERER,
            flags=bullet.ER_NO_SEGMENTATION_MASK,
        )
        pixels = np.asarray(picture[2], np.uint8)
        return np.reshape(pixels, (high, wide, 4)), np.reshape(picture[3], (high, wide))

    def matrices(self, camera: str, aspect: float) -> tuple[Array, Array]:
        """[4, 4] world to camera and [4, 4] camera to clip coordinates, as OpenGL has them."""
        bullet, setting = self._bullet, CAMERAS[camera]
        view = bullet.computeViewMatrix(setting.eye, setting.target, (0.0, 0.0, 1.0))
        clip = bullet.computeProjectionMatrixFOV(setting.field_of_view, aspect, NEAR, FAR)
        return np.reshape(view, (4, 4)).T, np.reshape(clip, (4, 4)).T

    def hide(self, *, moving: bool) -> None:
        """Take all that moves out of every picture, or else all that does not, for good."""
        bodies = [(self._arm, link) for link in self._joints] + [(self._cube, -1)]
        for body, link in bodies if moving else [(self._table, -1), (self._arm, -1)]:
            self._bullet.changeVisualShape(body, link, rgbaColor=[0.0] * 4)

    def moving_corners(self) -> tuple[kinematics.Points, Array]:
        """The corners of the boxes around all visible parts of the arm that move, and [8, 3] m
        those of the cube in its own frame."""
        bullet = self._bullet
        links: list[int] = []
        corners: list[Array] = []
        for _, link, kind, size, _, centre, *_ in bullet.getVisualShapeData(self._arm):
            if link in self._joints:
                if kind != bullet.GEOM_BOX:
                    raise ValueError(f"link {link} of the arm is drawn as no box")
                links += [self._joints.index(link)] * len(_CORNERS)
                corners.append(_CORNERS * size + centre)
        (cube,) = bullet.getVisualShapeData(self._cube)
        return kinematics.Points(tuple(links), np.concatenate(corners)), _CORNERS * cube[3]
