"""The driver's state machine on motors and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergojr_description import xl320
from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import JOINT_HIGH, JOINT_LOW, JOINT_NAMES
from ergojr_description.limiter import Limiter
from ergojr_description.xl320 import Register
from ergojr_driver.bus import (
    BusError,
    MotorCommand,
    MotorHealth,
    MotorRefusedError,
    MotorState,
    PortError,
    Reading,
    Scan,
)
from ergojr_driver.config import DriverConfig
from ergojr_driver.driver import Driver
from ergojr_driver.servo import GOAL_AHEAD, MOTORS, Calibration, Joints
from ergojr_driver.status import DriverError, Status
from planet_core.robot import ResetResult

NAMES = ("m1", "m2", "m3", "m5")
PERIOD = 0.01


class FakeBus:
    """Six motors that go to their goals at once in position mode, and stay otherwise.

    A motor whose torque comes on jumps to the goal that it was given last, as a real one would.
    """

    def __init__(self) -> None:
        self.time = 1000.0
        self.angles = dict.fromkeys(MOTORS, 0.0)
        self.goals = dict.fromkeys(MOTORS, 0.0)
        self.limits = dict.fromkeys(MOTORS, 0)
        self.torque = dict.fromkeys(MOTORS, False)
        self.tables: dict[int, dict[Register, int]] = {motor: {} for motor in MOTORS}
        self.health = {motor: MotorHealth(7.4, 30.0, 0) for motor in MOTORS}
        self.silent: set[int] = set()
        self.limp: set[int] = set()  # motors that do not switch their torque on
        self.lose: Callable[[], bool] = lambda: False  # an answer
        self.unplugged = False
        self.log: list[str] = []  # what changed the motors
        self.commands: list[Mapping[int, MotorCommand]] = []
        self.writes: list[tuple[int, Register]] = []
        self.reboots: list[int] = []
        self.follow = True

    def _pass(self) -> None:
        if self.unplugged:
            raise PortError("port gone is lost: Input/output error")
        self.time += 1e-4

    def read_state(self, motors: Sequence[int]) -> Reading:
        self._pass()
        answers = [m for m in motors if m not in self.silent and not self.lose()]
        if len(answers) < len(motors):
            self.time += 0.012
        states = {
            m: MotorState(
                self.angles[m], 0.0, 0.0, self.limits[m], self.health[m].hardware_error > 0
            )
            for m in answers
        }
        return Reading(states, len(motors) - len(answers))

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        self._pass()
        self.log.append("command")
        self.commands.append(commands)
        for motor, command in commands.items():
            self.goals[motor] = command.position
            self.limits[motor] = xl320.torque_to_raw(command.torque)
            if self.follow and self.torque[motor]:
                step = command.position - self.angles[motor]
                self.angles[motor] += min(max(step, -0.02), 0.02)

    def read_health(self, motor: int) -> MotorHealth:
        self._answer(motor)
        return self.health[motor]

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        self._pass()
        self.log.append("on" if on else "off")
        for motor in motors:
            if on and motor in self.limp:
                continue
            if on and not self.torque[motor] and self.follow:
                self.angles[motor] = self.goals[motor]
            self.torque[motor] = on

    def torque_off(self, motors: Sequence[int]) -> None:
        self.set_torque(motors, False)

    def ping(self, motor: int) -> int | None:
        self._pass()
        return None if motor in self.silent else self.tables[motor].get(xl320.MODEL_NUMBER, 350)

    def scan(self) -> Scan:
        self._pass()
        return Scan()

    def read(self, motor: int, register: Register) -> int:
        self._answer(motor)
        if register == xl320.TORQUE_ENABLE:
            return int(self.torque[motor])
        return self.tables[motor].get(register, 0)

    def write(self, motor: int, register: Register, value: int) -> None:
        self._answer(motor)
        assert not self.torque[motor]
        self.writes.append((motor, register))
        self.tables[motor][register] = value

    def reboot(self, motor: int) -> None:
        self.reboots.append(motor)
        self.health[motor] = replace(self.health[motor], hardware_error=0)

    def close(self) -> None:
        self.log.append("close")

    def _answer(self, motor: int) -> None:
        self._pass()
        if motor in self.silent or self.lose():
            self.time += 0.012
            raise BusError(f"motor {motor} did not answer")


class Arm:
    """A driver on a fake bus, and what it said."""

    def __init__(self, limits: LimiterConfig | None = None, **config: Any) -> None:
        self.bus = FakeBus()
        self.statuses: list[Status] = []
        self.joints: list[tuple[Joints, int]] = []
        self.reports: dict[str, tuple[str, str]] = {}
        self.stop_wanted = False
        self.driver = Driver(
            DriverConfig(**config),
            LimiterConfig() if limits is None else limits,
            self.open,
            lambda joints, stamp: self.joints.append((joints, stamp)),
            self.statuses.append,
            self.report,
            stop_wanted=lambda: self.stop_wanted,
            steady=lambda: self.bus.time,
            now=self.now,
            sleep=self.sleep,
        )

    def open(self) -> FakeBus:
        if self.bus.unplugged:
            raise PortError("port gone cannot be opened: No such file or directory")
        return self.bus

    def report(self, part: str, level: str, sentence: str, values: dict[str, object]) -> None:
        self.reports[part] = (level, sentence)

    def now(self) -> int:
        return round(self.bus.time * 1e9)

    def sleep(self, seconds: float) -> None:
        self.bus.time += seconds

    def cycle(self, count: int = 1) -> None:
        for _ in range(count):
            due = self.bus.time + PERIOD
            self.driver.cycle()
            self.bus.time = max(self.bus.time, due)

    def cycle_until(self, condition: Callable[[], bool], most: int = 1000) -> float:
        """Returns s that it took."""
        start = self.bus.time
        for _ in range(most):
            if condition():
                return self.bus.time - start
            self.cycle()
        raise AssertionError(f"still {self.driver.status}")

    def command(self, *efforts: float, age: float = 0.0) -> None:
        self.answer(self.now() - round(age * 1e9), *efforts)

    def answer(self, stamp: int, *efforts: float) -> None:
        """A command that answers the observation of `stamp`, ns."""
        self.driver.command(np.array(efforts or (0.0,) * 4), stamp, self.bus.time)

    def activate(self) -> None:
        self.driver.configure()
        self.cycle()
        self.driver.activate()

    def ready(self) -> ResetResult:
        if not self.driver.status.powered:
            self.activate()
        future = self.driver.reset(1)
        self.cycle_until(future.done)
        result = future.result()
        assert result.ok, result.message
        self.cycle()
        return result

    def drive(self) -> None:
        self.ready()
        self.command()
        self.cycle()
        assert self.driver.status.state == "driving"

    def commanding(self, count: int, *efforts: float) -> None:
        for index in range(count):
            if index % 5 == 0:
                self.command(*efforts)
            self.cycle()

    def off(self) -> bool:
        """Whether torque-off was the last thing that the motors were told."""
        told = [entry for entry in self.bus.log if entry != "close"]
        return told[-1] == "off" and not any(self.bus.torque.values())


@pytest.fixture
def arm() -> Arm:
    return Arm()


# Life without faults


def test_the_way_through_an_episode(arm: Arm) -> None:
    result = arm.ready()
    assert result.first_stamp <= arm.joints[-1][1]
    arm.commanding(500)
    assert [s.state for s in arm.statuses] == [
        *("inactive", "holding", "resetting", "ready", "driving")
    ]
    arm.cycle()
    assert arm.driver.status.state == "holding"  # 100 ticks are over
    arm.command()  # late: ignored
    arm.cycle(100)
    assert arm.driver.status == Status("holding", True, "")


def test_idle_is_no_fault(arm: Arm) -> None:
    arm.ready()
    arm.cycle(3000)
    assert arm.driver.status.state == "ready"


def test_a_touch_ends_the_episode_and_an_older_reward_does_not(arm: Arm) -> None:
    arm.drive()
    arm.driver.end_episode(1)
    assert arm.driver.status.state == "driving"
    arm.driver.end_episode(arm.now())
    assert arm.driver.status.state == "holding"


def test_reset_goes_to_the_rest_pose_with_its_noise_slowly(arm: Arm) -> None:
    arm.activate()
    arm.bus.angles = {1: 0.8, 2: -0.6, 3: 0.9, 4: 0.4, 5: -0.5, 6: 0.6}
    arm.driver.deactivate()
    arm.driver.activate()
    arm.ready()
    path = np.array([joints.position for joints, _ in arm.joints])
    assert np.abs(np.diff(path[2:], axis=0)).max() < 1.1 * arm.driver._config.reset_speed * PERIOD
    assert np.abs(path[-1]).max() < np.radians(18.5)
    assert np.abs(path[-1][[3, 5]]).max() < 1e-2
    again, other = Arm(), Arm()
    again.ready()
    other.activate()
    other.cycle_until((future := other.driver.reset(2)).done)
    assert future.result().ok
    last = [a.joints[-1][0].position for a in (arm, again, other)]
    assert np.allclose(last[0], last[1], atol=0.01)  # the same seed, the same start
    assert not np.allclose(last[0], last[2], atol=0.01)


def test_a_blocked_arm_fails_the_reset_and_holds(arm: Arm) -> None:
    arm.activate()
    arm.bus.follow = False
    arm.bus.angles[2] = 0.9
    arm.driver.deactivate()
    arm.driver.activate()
    future = arm.driver.reset(1)
    arm.cycle_until(future.done)
    assert not future.result().ok
    assert "m2 is" in future.result().message
    assert arm.driver.status.state == "holding"


def test_a_reset_stays_above_the_table_where_the_straight_way_does_not() -> None:
    arm = Arm(reset_noise=0.0)
    folded = np.array([0.0, 0.7, 1.0, 0.0, 1.4, 0.0])  # the hand points back at the arm's base
    arm.bus.angles = dict(zip(MOTORS, folded.tolist(), strict=True))
    assert Limiter().clear(folded) == ""
    assert "too low" in Limiter().clear_path(folded, np.zeros(6))
    arm.activate()
    future = arm.driver.reset(1)
    arm.cycle_until(future.done)
    # The limiter's own clearance is for what a step of it leaves out.
    table = Limiter(LimiterConfig(floor_clearance=0.0, range_margin=0.0))
    for sent in arm.bus.commands:
        assert table.clear(np.array([sent[motor].position for motor in MOTORS])) == ""


def test_a_reset_that_no_start_pose_is_clear_for_is_refused_and_not_gone() -> None:
    arm = Arm(rest_pose=(0.0, 1.4, 0.6, 0.0, 0.6, 0.0), reset_noise=0.1)  # in the table
    arm.activate()
    arm.cycle()
    future = arm.driver.reset(1)
    assert not future.result(0).ok
    assert future.result(0).message.startswith("no start pose is clear: ")
    assert arm.driver.status.state == "holding"
    arm.cycle(100)
    assert arm.bus.angles == dict.fromkeys(MOTORS, 0.0)


def test_a_start_pose_that_is_not_clear_is_drawn_again() -> None:
    end = float(JOINT_HIGH[0]) - LimiterConfig().range_margin  # half of the poses are beyond
    arm = Arm(rest_pose=(end, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert np.random.default_rng(0).uniform(-1.0, 1.0) > 0.0  # the first one is
    arm.bus.angles[1] = end
    arm.activate()
    future = arm.driver.reset(0)
    arm.cycle_until(future.done)
    assert future.result().ok, future.result().message


def test_effort_becomes_torque_with_a_goal_ahead(arm: Arm) -> None:
    arm.drive()
    at = dict(arm.bus.angles)
    arm.bus.follow = False
    arm.command(0.05, -0.04, 0.03, 0.0)
    arm.cycle()
    sent = arm.bus.commands[-1]
    assert [sent[m].torque for m in (1, 2, 3, 5)] == pytest.approx([0.05, 0.04, 0.03, 0.0])
    assert sent[1].position == pytest.approx(at[1] + GOAL_AHEAD)
    assert sent[2].position == pytest.approx(at[2] - GOAL_AHEAD)
    assert sent[3].position == pytest.approx(at[3] + GOAL_AHEAD)
    assert sent[4].position == pytest.approx(0.0, abs=0.01)  # held
    assert sent[1].speed == LimiterConfig().max_speed


def test_joint_states_are_in_the_order_of_their_names(arm: Arm) -> None:
    arm.activate()
    arm.bus.angles = {motor: motor / 10.0 for motor in MOTORS}
    arm.driver.deactivate()
    arm.cycle()
    assert arm.joints[-1][0].position == pytest.approx(np.arange(1, 7) / 10.0)
    assert len(JOINT_NAMES) == len(MOTORS)


def test_nothing_leaves_without_the_limiter() -> None:
    limits = LimiterConfig(max_effort=0.02, sustained_effort=0.02)
    arm = Arm(limits)
    arm.drive()
    arm.commanding(20, 1e6, -1e6, 1e6, -1e6)
    sent = [command.torque for commands in arm.bus.commands for command in commands.values()]
    assert max(sent) <= 0.02 + 1e-9
    assert arm.driver.status.state == "driving"


def test_a_rest_gives_the_sustained_effort_back(arm: Arm) -> None:
    arm.activate()
    arm.driver._limiter.tire()
    arm.ready()
    sent = []
    for seconds in (0, 40):
        arm.cycle(100 * seconds)
        arm.command(0.16, 0.0, 0.0, 0.0)
        arm.cycle()
        sent.append(arm.bus.commands[-1][1].torque)
        arm.driver.end_episode(arm.now())
        arm.ready()
    assert sent == pytest.approx([0.078, 0.16], abs=1e-3)


def test_the_limiter_sees_the_pose_of_the_same_cycle(arm: Arm) -> None:
    arm.drive()
    arm.bus.follow = False
    arm.bus.angles[1] = np.radians(151.0)  # beyond the range: it must push back at once
    arm.command(0.16, 0.0, 0.0, 0.0)
    arm.cycle()
    assert arm.bus.commands[-1][1].position < arm.bus.angles[1]


# Letting go


def drive_and(arm: Arm, happen: Callable[[Arm], object], most: int = 100) -> float:
    arm.drive()
    happen(arm)

    def one() -> bool:
        if arm.driver.status.powered:
            arm.command()
        return not arm.driver.status.powered

    return arm.cycle_until(one, most)


def test_a_command_that_is_none_lets_go(arm: Arm) -> None:
    arm.drive()
    before = arm.bus.time
    arm.driver.refuse_command("joint_command names nothing")
    assert arm.off()
    assert arm.bus.time - before < 0.1
    assert arm.driver.status == Status("fault", False, "joint_command names nothing")


@pytest.mark.parametrize("efforts", [(0.0, float("nan"), 0.0, 0.0), (0.0, 0.0)])
def test_a_command_that_is_none_lets_go_even_if_nobody_has_looked_at_it(
    arm: Arm, efforts: tuple[float, ...]
) -> None:
    arm.drive()
    arm.command(*efforts)
    assert arm.off()
    assert "expected 4 finite numbers" in arm.driver.status.cause


def test_silence_of_the_controller_lets_go(arm: Arm) -> None:
    arm.drive()
    took = arm.cycle_until(lambda: not arm.driver.status.powered)
    assert 0.125 - PERIOD <= took <= 0.125 + 2 * PERIOD
    assert arm.off()
    assert arm.driver.status.cause.startswith("no joint_command for 1")


def test_commands_for_old_observations_do_not_feed_the_watchdog(arm: Arm) -> None:
    arm.drive()

    def one() -> bool:
        arm.command(age=0.6)
        return not arm.driver.status.powered

    assert arm.cycle_until(one) < 0.15
    assert arm.off()


def test_a_command_for_an_observation_that_is_too_old_is_neither_obeyed_nor_counted(
    arm: Arm,
) -> None:
    arm.drive()
    arm.commanding(100)  # so that the old observation is one of this episode
    arm.bus.commands.clear()

    def one() -> bool:
        arm.command(0.1, 0.0, 0.0, 0.0, age=0.3)
        return not arm.driver.status.powered

    assert arm.cycle_until(one) < 0.15
    assert max(sent[1].torque for sent in arm.bus.commands) == 0.0
    assert arm.driver.status.cause.startswith("no joint_command for 1")


def test_commands_that_answer_one_and_the_same_image_let_go_when_it_is_old(arm: Arm) -> None:
    arm.drive()
    seen = arm.now()

    def one() -> bool:
        arm.answer(seen)
        return not arm.driver.status.powered

    assert 0.14 - PERIOD <= arm.cycle_until(one) <= 0.14 + PERIOD
    assert arm.off()
    assert "answers an image of 1" in arm.driver.status.cause


def test_a_silent_motor_does_not_hide_that_the_arm_is_not_seen(arm: Arm) -> None:
    arm.drive()
    seen = arm.now()

    def one() -> bool:
        arm.answer(seen)
        if arm.now() - seen > 100e6:
            arm.bus.silent.add(3)
        return not arm.driver.status.powered

    assert arm.cycle_until(one) < 0.14 + 0.04 + 0.08  # a cycle, and letting go, without its answers
    assert "answers an image of 1" in arm.driver.status.cause


def test_an_image_gets_no_younger_when_the_clock_is_set_back(arm: Arm) -> None:
    arm.drive()
    seen = arm.now()

    def one() -> bool:
        arm.answer(seen)
        return not arm.driver.status.powered

    assert not one()
    now = arm.driver._now
    arm.driver._now = lambda: now() - round(60e6)
    assert arm.cycle_until(one) < 0.14 + 2 * PERIOD


def test_commands_of_a_clock_that_is_ahead_do_not_feed_the_watchdog(arm: Arm) -> None:
    arm.drive()

    def one() -> bool:
        arm.command(age=-60.0)
        return not arm.driver.status.powered

    assert arm.cycle_until(one) < 0.15
    assert arm.off()


def test_an_arm_that_stands_pushes_no_longer_than_the_sustained_effort_lasts(arm: Arm) -> None:
    arm.ready()
    arm.driver._limiter.tire()
    arm.cycle()
    assert max(command.torque for command in arm.bus.commands[-1].values()) <= 0.16
    assert arm.bus.commands[-1][2].torque == pytest.approx(0.078)


def test_nothing_comes_on_after_the_end(arm: Arm) -> None:
    arm.activate()
    arm.driver.close()
    for again in (arm.driver.configure, arm.driver.activate):
        with pytest.raises(DriverError, match="being stopped"):
            again()
    assert arm.off()


def test_a_command_of_the_episode_before_does_not_start_the_next(arm: Arm) -> None:
    result = arm.ready()
    arm.answer(result.first_stamp - 1)
    assert arm.driver.status.state == "ready"
    arm.answer(result.first_stamp)
    assert arm.driver.status.state == "driving"


def test_a_silent_motor_lets_go(arm: Arm) -> None:
    took = drive_and(arm, lambda arm: arm.bus.silent.add(3))
    assert took < 0.1 + 0.08 + 5 * PERIOD  # watchdog; the silent one's missing consent
    assert arm.off()
    assert "m3 silent" in arm.driver.status.cause
    assert "m3 did not confirm" in arm.driver.status.cause


def test_a_motor_that_was_deaf_to_it_is_told_again_when_it_is_heard_of(arm: Arm) -> None:
    drive_and(arm, lambda arm: arm.bus.silent.add(3))
    arm.bus.torque[3] = True  # it has not heard
    arm.bus.silent.clear()
    arm.cycle(2)
    assert not arm.bus.torque[3]
    told = len(arm.bus.log)
    arm.cycle(2)
    assert len(arm.bus.log) == told  # and then no more


def test_no_power_on_the_bus_lets_go(arm: Arm) -> None:
    drive_and(arm, lambda arm: arm.bus.silent.update(MOTORS))
    assert arm.off()
    assert "no motor answers" in arm.driver.status.cause


def test_half_of_the_answers_corrupt_lets_go(arm: Arm) -> None:
    random = np.random.default_rng(0)
    took = drive_and(arm, lambda arm: setattr(arm.bus, "lose", lambda: random.random() < 0.5))
    assert took < 1.2
    assert arm.off()


def test_half_of_the_answers_lost_lets_go_though_they_come_when_asked_for_again(arm: Arm) -> None:
    read_state = arm.bus.read_state

    def half(motors: Sequence[int]) -> Reading:
        reading = read_state(motors)
        if len(motors) < len(MOTORS):  # asked for again
            return reading
        return Reading({motor: reading.motors[motor] for motor in motors if motor % 2})

    took = drive_and(arm, lambda arm: setattr(arm.bus, "read_state", half))
    assert took < 0.5
    assert arm.off()
    assert "bus errors: " in arm.driver.status.cause


def test_one_answer_in_a_hundred_corrupt_goes_on_with_a_warning(arm: Arm) -> None:
    random = np.random.default_rng(0)
    arm.drive()
    arm.bus.lose = lambda: random.random() < 0.01
    arm.commanding(400)
    assert arm.driver.status.state == "driving"
    level, sentence = arm.reports["bus"]
    assert level == "warn"
    assert "% of the motors' answers were lost" in sentence


def test_heat_lets_go_and_less_heat_takes_effort_away(arm: Arm) -> None:
    arm.drive()
    arm.bus.follow = False
    arm.bus.health[1] = MotorHealth(7.4, 55.0, 0)
    arm.commanding(30, 0.16, 0.0, 0.0, 0.0)
    assert arm.bus.commands[-1][1].torque == pytest.approx(0.08, abs=0.005)
    arm.bus.health[1] = MotorHealth(7.4, 60.0, 0)

    def one() -> bool:
        arm.command()
        return not arm.driver.status.powered

    took = arm.cycle_until(one)
    assert took < 0.4
    assert arm.off()
    assert "m1 is at 60 °C" in arm.driver.status.cause


def test_low_voltage_lets_go(arm: Arm) -> None:
    drive_and(arm, lambda arm: arm.bus.health.update({1: MotorHealth(5.0, 30.0, 0)}))
    assert arm.off()
    assert "m1 has 5.0 V" in arm.driver.status.cause


def test_a_hardware_error_lets_go_before_the_motor_is_armed_again(arm: Arm) -> None:
    def overload(arm: Arm) -> None:
        arm.bus.health[5] = MotorHealth(7.4, 30.0, xl320.OVERLOAD)
        arm.bus.limits[5] = 0
        arm.bus.log.clear()

    assert drive_and(arm, overload) < 0.1
    assert "command" not in arm.bus.log
    assert arm.off()
    assert "m5 reports overload" in arm.driver.status.cause


def test_a_motor_that_tripped_is_not_armed_again_while_it_does_not_say_why(arm: Arm) -> None:
    arm.drive()
    arm.commanding(5, 0.05, 0.0, 0.0, 0.0)
    arm.bus.limits[1] = 0
    arm.bus.log.clear()

    def deaf(motor: int) -> MotorHealth:
        raise BusError(f"motor {motor} did not answer")

    arm.bus.read_health = deaf  # type: ignore[method-assign]
    arm.cycle()
    assert "command" not in arm.bus.log
    assert arm.off()
    assert "m1 may have shut down" in arm.driver.status.cause


def test_an_implausible_reading_lets_go(arm: Arm) -> None:
    drive_and(arm, lambda arm: arm.bus.angles.update({2: float("nan")}))
    assert arm.off()
    assert "limiter: position of m2" in arm.driver.status.cause


def test_deactivate_lets_go(arm: Arm) -> None:
    arm.drive()
    arm.driver.deactivate()
    assert arm.off()
    assert arm.driver.status == Status("inactive", False, "deactivated")


def test_torque_off_is_said_until_every_motor_confirms_it(arm: Arm) -> None:
    arm.drive()
    torque_off, lost = arm.bus.torque_off, [True] * 5

    def lose(motors: Sequence[int]) -> None:
        if lost:
            lost.pop()
        else:
            torque_off(motors)

    arm.bus.torque_off = lose  # type: ignore[method-assign]
    arm.driver.deactivate()
    assert arm.off()
    assert arm.driver.status == Status("inactive", False, "deactivated")  # no motor was deaf


def test_close_lets_go_and_closes_the_port(arm: Arm) -> None:
    arm.drive()
    arm.driver.close()
    assert arm.off()
    assert arm.bus.log[-1] == "close"
    assert arm.driver.status.state == "unconfigured"


def test_a_lost_port_is_told_and_comes_back(arm: Arm) -> None:
    drive_and(arm, lambda arm: setattr(arm.bus, "unplugged", True))
    assert arm.driver.status.state == "unconfigured"
    assert "is lost" in arm.driver.status.cause
    with pytest.raises(DriverError, match="cannot be opened"):
        arm.driver.configure()
    arm.bus.unplugged = False
    arm.activate()
    assert arm.driver.status.state == "holding"


def test_it_is_armed_from_before_the_first_motor_has_torque_until_all_were_told(arm: Arm) -> None:
    armed: list[bool] = []
    set_torque = arm.bus.set_torque

    def look(motors: Sequence[int], on: bool) -> None:
        armed.append(arm.driver.armed)
        set_torque(motors, on)

    arm.driver.configure()
    arm.bus.set_torque = look  # type: ignore[method-assign]
    arm.activate()
    arm.driver.deactivate()
    assert all(armed)
    assert not arm.driver.armed


def test_an_error_of_the_program_lets_go(arm: Arm) -> None:
    arm.drive()
    arm.driver._on_joints = lambda joints, stamp: 1 / 0  # type: ignore[func-returns-value]
    with pytest.raises(ZeroDivisionError):
        arm.cycle()
    assert arm.off()
    assert "the driver failed" in arm.driver.status.cause


# Motors that are not as they should be


def test_a_motor_that_restarts_by_itself_lets_go(arm: Arm) -> None:
    def restart(arm: Arm) -> None:
        arm.bus.torque[3] = False
        arm.bus.health[3] = replace(arm.bus.health[3], torque_on=False)

    assert drive_and(arm, restart) < 0.3
    assert "m3 has lost its torque by itself" in arm.driver.status.cause


def test_a_supply_that_is_not_the_arms_stands_against_activation(arm: Arm) -> None:
    arm.driver.configure()
    arm.bus.health[1] = MotorHealth(12.1, 30.0, 0)
    with pytest.raises(DriverError, match=r"m1 has 12.1 V, the most is 9.0"):
        arm.driver.activate()
    assert arm.off()


def test_a_gain_that_was_left_in_a_motor_is_named_and_written_at_activation(arm: Arm) -> None:
    arm.bus.health[2] = replace(arm.bus.health[2], p_gain=8)
    arm.driver.configure()
    arm.cycle(100)
    assert arm.reports["motors"] == (
        "warn",
        "m2 has a P gain of 8 instead of 32: activation writes it",
    )
    arm.bus.writes.clear()
    arm.driver.activate()
    assert (2, xl320.P_GAIN) in arm.bus.writes
    assert arm.bus.tables[2][xl320.P_GAIN] == 32


def refusing(arm: Arm, motor: int) -> None:
    """A motor answers every read with the bits of a latched error, until it is restarted."""
    for name in ("read", "read_health"):
        whole = getattr(arm.bus, name)

        def read(asked: int, *more: Any, whole: Any = whole) -> Any:
            if asked == motor and motor not in arm.bus.reboots:
                raise MotorRefusedError(motor, xl320.OVERLOAD)
            return whole(asked, *more)

        setattr(arm.bus, name, read)


def test_a_motor_that_refuses_reads_is_restarted_at_activation(arm: Arm) -> None:
    arm.driver.configure()
    refusing(arm, 4)
    arm.driver.activate()
    assert arm.bus.reboots == [4]
    assert arm.driver.status.state == "holding"


def test_a_motor_that_refuses_reads_is_restarted_when_it_is_set_up(arm: Arm) -> None:
    refusing(arm, 4)
    arm.driver.configure()
    assert arm.bus.reboots == [4]
    assert arm.driver.status.state == "inactive"


def test_a_motor_that_refuses_reads_in_an_episode_lets_go_and_says_so(arm: Arm) -> None:
    read_state = arm.bus.read_state

    def refused(motors: Sequence[int]) -> Reading:
        reading = read_state([motor for motor in motors if motor != 5])
        return Reading(reading.motors, 0, {5: xl320.OVERLOAD} if 5 in motors else {})

    drive_and(arm, lambda arm: setattr(arm.bus, "read_state", refused))
    assert "m5 refuses to be read (overload)" in arm.driver.status.cause


def test_a_speed_register_that_is_wrong_is_told_and_not_believed(arm: Arm) -> None:
    arm.activate()
    arm.bus.angles = dict.fromkeys(MOTORS, 0.5)
    arm.driver.deactivate()
    arm.driver.activate()
    arm.ready()  # the registers of these motors say 0 all the way
    arm.cycle(100)
    level, sentence = arm.reports["motors"]
    assert level == "warn"
    assert "differenced positions are used" in sentence
    fastest = max(np.abs(joints.velocity).max() for joints, _ in arm.joints)
    assert fastest > 0.3


# Who may still have torque


def test_torque_counts_as_on_until_every_motor_has_confirmed_that_it_is_off(arm: Arm) -> None:
    drive_and(arm, lambda arm: arm.bus.silent.add(3))
    assert arm.driver.status.torque
    arm.bus.silent.clear()
    arm.cycle(2)
    assert not arm.driver.status.torque
    assert "did not confirm" not in arm.driver.status.cause
    assert "m3 silent" in arm.driver.status.cause


def test_a_lost_port_leaves_the_doubt_until_the_motors_are_heard_of_again(arm: Arm) -> None:
    drive_and(arm, lambda arm: setattr(arm.bus, "unplugged", True))
    for _ in range(2):  # the second sentence must not hide it
        assert arm.driver.status.torque
        assert "m1, m2, m3, m4, m5 and m6 may still have torque" in arm.driver.status.cause
        with pytest.raises(DriverError, match="cannot be opened"):
            arm.driver.configure()
    arm.bus.unplugged = False
    arm.driver.configure()
    assert arm.driver.status == Status("inactive", False, "not activated yet")


# Coming back


def test_an_emergency_stop_is_latched_until_it_is_released(arm: Arm) -> None:
    arm.drive()
    arm.driver.emergency_stop(True)
    assert arm.off()
    assert arm.driver.status == Status("stopped", False, "emergency stop")
    with pytest.raises(DriverError, match="latched"):
        arm.driver.activate()
    arm.driver.unconfigure()
    arm.driver.configure()
    assert arm.driver.status.state == "stopped"
    arm.driver.emergency_stop(False)
    assert arm.driver.status.state == "inactive"
    assert arm.off()
    arm.driver.activate()
    assert arm.driver.status.state == "holding"


def test_an_emergency_stop_ends_an_activation_that_is_under_way(arm: Arm) -> None:
    arm.driver.configure()
    arm.cycle()
    set_torque = arm.bus.set_torque

    def second_motor(motors: Sequence[int], on: bool) -> None:
        set_torque(motors, on)
        arm.stop_wanted = arm.stop_wanted or (on and list(motors) == [2])

    arm.bus.set_torque = second_motor  # type: ignore[method-assign]
    with pytest.raises(DriverError, match="emergency stop"):
        arm.driver.activate()
    assert arm.bus.log.count("on") == 2  # and not all six
    assert arm.driver.status == Status("stopped", False, "emergency stop")
    assert arm.off()


def test_an_emergency_stop_does_not_wait_for_a_motors_reboot(arm: Arm) -> None:
    arm.driver.configure()
    arm.bus.health[4] = MotorHealth(7.4, 30.0, xl320.OVERLOAD)

    def sleep(seconds: float) -> None:
        arm.sleep(seconds)
        arm.stop_wanted = True

    arm.driver._motors._sleep = sleep
    began = arm.bus.time
    with pytest.raises(DriverError, match="emergency stop"):
        arm.driver.activate()
    assert arm.bus.time - began < 0.2
    assert "on" not in arm.bus.log
    assert arm.driver.status == Status("stopped", False, "emergency stop")


def test_an_emergency_stop_answers_a_reset_that_waits(arm: Arm) -> None:
    arm.activate()
    future: Future[ResetResult] = arm.driver.reset(1)
    arm.cycle(3)
    arm.driver.emergency_stop(True)
    assert future.result(0).message == "emergency stop"


def test_after_a_fault_nothing_moves_until_it_is_activated(arm: Arm) -> None:
    arm.drive()
    arm.command(*(float("nan"),) * 4)
    cause = arm.driver.status.cause
    arm.command()
    assert not arm.driver.reset(1).result(0).ok
    arm.cycle(50)
    arm.driver.deactivate()  # what the lifecycle does after a fault
    assert arm.driver.status == Status("fault", False, cause)
    assert arm.off()
    arm.driver.activate()
    arm.ready()


@pytest.mark.parametrize(
    ("health", "cause"),
    [(MotorHealth(7.4, 61.0, 0), "61 °C"), (MotorHealth(5.0, 30.0, 0), "5.0 V")],
)
def test_what_is_not_mended_stands_against_activation(
    arm: Arm, health: MotorHealth, cause: str
) -> None:
    arm.driver.configure()
    arm.bus.health[4] = health
    with pytest.raises(DriverError, match=f"m4 .*{cause}"):
        arm.driver.activate()
    assert arm.off()


def test_a_silent_motor_stands_against_activation(arm: Arm) -> None:
    arm.driver.configure()
    arm.bus.silent.add(6)
    with pytest.raises(DriverError, match="motor 6 did not answer"):
        arm.driver.activate()
    assert arm.off()


def test_a_motor_that_stays_without_torque_makes_the_others_let_go(arm: Arm) -> None:
    arm.driver.configure()
    arm.bus.limp.add(4)
    with pytest.raises(DriverError, match=r"^m4 does not switch its torque on$"):
        arm.driver.activate()
    assert "on" in arm.bus.log
    assert arm.off()
    assert arm.driver.status == Status("fault", False, "m4 does not switch its torque on")


def test_a_latched_hardware_error_is_cleared_on_activation(arm: Arm) -> None:
    arm.driver.configure()
    arm.bus.health[4] = MotorHealth(7.4, 30.0, xl320.OVERLOAD)
    arm.driver.activate()
    assert arm.bus.reboots == [4]
    assert arm.driver.status.state == "holding"


def test_compliant_and_back(arm: Arm) -> None:
    with pytest.raises(DriverError, match="unconfigured, not compliant"):
        arm.driver.set_compliant(False)
    arm.ready()
    arm.driver.set_compliant(True)
    assert arm.off()
    arm.bus.angles[1] = 0.5
    arm.cycle(200)
    assert arm.driver.status.state == "compliant"
    arm.driver.set_compliant(False)
    arm.cycle(10)
    assert arm.bus.angles[1] == pytest.approx(0.5, abs=0.01)
    assert arm.driver.status.state == "holding"


def test_torque_comes_on_where_the_arm_is_and_not_at_its_last_goal(arm: Arm) -> None:
    arm.ready()
    arm.driver.set_compliant(True)
    arm.bus.angles[1] = 0.5
    arm.driver.set_compliant(False)
    assert arm.bus.angles[1] == pytest.approx(0.5)


# Setting up


def test_configure_names_the_motor_that_is_missing_or_another(arm: Arm) -> None:
    arm.bus.silent.add(4)
    with pytest.raises(DriverError, match="m4 does not answer on /dev/ttyACM0: no motor"):
        arm.driver.configure()
    assert arm.bus.log[-1] == "close"
    arm.bus.silent.clear()
    arm.bus.tables[2][xl320.MODEL_NUMBER] = 12
    with pytest.raises(DriverError, match=r"m2 .* model 12, expected 350"):
        arm.driver.configure()


def test_configure_writes_limits_into_the_motors_once(arm: Arm) -> None:
    arm.driver.configure()
    table = arm.bus.tables[2]
    assert xl320.raw_to_position(table[xl320.ANGLE_LOW]) == pytest.approx(
        np.radians(-90), abs=0.006
    )
    assert xl320.raw_to_position(table[xl320.ANGLE_HIGH]) == pytest.approx(
        np.radians(125), abs=0.006
    )
    assert table[xl320.MAX_TORQUE] == xl320.torque_to_raw(0.16)
    assert table[xl320.CONTROL_MODE] == xl320.JOINT_MODE
    assert table[xl320.SHUTDOWN] == xl320.OVERLOAD | xl320.OVERHEATING


def test_configure_writes_nothing_that_the_motors_have_already(arm: Arm) -> None:
    arm.driver.configure()
    assert {motor for motor, _ in arm.bus.writes} == set(MOTORS)
    arm.driver.unconfigure()
    arm.bus.writes.clear()
    arm.driver.configure()
    assert arm.bus.writes == []  # the EEPROM wears out


@pytest.mark.parametrize("missing", [1, 6])
def test_configure_lets_go_of_motors_that_have_torque_though_one_is_missing(
    arm: Arm, missing: int
) -> None:
    arm.bus.torque = dict.fromkeys(MOTORS, True)  # whoever drove them before
    arm.bus.silent.add(missing)
    with pytest.raises(DriverError, match="does not answer"):
        arm.driver.configure()
    assert arm.off()


def test_calibration_goes_there_and_back() -> None:
    calibration = Calibration((1.0, -1.0, 1.0, -1.0, 1.0, 1.0), (0.1,) * 6, (2.0,) + (1.0,) * 5)
    goal = np.array([0.2, 0.3, -0.4, 0.5, 0.0, 0.1])
    commands = calibration.go(goal, np.full(6, 0.1), 1.0)
    assert commands[2].position == pytest.approx(-0.3 + 0.1)
    assert commands[1].torque == pytest.approx(0.05)
    states = {m: MotorState(c.position, 0.0, c.torque, 0) for m, c in commands.items()}
    assert calibration.joints(states).position == pytest.approx(goal)
    assert calibration.joints(states).load[:2] == pytest.approx([0.1, -0.1])


def test_a_negative_direction_pushes_the_other_way() -> None:
    calibration = Calibration((-1.0,) * 6, (0.0,) * 6, (1.0,) * 6)
    commands = calibration.drive(np.full(6, 0.1), np.zeros(6), 1.0)
    assert all(command.position < 0.0 for command in commands.values())


def six(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[values] * 6)


@given(
    six(st.sampled_from((1.0, -1.0))),
    six(st.floats(-0.99, 0.99)),
    six(st.floats(0.0, 1.0)),
    six(st.sampled_from((-0.1, 0.0, 0.1))),
)
def test_a_goal_ahead_stays_inside_of_the_motors_angle_limits(
    direction: tuple[float, ...],
    offset: tuple[float, ...],
    share: tuple[float, ...],
    effort: tuple[float, ...],
) -> None:
    calibration = Calibration(direction, offset, (1.0,) * 6)
    position = JOINT_LOW + np.array(share) * (JOINT_HIGH - JOINT_LOW)
    commands = calibration.drive(np.array(effort), position, 1.0)
    for motor, (low, high) in zip(MOTORS, calibration.limits, strict=True):
        # A motor refuses a goal beyond, and keeps the one before.
        assert low <= xl320.position_to_raw(commands[motor].position) <= high


@pytest.mark.parametrize(
    "wrong",
    [
        {"direction": (1.0,) * 5},
        {"direction": (0.5,) * 6},
        {"offset": (7.0,) * 6},
        {"effort_scale": (0.0,) * 6},
        {"rest_pose": (0.0,)},
        {"derate_temperature": 60.0},
    ],
)
def test_a_robot_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|must"):
        DriverConfig(**wrong)
