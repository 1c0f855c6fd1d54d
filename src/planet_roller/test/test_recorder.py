from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planet_roller.recorder import Recorder
from planet_roller.robot import JointSample, Observation, RewardSample, RobotError

MS = 1_000_000
TICK = 50 * MS


def observation(tick: float) -> Observation:
    return Observation(
        int(tick * TICK), int(tick * TICK), np.full((64, 128, 3), int(tick), np.uint8), 0.0, 0.0
    )


def reward(tick: float, value: float = 1.0, **flags: bool) -> RewardSample:
    defaults = {"valid": True, "terminated": False, "truncated": False, "touched": False}
    return RewardSample(int(tick * TICK), value, **{**defaults, **flags})


def joint(tick: float, value: float) -> JointSample:
    array = np.full(3, value, np.float32)
    return JointSample(int(tick * TICK), array, array, array)


def build(recorder: Recorder):
    metadata = {"action_repeat": "1", "seed": "-1", "created": "0.0"}
    return recorder.build(id_="e", policy="random", weights_version=0, metadata=metadata)


def record(spec, ticks, rewards, joints=None) -> Recorder:
    """An episode with a decision at each of `ticks`."""
    recorder = Recorder(spec, observation(ticks[0]))
    recorder.signals(joints or [joint(tick, 0.0) for tick in ticks], rewards)
    for before, tick in pairwise(ticks):
        action = np.full(2, tick / 100, np.float32)
        recorder.step(observation(tick), action, int(tick - before), 0)
    return recorder


def test_a_row_sums_the_rewards_of_its_ticks(spec):
    episode = build(record(spec, [0, 2, 4], [reward(i, i) for i in range(1, 5)]))
    assert episode.reward.tolist() == [0, 1 + 2, 3 + 4]
    assert episode.reward_valid.tolist() == [False, True, True]
    assert episode.images[:, 0, 0, 0].tolist() == [0, 2, 4]
    assert episode.action[:, 0] == pytest.approx([0.0, 0.02, 0.04])


def test_the_reward_of_one_lost_tick_makes_its_row_invalid_and_no_other(spec):
    episode = build(record(spec, [0, 2, 4], [reward(1), reward(3), reward(4)]))
    assert episode.reward_valid.tolist() == [False, False, True]
    assert episode.reward.tolist() == [0, 0, 2]


def test_a_reward_that_was_not_measured_makes_its_row_invalid(spec):
    episode = build(record(spec, [0, 1], [reward(1, 3.0, valid=False)]))
    assert not episode.reward_valid.any()


def test_cameras_faster_than_ticks_neither_raise_the_return_nor_void_it_with_one_bad_image(spec):
    rewards = [reward(2 / 3, 1), reward(4 / 3, 9, valid=False), reward(2, 3)]
    episode = build(record(spec, [0, 2], rewards))
    assert episode.reward_valid[1]
    assert episode.reward[1] == 2 * (1 + 3) / 2


def test_the_verdict_before_the_last_has_had_time_for_late_rewards(spec):
    recorder = record(spec, [0, 2, 4], [reward(1), reward(2), reward(3)])
    assert recorder.verdict(back=1).valid
    assert not recorder.verdict().valid


def test_the_reward_of_the_first_observation_belongs_to_nobody(spec):
    episode = build(record(spec, [0, 1], [reward(0, 100.0), reward(1, 1.0)]))
    assert episode.episode_return == 1.0


def test_a_reward_that_is_sent_twice_counts_once(spec):
    episode = build(record(spec, [0, 1], [reward(1, 2.0), reward(1, 2.0)]))
    assert episode.episode_return == 2.0


def test_a_touch_ends_the_episode_where_it_happened(spec):
    """Rows after it, recorded before the late reward came, are cut off."""
    rewards = [reward(i, i) for i in (1, 2)] + [reward(3, 3, terminated=True, touched=True)]
    episode = build(record(spec, [0, 1, 2, 3, 4, 5], [*rewards, reward(4), reward(5)]))
    assert episode.steps == 3
    assert episode.terminated.tolist() == [False, False, False, True]
    assert episode.touched.tolist() == [False, False, False, True]
    assert not episode.truncated.any()
    assert episode.episode_return == 6


def test_a_touch_within_a_decision_cuts_its_rewards_there(spec):
    rewards = [reward(1, 1), reward(2, 2), reward(3, 3, terminated=True), reward(4, 100)]
    episode = build(record(spec, [0, 2, 4], rewards))
    assert episode.reward.tolist() == [0, 3, 3]
    assert episode.reward_valid[2]


def test_time_that_is_over_is_truncated_and_not_terminated(spec):
    episode = build(record(spec, [0, 1, 2], [reward(1), reward(2)]))
    assert episode.truncated.tolist() == [False, False, True]
    assert not episode.terminated.any()


def test_each_row_has_the_joint_states_nearest_in_time(spec):
    joints = [joint(t / 10, t) for t in range(0, 22)]
    episode = build(record(spec, [0, 0.96, 2.04], [], joints))
    assert episode.position[:, 0].tolist() == [0, 10, 20]


def test_a_row_keeps_the_joint_states_that_the_policy_saw(spec):
    seen = [replace(observation(t), joints=joint(t - 0.4, t)) for t in (0, 1)]
    recorder = Recorder(spec, seen[0])
    recorder.step(seen[1], np.zeros(2, np.float32), 1, 0)
    recorder.signals([joint(t, 99) for t in (0, 1)], [])
    assert build(recorder).position[:, 0].tolist() == [0, 1]


def test_an_episode_without_joint_states_is_not_built(spec):
    for joints in ([], [joint(0, 0.0)]):
        recorder = record(spec, [0, 3], [], [joint(-9, 0.0)])
        recorder.signals(joints, [])
        with pytest.raises(RobotError, match="no joint_states within 100 ms"):
            build(recorder)


def test_an_episode_without_a_decision_is_not_built(spec):
    with pytest.raises(RobotError, match="before the first decision"):
        build(Recorder(spec, observation(0)))


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    lost=st.sets(st.integers(1, 32)),
    end=st.integers(1, 40),
)
def test_valid_rows_hold_exactly_the_rewards_of_their_ticks(spec, lengths, lost, end):
    ticks = [0, *np.cumsum(lengths).tolist()]
    last = min(end, ticks[-1])
    rewards = [
        reward(t, 2.0**t, terminated=t == end) for t in range(1, ticks[-1] + 1) if t not in lost
    ]
    episode = build(record(spec, ticks, rewards))
    ended = end <= ticks[-1] and end not in lost
    for row, (low, high) in enumerate(pairwise(ticks), start=1):
        if row > episode.steps:
            assert ended
            assert low >= last
            break
        inside = range(low + 1, (min(high, end) if ended else high) + 1)
        complete = not lost & set(inside)
        assert episode.reward_valid[row] == complete
        assert episode.reward[row] == (sum(2.0**t for t in inside) if complete else 0.0)
