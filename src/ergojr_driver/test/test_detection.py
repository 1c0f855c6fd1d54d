"""Detection and reward on real renderings of the simulated arm, against its true geometry."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from ergojr_description.cameras import CAMERAS
from ergojr_driver.detection import (
    DetectionConfig,
    Detector,
    Image,
    find_blob,
    find_markers,
    gap,
)
from ergojr_driver.pixel_reward import (
    SHOULDER,
    Judgement,
    PixelReward,
    PoseConfig,
    RewardConfig,
    SidePose,
)
from ergojr_sim.environment import PokeEnvironment
from ergojr_sim.oracle import OraclePolicy

WIDTH, HEIGHT = 320, 240
POSES = {"camera_front": PoseConfig(), "camera_side": SidePose()}
TICK = 50_000_000  # ns


@dataclass(frozen=True)
class Step:
    judgement: Judgement
    distance: float  # m, true
    touched: bool
    cube_errors: list[float]  # px
    tip_errors: list[float]
    areas: list[float]  # of what was found, over the image's


@functools.lru_cache(maxsize=1)
def episodes() -> list[list[Step]]:
    """Random motions and the oracle's, by turns, seen by both cameras."""
    environment, detector = PokeEnvironment(), Detector(DetectionConfig())
    played = []
    for episode in range(24):
        environment.reset(seed=episode)
        oracle = OraclePolicy()
        oracle.reset(environment)
        random = np.random.default_rng(episode)
        reward, steps, noise, touches = PixelReward(RewardConfig()), [], np.zeros(4), 0
        world = environment.world
        for tick in range(30):
            if tick % 3 == 0:
                noise = random.uniform(-0.16, 0.16, 4)
            reach = np.clip(oracle.act(environment) + 0.35 * noise, -0.16, 0.16)
            touched = world.tick(noise if episode % 2 == 0 else reach).touched
            views, cube_errors, tip_errors, areas = {}, [], [], []
            for name in CAMERAS:
                image = world.renderer.render(name, WIDTH, HEIGHT)
                found = detector.find(image)
                areas += [float((one.mask > 0).mean()) for one in found if one is not None]
                views[name] = detector.judge(*found, image, shoulder(name))
                for errors, seen, true in (
                    (cube_errors, views[name].cube, world.cube()),
                    (tip_errors, views[name].gripper, world.tip()),
                ):
                    place = POSES[name].project(true, WIDTH, HEIGHT)
                    if seen is not None and place is not None:
                        errors.append(float(np.hypot(*np.subtract(seen, place))))
            judgement = reward.judge(tick * TICK, views)
            steps.append(Step(judgement, world.distance(), touched, cube_errors, tip_errors, areas))
            touches += touched
            if touches > 4:
                break
        played.append(steps)
    return played


def shoulder(camera: str) -> tuple[float, float]:
    place = POSES[camera].project(SHOULDER, WIDTH, HEIGHT)
    assert place is not None
    return place


