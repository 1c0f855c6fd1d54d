from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from planet_core.method import TooSlowError
from planet_model.config import PlannerConfig
from planet_roller.inbox import ReplayStatus
from planet_roller.policy import WeightsRefusedError
from planet_roller.spool import SpoolError

PERIOD = 0.05


# Lockstep: one command for each observation.


def test_an_episode_has_the_time_convention(bench):
    """Row t holds o_t, the action that led to it, and its reward."""
    b = bench()
    b.run()
    (episode,) = b.episodes
    assert episode.steps == 10
    assert episode.images[:, 0, 0, 0].tolist() == list(range(11))
    assert episode.reward.tolist() == list(range(11))
    assert episode.position[:, 0].tolist() == list(range(11))
    for t, (_, effort, stamp) in enumerate(b.robot.commands):
        assert stamp == episode.stamp[t]
        assert effort == pytest.approx(episode.action[t + 1] * (0.1, 0.2))
    assert episode.truncated[-1]
    assert not episode.terminated.any()


@pytest.mark.parametrize("real_time", [False, True])
def test_the_policy_sees_the_joint_state_of_its_images_and_the_episode_keeps_it(bench, real_time):
    b = bench(real_time=real_time, seed_episodes=0)
    b.inbox.put_weights(b.weights())
    b.run()
    (episode,), agent = b.episodes, b.agents[-1]
    shown = episode.images[:, 0, 0, 0].tolist()
    dry_run = 22 if real_time else 0
    states = agent.states[dry_run:]
    assert [state.tolist() for state in states] == [[tick] * 6 for tick in shown[: len(states)]]
    assert episode.position[:, 0].tolist() == episode.velocity[:, 0].tolist() == shown


@pytest.mark.parametrize("real_time", [False, True])
def test_a_robot_without_cameras_acts_on_its_joints(bench, real_time):
    b = bench(real_time=real_time, cameras=())
    b.run()
    (episode,) = b.episodes
    assert episode.images.shape == (11, 64, 0, 3)
    assert episode.position[:, 0].tolist() == list(range(11))
    assert episode.reward_valid[1:].all()


def test_a_decision_holds_r_ticks_and_sums_their_rewards(bench):
    b = bench(action_repeat=4)
    b.run()
    (episode,) = b.episodes
    assert episode.images[:, 0, 0, 0].tolist() == [0, 4, 8, 10]  # cut at the end
    assert episode.reward.tolist() == [0, 1 + 2 + 3 + 4, 5 + 6 + 7 + 8, 9 + 10]
    assert episode.reward_valid[1:].all()
    assert len(b.robot.commands) == 10
    sent = Counter(tuple(effort) for _, effort, _ in b.robot.commands)
    assert list(sent.values()) == [4, 4, 2]


def test_a_touch_cuts_a_decision_short(bench):
    b = bench(action_repeat=4)
    b.robot.terminate_at = 6
    b.run()
    (episode,) = b.episodes
    assert episode.reward.tolist() == [0, 10, 5 + 6]
    assert episode.terminated.tolist() == [False, False, True]
    assert episode.touched_any
    assert not episode.truncated.any()
    assert len(b.robot.commands) == 6


def test_the_roller_ends_an_episode_that_the_robot_does_not_end(bench):
    b = bench(action_repeat=3)
    b.robot.truncates = False
    b.run()
    (episode,) = b.episodes
    assert len(b.robot.commands) == 10
    assert episode.truncated.tolist() == [False, False, False, False, True]


def test_a_command_that_was_lost_is_sent_again_when_the_robot_asks(bench):
    b = bench()
    b.robot.on_tick = lambda tick: setattr(b.robot, "lost_commands", int(tick == 4))
    b.run()
    (episode,) = b.episodes
    stamps = [stamp for _, _, stamp in b.robot.commands]
    assert len(stamps) == 11
    assert stamps[4] == stamps[5]
    assert (b.robot.commands[4][1] == b.robot.commands[5][1]).all()
    assert episode.reward.tolist() == list(range(11))


