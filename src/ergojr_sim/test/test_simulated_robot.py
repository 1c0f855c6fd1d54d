"""Lockstep, real time, watchdog and stamps, without ROS and without waiting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from ergojr_sim.config import SimConfig
from ergojr_sim.environment import PokeEnvironment
from ergojr_sim.simulated_robot import (
    PERIOD_NS,
    REPUBLISH_SECONDS,
    SimulatedRobot,
    TimeStep,
    _Reset,
    start_stamp,
)
from planet_core.robot import ResetResult

NOW = 1_800_000_000.0  # Unix time
ZERO = np.zeros(4)
PERIOD = 0.05


class Rig:
    """A simulated robot with a clock that the test moves."""

    def __init__(self, **config: object) -> None:
        self.now = 100.0
        self.published: list[TimeStep] = []
        self.reports: list[tuple[str, str, str]] = []
        self.config = SimConfig(**config)  # type: ignore[arg-type]
        self.robot = SimulatedRobot(
            self.config,
            self.published.append,
            lambda *report: self.reports.append(report),
            PokeEnvironment(self.config.control, (), max_steps=self.config.max_steps),
            clock=lambda: self.now,
            wall=lambda: NOW,
        )

    def serve(self, times: int = 1) -> None:
        for _ in range(times):
            self.robot.serve(0.0)

    def reset(self, seed: int = 1) -> ResetResult:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.robot.reset, seed)
            while not answer.done():
                self.serve()
            return answer.result()

    def command(self, stamp: int, values: np.ndarray = ZERO) -> None:
        self.robot.command(stamp, values)
        self.serve()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.serve()

    @property
    def last(self) -> TimeStep:
        return self.published[-1]

    def level(self, part: str) -> str:
        return next(level for name, level, _ in reversed(self.reports) if name == part)


@pytest.fixture
def lockstep() -> Rig:
    return Rig(max_steps=5)


@pytest.fixture
def paced() -> Rig:
    rig = Rig(real_time_factor=1.0, max_steps=20)
    rig.serve()
    return rig


def test_the_first_observation_has_the_stamp_of_the_answer_and_no_reward(lockstep: Rig) -> None:
    answer = lockstep.reset()
    assert answer.ok
    assert lockstep.last.stamp == answer.first_stamp
    assert not lockstep.last.valid


def test_lockstep_advances_one_tick_for_the_command_that_answers(lockstep: Rig) -> None:
    first = lockstep.reset().first_stamp
    lockstep.command(first)
    assert lockstep.last.stamp == first + PERIOD_NS
    assert lockstep.last.valid


@pytest.mark.parametrize("shift", [-PERIOD_NS, -1, 1, PERIOD_NS])
def test_lockstep_ignores_a_command_with_another_stamp_and_says_so(
    lockstep: Rig, shift: int
) -> None:
    first = lockstep.reset().first_stamp
    lockstep.command(first + shift)
    assert lockstep.last.stamp == first
    assert lockstep.level("joint_command") == "warn"
    lockstep.command(first)
    assert lockstep.level("joint_command") == "ok"


def test_the_same_command_twice_is_one_tick(lockstep: Rig) -> None:
    first = lockstep.reset().first_stamp
    lockstep.command(first)
    lockstep.command(first)
    assert lockstep.last.stamp == first + PERIOD_NS


def test_lockstep_publishes_again_while_it_waits_and_nothing_moves(lockstep: Rig) -> None:
    lockstep.reset()
    before = lockstep.last
    count = len(lockstep.published)
    lockstep.advance(REPUBLISH_SECONDS - 0.01)
    assert len(lockstep.published) == count
    lockstep.advance(0.02)
    assert len(lockstep.published) == count + 1
    assert lockstep.last is before


def test_an_episode_ends_after_max_steps_and_takes_no_more_commands(lockstep: Rig) -> None:
    stamp = lockstep.reset().first_stamp
    for _ in range(5):
        lockstep.command(stamp)
        stamp += PERIOD_NS
    assert lockstep.last.truncated
    assert not lockstep.last.terminated
    lockstep.command(stamp)
    assert lockstep.last.stamp == stamp
    assert lockstep.level("joint_command") == "warn"


def test_a_seed_decides_the_episode_and_minus_one_takes_the_next(lockstep: Rig) -> None:
    def start(seed: int) -> list[float]:
        lockstep.reset(seed)
        return [lockstep.last.distance, *lockstep.last.joints.position.tolist()]

    assert start(7) == start(7)
    assert start(-1) != start(-1)


def test_the_cubes_place_is_in_the_state_only_when_asked_for() -> None:
    arm, both = Rig(), Rig(cube_in_state=True)
    places = set()
    for seed in (5, 6):
        arm.reset(seed)
        both.reset(seed)
        joints, more = arm.last.joints, both.last.joints
        assert [values.shape for values in (joints.position, joints.velocity)] == [(6,), (6,)]
        assert more.velocity.shape == more.effort.shape == (len(both.config.state_names),)
        np.testing.assert_allclose(more.position[:6], joints.position, atol=1e-9)
        x, y = more.position[6:]
        assert -0.12 <= x <= 0.12
        assert 0.10 <= y <= 0.17
        places.add((x, y))
    assert len(places) == 2
    assert arm.config.state_names == ("m1", "m2", "m3", "m4", "m5", "m6")


def test_the_nodes_own_episodes_follow_from_its_seed() -> None:
    def starts(seed: int) -> list[float]:
        rig = Rig(seed=seed)
        return [rig.last.distance for _ in range(3) if rig.reset(-1)]

    assert starts(4) == starts(4)
    assert starts(4) != starts(5)


def test_stamps_grow_across_resets(lockstep: Rig) -> None:
    for _ in range(3):
        lockstep.command(lockstep.reset().first_stamp)
    stamps = [observation.stamp for observation in lockstep.published]
    assert all(b > a for a, b in pairwise(stamps))


def test_a_restarted_simulator_uses_no_stamp_again() -> None:
    # 300 ticks/s for an hour, then a restart within the second.
    end = start_stamp(NOW) + 300 * 3600 * PERIOD_NS
    assert start_stamp(NOW + 3600.0 + 1.0) > end


def test_stamps_fit_the_message_for_years() -> None:
    for year in range(20):
        seconds = start_stamp(NOW + year * 3.15e7) // 10**9
        assert 0 <= seconds < 2**31 - 10**6


def test_a_touch_terminates(lockstep: Rig) -> None:
    environment = lockstep.robot._environment
    stamp = lockstep.reset().first_stamp
    tip = environment.world.tip()
    environment.world._bullet.resetBasePositionAndOrientation(
        environment.world._cube, np.add(tip, [0.0, 0.02, 0.0]).tolist(), [0, 0, 0, 1]
    )
    lockstep.command(stamp)
    assert lockstep.last.terminated
    assert lockstep.last.touched
    assert lockstep.last.reward > 0.5


def test_the_emergency_stop_takes_the_torque_off_until_released(lockstep: Rig) -> None:
    stamp = lockstep.reset().first_stamp
    lockstep.robot.emergency_stop(True)
    lockstep.serve()
    lockstep.command(stamp, np.full(4, 0.1))
    assert (lockstep.last.joints.effort == 0.0).all()
    assert lockstep.level("emergency_stop") == "error"
    answer = lockstep.reset()
    assert not answer.ok
    assert "emergency stop" in answer.message
    lockstep.robot.emergency_stop(False)
    lockstep.serve()
    stamp = lockstep.reset().first_stamp
    lockstep.command(stamp, np.full(4, 0.05))
    assert (lockstep.last.joints.effort[[0, 1, 2, 4]] == 0.05).all()


def test_real_time_ticks_follow_the_clock(paced: Rig) -> None:
    paced.reset()
    before = paced.last.stamp
    for _ in range(8):
        paced.advance(PERIOD / 4)
    assert paced.last.stamp == before + 2 * PERIOD_NS


def test_a_real_time_factor_changes_the_pace() -> None:
    rig = Rig(real_time_factor=2.0)
    rig.serve()
    before = rig.last.stamp
    for _ in range(4):
        rig.advance(PERIOD / 2)
    assert rig.last.stamp == before + 4 * PERIOD_NS


def test_an_episode_starts_counting_with_its_first_command(paced: Rig) -> None:
    stamp = paced.reset().first_stamp
    pose = paced.last.joints.position
    for _ in range(30):  # more than max_steps
        paced.advance(PERIOD)
        assert not paced.last.valid
    np.testing.assert_allclose(paced.last.joints.position, pose, atol=0.03)
    paced.command(paced.last.stamp)
    paced.advance(PERIOD)
    assert paced.last.valid
    assert not paced.last.truncated
    assert paced.last.stamp > stamp


def test_the_newest_command_is_held_until_the_watchdog_lets_go(paced: Rig) -> None:
    paced.reset()
    push = np.array([0.1, 0.0, 0.0, 0.0])
    paced.command(paced.last.stamp, push)
    efforts = []
    for _ in range(5):
        paced.advance(PERIOD)
        efforts.append(paced.last.joints.effort[0])
    # 2.5 periods after its arrival: two ticks under the command, then none.
    assert efforts == [0.1, 0.1, 0.0, 0.0, 0.0]
    assert paced.level("watchdog") == "warn"
    paced.command(paced.last.stamp, push)
    paced.advance(PERIOD)
    assert paced.last.joints.effort[0] == 0.1
    assert paced.level("watchdog") == "ok"


def test_a_command_for_an_old_observation_is_ignored(paced: Rig) -> None:
    stamp = paced.reset().first_stamp
    for _ in range(12):
        paced.advance(PERIOD)
    paced.command(stamp, np.full(4, 0.1))
    paced.advance(PERIOD)
    assert not paced.last.valid
    assert paced.level("joint_command") == "warn"


def test_a_command_for_a_future_observation_is_ignored(paced: Rig) -> None:
    stamp = paced.reset().first_stamp
    paced.command(stamp + 2 * PERIOD_NS, np.full(4, 0.1))
    paced.advance(PERIOD)
    assert not paced.last.valid


def test_after_the_episode_the_arm_is_held(paced: Rig) -> None:
    paced.reset()
    while not paced.last.truncated:
        paced.command(paced.last.stamp, np.array([0.0, 0.05, 0.0, 0.0]))
        paced.advance(PERIOD)
    pose = paced.last.joints.position
    for _ in range(20):
        paced.advance(PERIOD)
        assert not paced.last.valid
    np.testing.assert_allclose(paced.last.joints.position, pose, atol=0.05)


def test_a_late_tick_is_not_caught_up(paced: Rig) -> None:
    paced.reset()
    before = paced.last.stamp
    paced.advance(10 * PERIOD)
    paced.serve(20)
    assert paced.last.stamp == before + PERIOD_NS


def test_close_ends_the_thread() -> None:
    rig = Rig()
    rig.robot._clock = time.monotonic
    thread = threading.Thread(target=rig.robot.run)
    thread.start()
    rig.robot.close()
    thread.join(2.0)
    assert not thread.is_alive()


def test_reset_does_not_wait_for_ever_for_a_thread_that_is_not_there() -> None:
    answer = Rig().robot.reset(0, timeout=0.01)
    assert not answer.ok
    assert "did not answer" in answer.message


def test_a_reset_does_not_keep_a_simulator_that_ends() -> None:
    robot = Rig().robot
    pending: Future[ResetResult] = Future()
    robot._inbox.put(_Reset(0, pending))
    robot.close()
    robot.run()
    assert pending.result(timeout=0.0) == robot.reset(1, timeout=20.0)
    assert pending.result().message == "the simulation has ended"
