"""What the rig's cameras see, in less than half of the time that drawing everything takes.

Table and base of the arm, which never move, are drawn once. Of the rest a picture needs only the
window that arm and cube lie in, laid over that backdrop by its depth; pixel by pixel the result is
what `World.render` draws. A scene in which nothing has moved is not drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import sqrt

import cv2
import numpy as np

from ergojr_description import kinematics
from ergojr_description.cameras import CAMERAS
from ergojr_description.kinematics import Array
from ergojr_sim.rendering import NEAR, Image, Window
from ergojr_sim.world import World

REST = ([0.0] * 6, [0.0, 0.135, 0.015, 0.0, 0.0, 0.0, 1.0])
MARGIN = 1  # pixels around the window, for what rounding does


class Scene:
    """Pictures of `width` x `height` pixels of an arm and a cube that `show` places."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._state: tuple[Sequence[float], Sequence[float]] = REST
        with closing(_world()) as bare:
            bare.renderer.hide(moving=True)
            drawn = {name: bare.renderer.draw(name, *self._size) for name in CAMERAS}
            self._backdrops = {name: (_bgr(image), depth) for name, (image, depth) in drawn.items()}
        self._world = _world()
        self._world.renderer.hide(moving=False)
        self._arm, self._cube = self._world.renderer.moving_corners()
        self._cube *= sqrt(3.0)  # a box around it, however it is turned
        self._lenses = {name: self._lens(name) for name in CAMERAS}
        self._pictures: dict[str, Image] = {}

    def show(self, arm: Sequence[float], cube: Sequence[float]) -> None:
        """Arm [6] rad and cube [7] (`World.cube_pose`) as another world has them."""
        if (arm, cube) != self._state:
            self._state = (arm, cube)
            self._world.show(arm, cube)
            self._pictures.clear()

    def picture(self, camera: str) -> Image:
        """[height, width, 3] BGR of one of `CAMERAS`, not to be written to."""
        if camera not in self._pictures:
            self._pictures[camera] = self._draw(camera)
        return self._pictures[camera]

    def close(self) -> None:
        """Free the world; a second call does nothing."""
        self._world.close()

    def _draw(self, camera: str) -> Image:
        backdrop, far = self._backdrops[camera]
        window = self._window(camera)
        left, top, right, bottom = window
        if left >= right or top >= bottom:
            return backdrop
        image, depth = self._world.renderer.draw(camera, *self._size, window)
        part = np.s_[top:bottom, left:right]
        nearer = cv2.compare(depth, far[part], cv2.CMP_LT)
        picture = backdrop.copy()
        cv2.copyTo(_bgr(image), nearer, picture[part])
        return picture

    def _lens(self, camera: str) -> Array:
        """[4, 4]: from the world's to clip coordinates."""
        view, clip = self._world.renderer.matrices(camera, self._size[0] / self._size[1])
        return np.asarray(clip @ view)

    def _window(self, camera: str) -> Window:
        """Where arm and cube are in the picture; all of it if something is too near to tell."""
        width, height = self._size
        arm, cube = self._state
        links = self._arm.positions(kinematics.forward(np.asarray(arm)))
        points = np.concatenate([links, self._cube + cube[:3]])
        lens = self._lenses[camera]
        seen = points @ lens[:, :3].T + lens[:, 3]
        if seen[:, 3].min() < NEAR:
            return (0, 0, width, height)
        across = (seen[:, 0] / seen[:, 3] + 1.0) * width / 2
        down = (1.0 - seen[:, 1] / seen[:, 3]) * height / 2
        return (
            max(0, int(across.min()) - MARGIN),
            max(0, int(down.min()) - MARGIN),
            min(width, int(across.max()) + 1 + MARGIN),
            min(height, int(down.max()) + 1 + MARGIN),
        )


def _world() -> World:
    world = World("servo")
    world.reset(np.zeros(6), (REST[1][0], REST[1][1]), 0.0)
    return world


def _bgr(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2BGR), np.uint8)