def test_a_robot_that_never_gets_a_command_is_given_up(bench):
    b = bench(observation_timeout=2.0)
    b.robot.lost_commands = 5
    b.run()
    given_up = [message for name, _, message in b.telemetry.reports if name == "episode"]
    assert "repeated its observation 4 times" in given_up[0]
    assert len(b.robot.resets) == 2
    assert b.episodes[0].steps == 10


def test_every_decision_is_told(bench):
    b = bench(action_repeat=4)
    b.robot.terminate_at = 6
    b.run()
    first, last = b.telemetry.transitions
    assert (first.step, first.reward, first.episode_return) == (1, 10, 10)
    assert (last.step, last.reward, last.episode_return) == (2, 11, 21)
    assert last.terminated
    assert last.touched
    assert not last.truncated
    assert first.episode_id == b.episodes[0].id


def test_an_episode_is_one_line_in_the_log(bench):
    b = bench()
    b.robot.terminate_at = 3
    b.run()
    assert b.telemetry.lines == ["random episode: 3 steps, return 6.00, touched"]


def test_an_episode_s_name_says_robot_and_time_and_is_unique(bench):
    b = bench()
    b.run(20)
    names = [episode.id for episode in b.episodes]
    assert len(set(names)) == 20
    for name in names:
        robot, time, rest = name.split("-")
        assert robot == "ergojr"
        assert len(time) == len("20261120T134501Z")
        assert len(rest) == 8


# Real time: ticks of the steady clock.


def planner_bench(bench, time_of, **config):
    """In real time, with an agent whose n-th plan takes `time_of(n)` s; no dry run."""
    b = bench(real_time=True, seed_episodes=0, **config)
    b.inbox.put_weights(b.weights())

    def slow(agent):
        # The dry run comes first: only the episodes' plans take time.
        agent.time_of = lambda count: 0.0 if count < 22 else time_of(count - 22)

    b.new_agent = slow
    return b


def intervals(b):
    return np.diff([time for time, _, _ in b.robot.commands])


def test_a_command_goes_out_every_tick(bench):
    b = planner_bench(bench, lambda _: 0.01, action_repeat=2)
    b.run()
    times = np.array([time for time, _, _ in b.robot.commands])
    ticks = (times - times[0]) / PERIOD
    assert np.floor(ticks + 0.21).tolist() == list(range(10))
    (episode,) = b.episodes
    assert not episode.missed_ticks.any()
    assert episode.steps == 5
    assert episode.reward.tolist() == [0, 1 + 2, 3 + 4, 5 + 6, 7 + 8, 9 + 10]


def test_a_late_plan_is_a_missed_tick_counted_where_it_happened(bench):
    b = planner_bench(bench, lambda n: 0.12 if n == 3 else 0.01)
    b.run()
    (episode,) = b.episodes
    assert episode.missed_ticks.tolist() == [0, 0, 0, 0, 2] + [0] * (episode.steps - 4)
    assert b.telemetry.transitions[3].missed_ticks == 2
    assert episode.steps == 10 - 2  # max_steps counts ticks, missed ones too
    assert episode.episode_return == sum(range(1, 11))  # and no reward is lost


def test_after_a_late_plan_the_ticks_are_where_they_were(bench):
    b = planner_bench(bench, lambda n: 0.08 if n == 3 else 0.0)
    b.run()
    times = [time for time, _, _ in b.robot.commands]
    phase = np.mod(np.array(times) - times[0] + 1e-9, PERIOD)
    assert phase[3] == pytest.approx(0.03, abs=1e-6)
    assert np.delete(phase, 3) == pytest.approx(np.zeros(len(phase) - 1), abs=1e-6)


