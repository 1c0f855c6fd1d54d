from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planet_roller.fitting import fit_image
from planet_roller.observations import Assembler
from planet_roller.robot import RewardSample, RobotError, Wanted

MS = 1_000_000


def image(value: int = 0, height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def reward(stamp: int, value: float = 0.0) -> RewardSample:
    return RewardSample(stamp, value, True, False, False, False)


@pytest.fixture
def faults():
    return []


@pytest.fixture
def real_time(spec, clock, faults):
    spec = replace(spec, real_time_factor=1.0)
    return Assembler(spec, clock, lambda source, fault: faults.append((source, fault)))


def put_joints(assembler: Assembler, stamp: int, value: float = 0.0) -> None:
    assembler.put_joints(stamp, ["m1", "m2", "m3"], [value] * 3, [0.0] * 3, [0.0] * 3)


@pytest.fixture
def lockstep(spec, clock, faults):
    return Assembler(spec, clock, lambda source, fault: faults.append((source, fault)))


def put_pair(assembler: Assembler, front: int, side: int, value: int = 0) -> None:
    assembler.put_image("camera_front", front, image(value))
    assembler.put_image("camera_side", side, image(value + 1))


# Images.


def test_a_larger_image_is_cut_to_its_centre_and_averaged():
    picture = image(0, 128, 256)
    picture[:, 64:192] = 100
    picture[::2, 64:192] = 200
    fitted = fit_image("c", picture)
    assert fitted.shape == (64, 64, 3)
    assert (fitted == 150).all()


def test_a_small_image_is_refused_in_one_sentence_and_not_enlarged():
    with pytest.raises(ValueError, match="camera_side sends 32x32 images, but at least 64x64"):
        fit_image("camera_side", image(0, 32, 32))


# Real time.


def test_cameras_stand_side_by_side_in_the_spec_s_order(real_time):
    put_joints(real_time, 1)
    real_time.put_image("camera_side", 1, image(9))
    real_time.put_image("camera_front", 1, image(4))
    images = real_time.observe(None, 1.0).images
    assert images.shape == (64, 128, 3)
    assert (images[:, :64] == 4).all()
    assert (images[:, 64:] == 9).all()


def test_the_newest_pair_within_half_a_period_wins(real_time):
    put_joints(real_time, 0)
    put_pair(real_time, 0, 10 * MS)
    put_pair(real_time, 50 * MS, 60 * MS, value=7)
    real_time.put_image("camera_front", 100 * MS, image(9))  # its partner is not there yet
    observation = real_time.observe(None, 1.0)
    assert observation.stamp == 60 * MS
    assert observation.images[0, 0, 0] == 7


def test_a_pair_with_too_much_skew_is_never_taken_and_the_skew_is_named(real_time, clock):
    put_pair(real_time, 0, 30 * MS)
    clock.at(0.5, lambda: put_joints(real_time, 0))
    with pytest.raises(RobotError, match=r"within 25 ms .* 30 ms apart"):
        real_time.observe(None, 1.0)


def test_the_same_images_are_not_taken_twice(real_time, clock):
    put_pair(real_time, 0, 0)
    put_joints(real_time, 0)
    clock.at(0.3, lambda: put_pair(real_time, 50 * MS, 50 * MS))
    assert real_time.observe(0, 1.0).stamp == 50 * MS
    assert clock.now() == 0.3


def test_the_oldest_new_pair_can_be_asked_for(real_time):
    for stamp in (0, 50 * MS, 100 * MS):
        put_pair(real_time, stamp, stamp)
    assert real_time.observe(0, 1.0, Wanted(oldest=True)).stamp == 50 * MS


def test_an_image_that_is_about_to_come_is_waited_for_but_not_for_long(real_time, clock):
    for stamp in (0, 50 * MS):
        put_pair(real_time, stamp, stamp)
        put_joints(real_time, stamp)
    wanted = Wanted(expected=75 * MS, grace=0.01)
    clock.at(0.004, lambda: put_pair(real_time, 100 * MS, 100 * MS))
    assert real_time.observe(0, 1.0, wanted).stamp == 100 * MS
    assert clock.now() == 0.004
    assert real_time.observe(0, 1.0, Wanted(expected=175 * MS, grace=0.01)).stamp == 100 * MS
    assert clock.now() == 0.014


def test_images_of_the_episode_before_are_dropped(real_time):
    put_joints(real_time, 60)
    put_pair(real_time, 40, 40)
    put_pair(real_time, 60, 60)
    real_time.begin(50)
    assert real_time.observe(None, 1.0, Wanted(oldest=True)).stamp == 60


def test_a_robot_whose_time_begins_anew_is_seen_after_a_reset(real_time):
    put_pair(real_time, 10**15, 10**15)
    real_time.clear()
    real_time.begin(5)
    put_pair(real_time, 5, 5)
    put_joints(real_time, 5)
    assert real_time.observe(None, 1.0).stamp == 5


def test_an_image_that_comes_late_does_not_displace_a_newer_one(real_time):
    put_joints(real_time, 50)
    put_pair(real_time, 50, 50, value=5)
    put_pair(real_time, 40, 40, value=4)
    assert real_time.observe(None, 1.0).stamp == 50


def test_memory_is_bounded_when_nobody_observes(real_time):
    for i in range(3000):
        put_pair(real_time, i, i)
        put_joints(real_time, i)
        real_time.put_reward(reward(i))
    joints, rewards = real_time.drain()
    assert len(joints) <= 1024
    assert len(rewards) <= 1024
    assert real_time.observe(None, 1.0, Wanted(oldest=True)).stamp >= 2990


def test_a_missing_camera_is_named_and_its_return_is_told_once(real_time, clock, faults):
    put_joints(real_time, 0)
    real_time.put_image("camera_front", 0, image())
    with pytest.raises(RobotError, match=r"^no image on camera_side for 2\.0 s"):
        real_time.observe(None, 2.0)
    assert faults == [
        ("camera_side", "no image on camera_side for 2.0 s"),
        ("joint_states", "no joint_states for 2.0 s"),
    ]
    put_pair(real_time, 50, 50)
    put_pair(real_time, 100, 100)
    assert faults[2:] == [("camera_side", None)]


def test_silent_joints_fail_an_observation_in_real_time(real_time, clock):
    put_pair(real_time, 0, 0)
    clock.advance(2.5)
    put_pair(real_time, 50, 50)
    with pytest.raises(RobotError, match="no joint_states for 2"):
        real_time.observe(None, 2.0)


def test_a_camera_that_sends_32x32_is_told_once_and_recovers(real_time, faults):
    for stamp in range(3):
        real_time.put_image("camera_front", stamp, image(0, 32, 32))
    assert [source for source, _ in faults] == ["camera_front"]
    assert "32x32" in faults[0][1]
    put_pair(real_time, 10, 10)
    put_joints(real_time, 10)
    assert faults[1:] == [("camera_front", None)]
    assert real_time.observe(None, 1.0).stamp == 10


def test_the_wait_for_a_late_reward_ends_when_it_comes(real_time, clock):
    clock.at(0.1, lambda: real_time.put_reward(reward(5)))
    assert real_time.wait_reward(5, 0.25)
    assert clock.now() == 0.1
    assert not real_time.wait_reward(6, 0.25)


def test_a_reward_that_is_not_finite_is_not_valid(real_time):
    real_time.put_reward(reward(5, float("nan")))
    (sample,) = real_time.drain()[1]
    assert not sample.valid
    assert sample.reward == 0.0


# Joint states.


def test_an_observation_has_the_joint_state_nearest_to_its_images(real_time):
    for stamp in range(0, 60 * MS, 10 * MS):
        put_joints(real_time, stamp, stamp / MS)
    put_pair(real_time, 31 * MS, 33 * MS)
    observation = real_time.observe(None, 1.0)
    assert observation.joints.stamp == 30 * MS
    assert observation.state.tolist() == [30, 30, 30, 0, 0, 0]  # positions, then velocities


def test_a_joint_state_far_from_the_images_is_none_of_theirs(real_time):
    put_joints(real_time, 0)
    put_pair(real_time, 101 * MS, 101 * MS)
    observation = real_time.observe(None, 1.0)
    assert observation.joints is None
    assert observation.state is None


def test_in_lockstep_the_joint_state_is_that_of_the_very_stamp(lockstep):
    for stamp in (1, 2, 3):
        put_joints(lockstep, stamp, stamp)
    put_pair(lockstep, 2, 2)
    assert lockstep.observe(None, 1.0).joints.stamp == 2


def test_joints_are_put_into_the_spec_s_order(real_time):
    names = ["extra", "m3", "m1", "m2"]
    real_time.put_joints(0, names, [0, 3, 1, 2], [0, 30, 10, 20], [0, 33, 11, 22])
    (sample,) = real_time.drain()[0]
    assert sample.position.tolist() == [1, 2, 3]
    assert sample.velocity.tolist() == [10, 20, 30]
    assert sample.effort.tolist() == [11, 22, 33]


@pytest.mark.parametrize(
    ("names", "position", "sentence"),
    [
        (["m1", "m2", "m3"], [0.0, float("nan"), 0.0], "the position of m2 is not finite"),
        (["m1", "m2"], [0.0, 0.0], "lacks m3"),
        (["m1", "m2", "m3"], [0.0], "1 values of position for 3 names"),
    ],
)
def test_bad_joints_fail_the_observation_at_once(
    real_time, clock, faults, names, position, sentence
):
    put_pair(real_time, 0, 0)
    zeros = [0.0] * len(names)
    real_time.put_joints(0, names, position, zeros, zeros)
    with pytest.raises(RobotError, match=sentence):
        real_time.observe(None, 2.0)
    assert clock.now() == 0.0
    assert faults[0][0] == "joint_states"
    put_joints(real_time, 50)
    assert real_time.observe(None, 2.0).stamp == 0


# Lockstep.


def put_all(assembler: Assembler, stamp: int) -> None:
    put_pair(assembler, stamp, stamp)
    put_joints(assembler, stamp)
    assembler.put_reward(reward(stamp, stamp))


@pytest.mark.parametrize("late", ["camera_front", "camera_side", "joint_states", "reward"])
def test_lockstep_waits_for_every_part_of_the_same_stamp(lockstep, clock, late):
    put_all(lockstep, 1)
    parts = {
        "camera_front": lambda: lockstep.put_image("camera_front", 2, image()),
        "camera_side": lambda: lockstep.put_image("camera_side", 2, image()),
        "joint_states": lambda: put_joints(lockstep, 2),
        "reward": lambda: lockstep.put_reward(reward(2, 2)),
    }
    for name, put in parts.items():
        clock.at(0.4 if name == late else 0.1, put)
    observation = lockstep.observe(1, 1.0, Wanted(reward=True))
    assert (observation.stamp, observation.reward.reward) == (2, 2)
    assert clock.now() == 0.4


@pytest.mark.parametrize("lost", ["joint_states", "reward", "camera_side"])
def test_lockstep_names_what_is_missing(lockstep, lost):
    put_all(lockstep, 1)
    lockstep.put_image("camera_front", 2, image())
    if lost != "camera_side":
        lockstep.put_image("camera_side", 2, image())
    if lost != "joint_states":
        put_joints(lockstep, 2)
    if lost != "reward":
        lockstep.put_reward(reward(2))
    with pytest.raises(RobotError, match=rf"^no .*{lost} for 2\.0 s$"):
        lockstep.observe(1, 2.0, Wanted(reward=True))


def test_the_first_observation_needs_no_reward(lockstep):
    put_pair(lockstep, 1, 1)
    put_joints(lockstep, 1)
    assert lockstep.observe(None, 1.0).reward is None


def test_a_repeated_observation_is_given_again(lockstep, clock):
    put_all(lockstep, 1)
    assert lockstep.observe(None, 1.0).stamp == 1
    clock.at(0.5, lambda: put_all(lockstep, 1))
    assert lockstep.observe(1, 1.0, Wanted(reward=True)).stamp == 1
    assert clock.now() == 0.5


# No cameras.


@pytest.mark.parametrize("factor", [0.0, 1.0], ids=["lockstep", "real time"])
def test_a_robot_without_cameras_is_observed_by_its_joints(spec, clock, factor):
    spec = replace(spec, cameras=(), real_time_factor=factor)
    assembler = Assembler(spec, clock, lambda source, fault: None)
    put_joints(assembler, 5, 0.5)
    found = assembler.observe(None, 1.0)
    assert (found.stamp, found.images.shape) == (5, (64, 0, 3))
    assert found.joints.position == pytest.approx([0.5] * 3)
    with pytest.raises(RobotError, match=r"^no joint_states for 1\.0 s$"):
        assembler.observe(5, 1.0)