def rank_correlation(one: list[float], other: list[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_the_poses_are_those_of_the_simulated_cameras() -> None:
    for name, pose in POSES.items():
        assert (pose.eye, pose.target) == (CAMERAS[name].eye, CAMERAS[name].target)
        assert pose.field_of_view == CAMERAS[name].field_of_view


def test_the_cube_is_found_within_a_pixel_or_two() -> None:
    errors = [error for steps in episodes() for step in steps for error in step.cube_errors]
    assert np.median(errors) < 1.5
    assert np.percentile(errors, 90) < 4.0  # the fingers hide a part of it at times


def test_the_fingers_tip_is_found_not_their_middle() -> None:
    errors = [error for steps in episodes() for step in steps for error in step.tip_errors]
    assert np.median(errors) < 12.0  # the fingers are 40 px long


def test_nearly_every_step_has_a_reward() -> None:
    valid = [step.judgement.valid for steps in episodes() for step in steps]
    assert np.mean(valid) >= 0.99


@pytest.mark.parametrize("kind", [0, 1], ids=["random", "oracle"])
def test_the_reward_ranks_like_the_true_distance(kind: int) -> None:
    steps = [step for steps in episodes()[kind::2] for step in steps if step.judgement.valid]
    measured = [step.judgement.distance for step in steps]
    assert rank_correlation(measured, [step.distance for step in steps]) >= 0.9


def test_touches_are_recognised_and_hardly_any_is_made_up() -> None:
    touched = np.array([any(s.touched for s in steps) for steps in episodes()])
    said = np.array([any(s.judgement.touched for s in steps) for steps in episodes()])
    assert touched.sum() >= 8
    assert (said & touched).sum() >= 0.9 * touched.sum()
    assert (said & ~touched).sum() <= 1


def test_red_is_found_on_both_sides_of_hue_zero() -> None:
    hsv = np.full((60, 80, 3), (90, 200, 200), dtype=np.uint8)
    hsv[20:40, 20:30, 0] = 3
    hsv[20:40, 30:40, 0] = 176
    found = find_blob(hsv, (170, 120, 60), (10, 255, 255), (0.001, 1.0))
    assert found is not None
    assert found.centre == pytest.approx((29.5, 29.5))


def test_specks_are_no_object() -> None:
    image = np.full((240, 320, 3), 128, dtype=np.uint8)
    image[::40, ::40] = (0, 220, 0)
    assert Detector(DetectionConfig()).find(image) == (None, None)


def test_a_mostly_green_picture_has_no_gripper() -> None:
    image = np.random.default_rng(0).integers(100, 156, (240, 320, 3), dtype=np.uint8)
    image[100:140, 100:116] = (0, 200, 0)
    assert Detector(DetectionConfig()).find(image)[0] is not None
    image[96:] = (0, 135, 0)
    assert Detector(DetectionConfig()).find(image)[0] is None


def test_the_greatest_area_leaves_a_wide_margin_to_what_the_cameras_show() -> None:
    most = max(area for steps in episodes() for step in steps for area in step.areas)
    assert most < DetectionConfig().max_area / 4


def test_bounds_of_the_area_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="but must be below max_area"):
        DetectionConfig(min_area=0.3)


def test_two_fingers_side_by_side_point_along_themselves() -> None:
    image = np.full((240, 320, 3), 128, dtype=np.uint8)
    image[100:140, 100:106] = image[100:140, 160:166] = (0, 200, 0)
    gripper, _ = Detector(DetectionConfig()).find(image)
    assert gripper is not None
    assert gripper.end_away_from((130.0, 20.0)) == pytest.approx((132.5, 139.5), abs=0.6)


def test_the_gap_is_between_the_nearest_pixels() -> None:
    one: Image = np.zeros((50, 60), dtype=np.uint8)
    other = one.copy()
    one[10:20, 10:20] = 255
    other[10:20, 25:30] = 255
    assert gap(one, other) == pytest.approx(6.0, abs=0.3)
    other[15, 20] = 255
    assert gap(one, other) == pytest.approx(1.0, abs=0.1)


def test_a_gap_is_measured_wherever_it_may_be_within_reach() -> None:
    one: Image = np.zeros((50, 60), dtype=np.uint8)
    other = one.copy()
    one[10:20, 10:20] = 255
    other[10:20, 25:30] = 255
    assert gap(one, other, reach=6.0) == gap(one, other)
    assert gap(one, other, reach=5.0) == np.inf


def test_markers_stand_in_for_colours() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    image = np.full((240, 320, 3), 255, dtype=np.uint8)
    for number, (x, y) in {6: (40, 50), 2: (200, 120)}.items():
        marker = cv2.aruco.generateImageMarker(dictionary, number, 40)
        image[y : y + 40, x : x + 40] = marker[..., None]
    assert set(find_markers(image)) == {2, 6}
    view = Detector(DetectionConfig(gripper="aruco", cube="aruco")).view(image, (0.0, 0.0))
    assert view.gripper == pytest.approx((59.5, 69.5), abs=1.0)
    assert view.cube == pytest.approx((219.5, 139.5), abs=1.0)


def test_a_bound_that_is_no_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="cube_high is"):
        DetectionConfig(cube_high=(200, 255, 255))