def test_no_action_is_sent_more_than_r_times(bench):
    def time_of(decision):
        b.agents[0].value = decision / 10
        return 0.09 if decision == 1 else 0.0

    b = planner_bench(bench, time_of, action_repeat=3)
    b.run()
    sent = Counter(effort[0] for _, effort, _ in b.robot.commands)
    assert max(sent.values()) <= 3
    (episode,) = b.episodes
    assert episode.missed_ticks.tolist()[:3] == [0, 0, 1]
    assert [sent[effort] for effort in sorted(sent)[:2]] == [3, 2]


def test_a_slow_first_plan_does_not_leave_the_robot_s_last_ticks_without_a_command(bench):
    b = planner_bench(bench, lambda n: 0.12 if n == 0 else 0.0)
    b.robot.truncates = False
    b.run()
    first = b.robot.commands[0][0]
    last = b.robot.repeats[-1][0]
    assert first + 9 * PERIOD <= last <= first + 10 * PERIOD


def test_a_command_s_stamp_grows_with_the_images_and_stands_still_without_them(bench):
    b = planner_bench(bench, lambda _: 0.01, action_repeat=2)
    sent = []

    def fail(tick):
        if tick == 5 and not sent:
            b.robot.mute.add("camera_side")
            b.clock.at(b.clock.now() + 1.0, see_again)

    def see_again():
        sent.extend(sorted(b.robot.commands + b.robot.repeats, key=lambda one: one[0]))
        b.robot.mute.clear()

    b.robot.on_tick = fail
    b.run()
    assert len({stamp for _, _, stamp in sent}) == 5  # the first image, and of the ticks 1 to 4
    blind = [time for time, _, stamp in sent if stamp == sent[-1][2]]
    assert blind[-1] - blind[0] < 2.3 * PERIOD  # one decision, and no new one


