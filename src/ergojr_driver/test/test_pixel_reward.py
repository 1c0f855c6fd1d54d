"""The reward's logic, on views made up."""

from __future__ import annotations

import pytest

from ergojr_driver.detection import Point, View
from ergojr_driver.pixel_reward import Judgement, Pairing, PixelReward, PoseConfig, RewardConfig

MS = 1_000_000
CAMERAS = ("camera_front", "camera_side")


def view(gripper: Point | None, cube: Point | None, gap: float | None = 50.0) -> View:
    seen = gripper is not None and cube is not None
    return View(gripper, cube, gap if seen else None, 100.0)


SEEN = view((0.0, 0.0), (30.0, 40.0))
TOUCH = view((40.0, 40.0), (42.0, 40.0), 0.4)
BLIND = view(None, None)


def judge(reward: PixelReward, at: int, front: View, side: View) -> Judgement:
    return reward.judge(at * MS, dict(zip(CAMERAS, (front, side), strict=True)))


def test_the_distance_is_the_sum_over_the_cameras_per_diagonal() -> None:
    judgement = judge(PixelReward(RewardConfig()), 0, SEEN, view((10.0, 0.0), (30.0, 0.0)))
    assert judgement.distance == pytest.approx(0.5 + 0.2)
    assert judgement.valid
    assert not judgement.touched


def test_a_hidden_gripper_counts_where_it_was_for_a_while_only() -> None:
    reward = PixelReward(RewardConfig(hold_gripper=0.5))
    judge(reward, 0, SEEN, SEEN)
    hidden = view(None, (60.0, 80.0))
    assert judge(reward, 400, hidden, hidden).distance == pytest.approx(2.0)
    late = judge(reward, 600, hidden, hidden)
    assert not late.valid
    assert late.distance == pytest.approx(2.0), "the last one, not a made-up zero"
    assert late.unseen == ("camera_front: gripper", "camera_side: gripper")


def test_a_hidden_cube_counts_for_longer() -> None:
    reward = PixelReward(RewardConfig(hold_gripper=0.5, hold_cube=5.0))
    judge(reward, 0, SEEN, SEEN)
    assert judge(reward, 4000, view((30.0, 40.0), None), view((30.0, 40.0), None)).distance == 0.0


def test_a_blind_camera_takes_the_others_distance() -> None:
    reward = PixelReward(RewardConfig())
    judgement = judge(reward, 0, SEEN, BLIND)
    assert judgement.distance == pytest.approx(1.0)
    assert judgement.valid


def test_nothing_seen_at_all_is_no_reward() -> None:
    assert not judge(PixelReward(RewardConfig()), 0, BLIND, BLIND).valid


def test_a_touch_takes_several_images_in_a_row_and_all_cameras() -> None:
    reward = PixelReward(RewardConfig(touch_frames=2))
    said = [
        judge(reward, at, front, side).touched
        for at, (front, side) in enumerate(
            [(TOUCH, TOUCH), (TOUCH, SEEN), (TOUCH, TOUCH), (TOUCH, TOUCH), (TOUCH, BLIND)]
        )
    ]
    assert said == [False, False, False, True, False]


def test_masks_that_meet_far_from_the_tip_are_no_touch() -> None:
    reward = PixelReward(RewardConfig(touch_frames=1))
    along = view((0.0, 0.0), (30.0, 40.0), 0.4)
    assert not judge(reward, 0, along, along).touched


def test_no_touch_survives_a_reset() -> None:
    reward = PixelReward(RewardConfig(touch_frames=2))
    assert [judge(reward, at, TOUCH, TOUCH).touched for at in range(3)] == [False, True, True]
    assert not judge(reward, 3, SEEN, SEEN).touched
    assert not judge(reward, 4, TOUCH, TOUCH).touched


def test_images_pair_within_the_skew_and_once() -> None:
    pairing: Pairing[str] = Pairing(CAMERAS, 25 * MS)
    assert pairing.put("camera_front", 0, "f0") is None
    assert pairing.put("camera_side", 30 * MS, "s30") is None
    complete = pairing.put("camera_front", 33 * MS, "f33")
    assert complete == (33 * MS, {"camera_front": "f33", "camera_side": "s30"})
    assert pairing.put("camera_side", 34 * MS, "s34") is None


def test_what_the_camera_looks_at_is_in_the_middle_of_its_image() -> None:
    pose = PoseConfig()
    assert pose.project(pose.target, 321, 241) == pytest.approx((160.0, 120.0))
    assert pose.project((0.0, 1.0, 0.2), 321, 241) is None
    # Seen from the front, the arm's left (-x) is on the right.
    left = pose.project((-0.1, 0.0, 0.05), 321, 241)
    assert left is not None
    assert left[0] > 160.0


def test_the_cubes_place_is_a_small_quadrangle() -> None:
    corners = PoseConfig().footprint(0.0, 0.135, 0.0, 320, 240)
    assert corners is not None
    widths = [max(c[i] for c in corners) - min(c[i] for c in corners) for i in (0, 1)]
    assert 10 < widths[0] < 40
    assert 3 < widths[1] < widths[0]


def test_a_camera_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="cameras is"):
        RewardConfig(cameras=("camera_front", "camera_front"))
