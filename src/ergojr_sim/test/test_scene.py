"""What the rig's cameras show is what the simulator's would, for less."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ergojr_sim.world import World

pytest.importorskip("cv2")
from ergojr_description.cameras import CAMERAS
from ergojr_sim.scene import Scene

AWAY = [0.0, 3.0, 0.015, 0.0, 0.0, 0.0, 1.0]  # a cube out of sight
BEHIND = [-0.3, 0.15, 0.015, 0.0, 0.0, 0.0, 1.0]  # under the side camera
TURNED = [0.05, 0.13, 0.02, 0.2, 0.1, 0.4, 0.89]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.reset(np.zeros(6), (0.0, 0.13), 0.0)
    yield made
    made.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene(160, 120)
    yield made
    made.close()


def differing(scene: Scene, world: World, camera: str) -> float:
    """The share of pixels that are not the same."""
    whole = world.renderer.render(camera, 160, 120)
    return float((scene.picture(camera)[..., ::-1] != whole).any(axis=2).mean())


@pytest.mark.parametrize("camera", sorted(CAMERAS))
@pytest.mark.parametrize("cube", [TURNED, AWAY, BEHIND])
def test_a_picture_is_what_drawing_everything_gives(
    camera: str, cube: list[float], scene: Scene, world: World
) -> None:
    random = np.random.default_rng(0)
    for _ in range(8):
        arm = random.uniform(-0.8, 0.8, 6).tolist()
        for one in (scene, world):
            one.show(arm, cube)
        assert differing(scene, world, camera) < 1e-3


def test_what_comes_out_of_sight_leaves_no_trace(scene: Scene, world: World) -> None:
    for arm, cube in (([0.5] * 6, TURNED), ([-0.5] * 6, AWAY)):
        for one in (scene, world):
            one.show(arm, cube)
        assert differing(scene, world, "camera_front") < 1e-3


def test_a_scene_at_rest_is_not_drawn_again(scene: Scene) -> None:
    scene.show([0.1] * 6, TURNED)
    first = scene.picture("camera_side")
    scene.show([0.1] * 6, list(TURNED))
    assert scene.picture("camera_side") is first