def test_images_that_come_a_little_before_or_after_a_tick_are_evenly_spaced(bench):
    b = planner_bench(bench, lambda _: 0.0, action_repeat=2)
    b.robot.jitter = lambda tick: 0.004 * (-1) ** (tick // 2)
    b.run()
    (episode,) = b.episodes
    assert np.diff(episode.stamp).tolist() == [100_000_000] * 5
    assert not episode.missed_ticks.any()


def test_the_real_time_factor_makes_ticks_shorter(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.robot.spec = replace(b.robot.spec, real_time_factor=5.0)
    b.run()
    assert intervals(b) == pytest.approx(np.full(9, 0.01))


def test_latency_is_from_the_image_s_arrival_to_the_command(bench):
    b = planner_bench(bench, lambda _: 0.02)
    b.run()
    for transition in b.telemetry.transitions:
        assert transition.planning_time == pytest.approx(0.02)
        assert transition.latency == pytest.approx(0.02, abs=1e-6)
        assert transition.image_age == pytest.approx(0.0, abs=1e-6)
    assert b.telemetry.values["control"]["latency_p50_ms"] == pytest.approx(20, abs=0.1)


def test_rewards_that_come_late_are_in_the_episode(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.robot.reward_delay = 0.12
    b.robot.terminate_at = 6
    b.run()
    (episode,) = b.episodes
    assert episode.reward.tolist() == list(range(7))
    assert episode.reward_valid[1:].all()
    assert episode.terminated[-1]


def test_missing_rewards_are_invalid_and_the_robot_goes_on(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.robot.mute = {"reward"}
    b.run()
    (episode,) = b.episodes
    assert episode.steps == 10
    assert not episode.reward_valid.any()
    assert episode.truncated[-1]
    assert b.telemetry.last("reward") == (
        "warn",
        "10 of 10 rewards are missing in the last episode",
    )


def test_one_missing_reward_does_not_spoil_its_neighbours(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.robot.on_tick = lambda tick: setattr(b.robot, "mute", {"reward"} if tick == 4 else set())
    b.run()
    assert np.flatnonzero(~b.episodes[0].reward_valid).tolist() == [0, 4]


def test_a_planner_of_which_no_iteration_fits_is_refused_before_the_robot_moves(bench):
    b = bench(real_time=True, seed_episodes=0, action_repeat=2)
    b.inbox.put_weights(b.weights())
    b.new_agent = lambda agent: setattr(agent, "time_of", lambda _: 0.079)
    b.run()
    assert b.telemetry.last("planner")[0] == "ok"
    b = bench(real_time=True, seed_episodes=0, action_repeat=2)
    b.inbox.put_weights(b.weights())
    b.new_agent = lambda agent: setattr(agent, "time_of", lambda _: 0.081)
    with pytest.raises(TooSlowError, match="81 ms"):
        b.run()
    assert not b.robot.resets


def test_in_real_time_a_plan_has_until_its_share_of_the_decision_and_in_lockstep_no_deadline(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.run()
    left = [seconds for seconds in b.agents[-1].left if seconds is not None]
    assert left == pytest.approx([0.45 * PERIOD] * len(left), abs=0.2 * PERIOD)
    assert len(left) == len(b.episodes[0].reward) - 1
    b = bench(seed_episodes=0)
    b.inbox.put_weights(b.weights())
    b.run()
    assert set(b.agents[-1].left) == {None}


def test_what_computes_and_its_budget_are_told_once_and_again_when_they_change(bench):
    b = planner_bench(bench, lambda _: 0.0)

    def other(agent):
        agent.planner.title = "another" if agent.version == 3 else "fake"
        agent.planner.warning = "it is slow" if agent.version == 3 else ""

    b.new_agent = other
    versions = iter((2, 3))
    b.courier.on_submit = lambda _: b.inbox.put_weights(b.weights(next(versions, 3)))
    b.run(3)
    told = [line for line in b.telemetry.lines if line.startswith("planner: ")]
    assert len(told) == 2
    assert "fake, " in told[0]
    assert "10 iterations of 1000 candidates in 0 of" in told[0]
    assert "another, " in told[1]
    assert b.telemetry.last("planner") == ("warn", "it is slow")


def test_telemetry_tells_how_each_action_was_found(bench):
    b = bench(seed_episodes=1)
    b.inbox.put_weights(b.weights())
    b.run(2)
    first, last = b.telemetry.transitions[0], b.telemetry.transitions[-1]
    assert (first.planner, first.iterations, first.candidates) == ("", 0, 0)
    assert last.planner.startswith("fake, ")
    assert (last.iterations, last.candidates) == (10, 1000)


def test_an_agent_is_timed_once_and_not_at_each_version_of_its_weights(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.in_place = True
    b.run(1)
    alone = b.agents[0].count

    b = planner_bench(bench, lambda _: 0.0)
    b.in_place = True
    b.courier.on_submit = lambda _: b.inbox.put_weights(b.weights(len(b.episodes) + 2))
    b.run(3)
    assert [episode.weights_version for episode in b.episodes] == [1, 2, 3]
    timing = alone - len(b.episodes[0].action) + 1
    assert b.agents[0].count == timing + sum(len(e.action) - 1 for e in b.episodes)


def test_a_budget_that_the_agent_made_of_what_was_asked_is_kept(bench):
    b = planner_bench(bench, lambda _: 0.0)
    own = replace(PlannerConfig(), planner="random_shooting", iterations=1, elites=1)

    def searches_at_random(agent):
        agent.planner.config = own

    b.new_agent = searches_at_random
    b.run(1)
    assert b.agents[0].planner.config == own


def test_an_agent_of_another_model_is_timed_anew(bench):
    b = planner_bench(bench, lambda _: 0.0)
    b.courier.on_submit = lambda _: b.inbox.put_weights(b.weights(2))
    b.run(2)
    assert len(b.agents) == 2
    assert b.agents[1].count > len(b.episodes[1].action) - 1


# Policies and weights.


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_there_are_as_many_random_episodes_as_asked_for_while_weights_take_long(bench, mode):
    b = bench(seed_episodes=3, mode=mode, patience=400.0)
    b.clock.at(300.0, lambda: b.inbox.put_weights(b.weights(replay_sequence=3)))
    b.courier.on_submit = lambda _: (
        b.inbox.put_weights(b.weights(replay_sequence=len(b.episodes) + 1))
        if len(b.episodes) >= 3
        else None
    )
    b.run(5)
    assert [e.policy for e in b.episodes] == ["random"] * 3 + ["planner"] * 2
    assert b.clock.now() >= 300.0


def test_a_learner_that_lacks_an_episode_gets_another_random_one(bench):
    b = bench(seed_episodes=1, patience=60.0)
    b.courier.on_submit = lambda _: (
        b.inbox.put_weights(b.weights()) if len(b.episodes) == 1 else None
    )
    b.run(3)
    assert [e.policy for e in b.episodes] == ["random"] * 2 + ["planner"]
    waits = [report[1:] for report in b.telemetry.reports if report[0] == "weights"]
    assert waits[0] == ("warn", "no weights came in 60 s: a random episode is made")
    assert waits[1][0] == "ok"


def test_the_robot_does_not_outrun_the_learner(bench):
    b = bench(seed_episodes=0, train_ratio=0.5)
    b.inbox.put_weights(b.weights(1, update=10))
    b.inbox.put_status(ReplayStatus(1, 1, decisions=20))
    b.courier.decisions = 30  # after the first episode
    b.clock.at(50.0, lambda: b.inbox.put_weights(b.weights(2, update=15)))
    b.run(2)
    assert [episode.weights_version for episode in b.episodes] == [1, 2]
    assert b.clock.now() >= 50.0


def test_weights_alone_do_not_end_the_seed_episodes(bench):
    b = bench(seed_episodes=3)
    b.inbox.put_weights(b.weights())
    b.run(5)
    assert [e.policy for e in b.episodes] == ["random"] * 3 + ["planner"] * 2


def test_episodes_in_the_spool_count_as_seed_episodes(bench):
    b = bench(seed_episodes=3)
    b.inbox.put_weights(b.weights())
    b.courier.down = True
    b.run(4)
    assert [e.policy for e in b.episodes] == ["random"] * 3 + ["planner"]


def test_a_restart_adds_no_seed_episodes(bench):
    b = bench(seed_episodes=3, patience=60.0)
    b.inbox.status = None
    b.clock.at(2.0, lambda: b.inbox.put_status(ReplayStatus(3, 3)))
    b.clock.at(20.0, lambda: b.inbox.put_weights(b.weights(7)))
    b.run(1)
    assert [e.policy for e in b.episodes] == ["planner"]


def test_first_weights_that_are_refused_are_waited_out(bench):
    b = bench(seed_episodes=1)

    def refuse(agent):
        if agent.version == 1:
            raise WeightsRefusedError("weights 1 of run r: of another architecture")

    b.new_agent = refuse
    b.inbox.put_weights(b.weights(1))
    b.clock.at(20.0, lambda: b.inbox.put_weights(b.weights(2)))
    b.run(2)
    assert [e.weights_version for e in b.episodes] == [0, 2]


def test_a_robot_that_waits_for_weights_can_be_stopped(bench):
    b = bench(seed_episodes=0, patience=200.0)
    b.clock.at(100.0, b.inbox.stop)
    b.run(1)
    assert b.episodes == []


def test_weights_are_swapped_between_episodes_and_the_newest_wins(bench):
    b = bench(seed_episodes=0)
    b.inbox.put_weights(b.weights(1))

    def publish(tick):
        if len(b.episodes) == 0 and tick == 5:
            b.inbox.put_weights(b.weights(2))
            b.inbox.put_weights(b.weights(3))

    b.robot.on_tick = publish
    b.run(2)
    assert [agent.version for agent in b.agents] == [1, 3]
    assert [e.weights_version for e in b.episodes] == [1, 3]
    assert {t.weights_version for t in b.telemetry.transitions[:10]} == {1}


def test_refused_weights_leave_the_old_ones_acting(bench):
    b = bench(seed_episodes=0)
    b.inbox.put_weights(b.weights(1))

    def refuse(agent):
        if agent.version == 2:
            raise WeightsRefusedError("weights 2 of run r: of another architecture")

    b.new_agent = refuse
    b.courier.on_submit = lambda _: b.inbox.put_weights(b.weights(1 + len(b.episodes) + 1))
    b.run(3)
    assert [e.weights_version for e in b.episodes] == [1, 1, 3]
    levels = [r for r in b.telemetry.reports if r[0] == "weights"]
    assert levels[1] == ("weights", "error", "refused: weights 2 of run r: of another architecture")
    assert levels[2][1] == "ok"


def test_exploration_has_noise_and_every_nth_planned_episode_has_none(bench):
    b = bench(seed_episodes=0, evaluation_interval=3)
    b.inbox.put_weights(b.weights())
    b.run(6)
    assert [e.policy for e in b.episodes] == ["planner", "planner", "evaluation"] * 2
    noises = np.reshape(b.agents[0].noises, (6, 10))
    assert (noises == [[0.3], [0.3], [0.0]] * 2).all()


def test_only_evaluations_reset_with_seeds_held_out_and_increasing(bench):
    b = bench(seed_episodes=0, evaluation_interval=2)
    b.inbox.put_weights(b.weights())
    b.run(4)
    seeds = [seed for seed, _ in b.robot.resets]
    assert [evaluation for _, evaluation in b.robot.resets] == [False, True, False, True]
    assert seeds[1::2] == [1_000_000, 1_000_001]
    assert all(10_000_000 <= seed < 2**31 for seed in seeds[::2])
    assert seeds[0] != seeds[2]
    assert [e.metadata["seed"] for e in b.episodes] == [str(seed) for seed in seeds]


def test_short_sessions_are_evaluated_too_and_never_twice_from_one_seed(bench):
    seeds = []
    for newest in (1, 4, 7):
        b = bench(seed_episodes=1, evaluation_interval=4)
        b.inbox.put_status(ReplayStatus(newest, newest))
        b.inbox.put_weights(b.weights())
        b.run(3)
        seeds.append([seed for seed, evaluation in b.robot.resets if evaluation])
    assert seeds == [[], [1_000_000], [1_000_001]]


def test_who_only_evaluates_begins_with_the_first_seed_whatever_the_replay_holds(bench):
    b = bench(seed_episodes=0, evaluation_interval=1)
    b.inbox.put_status(ReplayStatus(3, 9))
    b.inbox.put_weights(b.weights())
    b.run(2)
    assert b.robot.resets == [(1_000_000, True), (1_000_001, True)]


def test_when_weights_come_changes_no_start(bench):
    starts = []
    for late in (False, True):
        b = bench(seed_episodes=1)
        b.clock.at(50.0 if late else 0.0, lambda b=b: b.inbox.put_weights(b.weights()))
        b.run(3)
        starts.append(b.robot.resets)
    assert starts[0] == starts[1]


def test_the_planner_is_given_what_it_asked_for_last(bench):
    b = bench(seed_episodes=0)
    b.inbox.put_weights(b.weights())
    b.run()
    seen = b.agents[0].seen
    assert [tick for tick, _ in seen] == list(range(10))
    assert not seen[0][1].any()
    assert all((action == 0.5).all() for _, action in seen[1:])


def test_the_seed_makes_actions_and_starts_reproducible_but_not_after_a_restart(bench):
    actions, starts = [], []
    for seed, newest in ((1, 0), (1, 0), (2, 0), (1, 4)):
        b = bench(seed=seed)
        b.inbox.put_status(ReplayStatus(0, newest))
        b.run()
        actions.append(b.episodes[0].action)
        starts.append(b.robot.resets[0])
    assert (actions[0] == actions[1]).all()
    assert (actions[0] != actions[2]).any()
    assert (actions[0] != actions[3]).any()
    assert starts[0] == starts[1]
    assert len(set(starts)) == 3


# Sync mode.


def test_sync_waits_for_weights_trained_on_the_last_episode(bench):
    b = bench(mode="sync", seed_episodes=2)
    times = []

    def train(_):
        sequence = len(b.episodes) + 1
        times.append(b.clock.now())
        if sequence >= 2:  # a stale version first, the one that counts a second later
            b.inbox.put_weights(b.weights(sequence, replay_sequence=sequence - 1))
            later = b.weights(100 + sequence, replay_sequence=sequence)
            b.clock.at(b.clock.now() + 1.0, lambda: b.inbox.put_weights(later))

    b.courier.on_submit = train
    b.run(4)
    assert [e.weights_version for e in b.episodes] == [0, 0, 102, 103]
    assert np.diff(times) == pytest.approx([0.0, 1.0, 1.0])


def test_sync_does_not_wait_for_an_evaluation_that_nobody_trains_on(bench):
    b = bench(mode="sync", seed_episodes=0, evaluation_interval=1)
    b.inbox.put_weights(b.weights(1, replay_sequence=0))
    b.run(3)
    assert [e.policy for e in b.episodes] == ["evaluation"] * 3
    assert b.clock.now() == 0.0


def test_sync_waits_after_a_restart_for_weights_trained_on_all_there_is(bench):
    b = bench(mode="sync", seed_episodes=0)
    b.inbox.put_status(ReplayStatus(5, 5))
    b.inbox.put_weights(b.weights(4, replay_sequence=4))
    b.courier.down = True
    b.courier.waiting = 1  # of the process before
    b.clock.at(2.0, lambda: b.inbox.put_weights(b.weights(5, replay_sequence=5)))
    b.clock.at(3.0, lambda: b.inbox.put_weights(b.weights(6, replay_sequence=6)))
    b.clock.at(3.0, lambda: setattr(b.courier, "waiting", 0))
    b.run()
    assert b.episodes[0].weights_version == 6


# Faults: the episode is given up, nothing invalid is stored, and it goes on.


@pytest.mark.parametrize("real_time", [False, True])
@pytest.mark.parametrize("source", ["camera_front", "camera_side", "joint_states"])
def test_a_source_that_fails_is_named_and_the_roller_goes_on_when_it_is_back(
    bench, real_time, source
):
    b = bench(real_time=real_time, observation_timeout=2.0)
    fail = {"on": True}

    def tick(number):
        if number == 4 and fail["on"]:
            b.robot.mute = {source}
            b.clock.at(b.clock.now() + 8.0, lambda: b.robot.mute.clear())
            fail["on"] = False

    b.robot.on_tick = tick
    b.run()
    (episode,) = b.episodes
    assert episode.truncated[-1]
    given_up = [r for r in b.telemetry.reports if r[0] == "episode" and r[1] == "warn"]
    assert source in given_up[0][2]
    assert len(b.robot.resets) >= 3
    assert b.telemetry.last(source)[0] == "ok"
    assert b.telemetry.last("episode")[0] == "ok"


def test_resets_back_off_while_nothing_works(bench):
    b = bench()
    b.robot.refuse_reset = "the arm is blocked"
    times = []
    reset = b.robot.reset

    def note(seed, evaluation):
        times.append(b.clock.now())
        if len(times) == 7:
            b.robot.refuse_reset = ""
        reset(seed, evaluation)

    b.robot.reset = note
    b.run()
    assert np.diff(times) == pytest.approx([0.5, 1, 2, 4, 5, 5])
    assert b.telemetry.reports[0] == ("episode", "warn", "given up: the arm is blocked")


@pytest.mark.parametrize("real_time", [False, True])
@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("tick", [4, 10])
def test_an_episode_in_which_the_robot_is_respawned_is_given_up(bench, real_time, announced, tick):
    b = bench(real_time=real_time)

    def killed(number):
        if number == tick and len(b.robot.resets) == 1:
            b.robot.respawn(announced=announced)

    b.robot.on_tick = killed
    b.run()
    assert b.telemetry.reports[0][:2] == ("episode", "warn")
    (episode,) = b.episodes
    assert episode.steps == 10
    assert np.diff(episode.stamp).max() == 50_000_000
    assert b.clock.now() < 5.0


@pytest.mark.parametrize("real_time", [False, True])
def test_joints_that_are_not_finite_end_the_episode_without_a_further_command(bench, real_time):
    b = bench(real_time=real_time)

    def tick(number):
        if number == 4 and len(b.robot.resets) == 1:
            b.robot.joint_value = float("nan")
            b.clock.at(b.clock.now() + 0.3, lambda: setattr(b.robot, "joint_value", 0.0))

    b.robot.on_tick = tick
    b.run()
    given_up = next(m for name, _, m in b.telemetry.reports if name == "episode")
    assert given_up == "given up: joint_states: the position of m1 is not finite"
    assert len(b.robot.resets) == 2
    assert all(np.isfinite(effort).all() for _, effort, _ in b.robot.commands)
    assert b.episodes[0].steps == 10


def test_a_plan_that_is_not_finite_is_never_sent(bench):
    b = bench(seed_episodes=0)
    b.inbox.put_weights(b.weights(1))

    def broken(agent):
        agent.value = np.nan if agent.version == 1 else 0.5

    b.new_agent = broken
    b.clock.at(3.0, lambda: b.inbox.put_weights(b.weights(2)))
    b.run()
    assert "not finite with weights 1" in next(
        m for name, _, m in b.telemetry.reports if name == "episode"
    )
    assert all(np.isfinite(effort).all() for _, effort, _ in b.robot.commands)
    assert b.episodes[0].weights_version == 2


def test_a_small_camera_is_told_in_one_sentence_and_the_roller_goes_on(bench):
    b = bench()
    b.robot.image_size = 32
    b.clock.at(5.0, lambda: setattr(b.robot, "image_size", 96))
    b.run()
    assert b.episodes[0].images.shape[1:] == (64, 128, 3)
    told = [r for r in b.telemetry.reports if r[0] == "camera_front"]
    assert told[0][1] == "error"
    assert "32x32" in told[0][2]
    assert told[-1][1] == "ok"
    assert len(told) == 2


def test_a_full_spool_pauses_the_robot_until_the_replay_takes_episodes(bench):
    b = bench(spool_capacity=3)
    b.courier.down = True

    def back():
        b.courier.down = False
        b.courier.waiting = 0
        b.inbox.notify()

    b.clock.at(100.0, back)
    b.run(4)
    assert ("spool", "error") in [r[:2] for r in b.telemetry.reports]
    sentence = next(m for n, level, m in b.telemetry.reports if n == "spool" and level == "error")
    assert sentence.startswith("3 episodes wait for the replay; the robot pauses")
    assert b.clock.now() >= 100.0
    assert b.telemetry.last("spool")[0] == "ok"


def test_an_episode_that_the_disk_refuses_is_kept_until_it_takes_it(bench):
    b = bench()
    refused = []

    def full(episode):
        if b.clock.now() < 12.0:
            refused.append(episode.id)
            raise SpoolError("no space left")

    b.courier.on_submit = full
    b.run()
    assert len(refused) >= 2
    assert b.episodes[0].id == refused[0]


def test_a_stopped_loop_stores_no_half_episode(bench):
    b = bench()
    b.robot.on_tick = lambda tick: b.inbox.stop() if tick == 4 else None
    b.run()
    assert b.episodes == []


# What is looked at.


def test_the_prediction_image_is_made_only_when_somebody_looks_and_after_the_command(bench):
    for watched in (False, True):
        b = planner_bench(bench, lambda _: 0.0)
        b.telemetry.watched = watched
        b.run(3)
        assert bool(b.telemetry.predictions) == watched
        if watched:
            assert len(b.telemetry.predictions) <= 1 + b.clock.now() / 0.4


def test_missed_ticks_in_plenty_are_a_warning(bench):
    b = planner_bench(bench, lambda _: 0.06)
    b.run()
    level, message = b.telemetry.last("control")
    assert level == "warn"
    assert "ticks were missed" in message
