"""The guided calibration, answered by a person who is a function."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ergojr_description import xl320
from ergojr_description.kinematics import gravity_effort
from ergojr_description.limiter import Limiter
from ergojr_description.xl320 import Register
from ergojr_driver.bus import MotorCommand, MotorHealth, MotorState, PortError, Reading, Scan
from ergojr_driver.calibrate import (
    APART,
    LEANING,
    CalibrationError,
    Calibrator,
    find_port,
    section,
)
from ergojr_driver.servo import MOTORS

DIRECTION = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
OFFSET = np.array([0.05, -0.02, 0.1, 0.0, -0.03, 0.2])
SCALE = 1.25
FRICTION = 0.02
CYCLE = 0.01  # s, of a reading
TURNING = 0.4  # rad/s, by hand


class Arm:
    """An assembled arm: joints that go where their motors want, against weight and friction."""

    def __init__(self) -> None:
        self.joints = np.zeros(6)
        self.goal = OFFSET  # rad of the motors, which keep it without torque
        self.way = np.zeros(6)
        self.torque = False
        self.models = dict.fromkeys(MOTORS, 350)
        self.tables: dict[tuple[int, Register], int] = {}
        self.voltage = 7.4
        self.dumb: set[int] = set()  # motors that report no speed
        self.turning: tuple[int, float] = (0, 0.0)  # a joint's index, rad that it has still to go
        self.time = 0.0
        self.log: list[str] = []

    def read_state(self, motors: Sequence[int]) -> Reading:
        self.time += CYCLE
        joint, left = self.turning
        step = min(left, TURNING * CYCLE)
        self.joints[joint] += step
        self.turning = (joint, left - step)
        speed = np.zeros(6)
        speed[joint] = DIRECTION[joint] * step / CYCLE
        angles = DIRECTION * self.joints + OFFSET
        load = (gravity_effort(self.joints) + FRICTION * self.way) / SCALE
        return Reading(
            {
                m: MotorState(
                    angles[m - 1],
                    0.0 if m in self.dumb else speed[m - 1],
                    (DIRECTION * load)[m - 1],
                    100,
                )
                for m in motors
            }
        )

    def write_command(self, commands: Mapping[int, MotorCommand]) -> None:
        assert max(command.torque for command in commands.values()) <= 0.12
        self.goal = np.array([commands[motor].position for motor in MOTORS])
        if self.torque:
            self._move()

    def read_health(self, motor: int) -> MotorHealth:
        return MotorHealth(self.voltage, 30.0, 0)

    def set_torque(self, motors: Sequence[int], on: bool) -> None:
        self.torque = on
        self.log.append("on" if on else "off")
        if on:
            self._move()

    def torque_off(self, motors: Sequence[int]) -> None:
        self.set_torque(motors, False)

    def ping(self, motor: int) -> int | None:
        return self.models.get(motor)

    def scan(self) -> Scan:
        return Scan()

    def read(self, motor: int, register: Register) -> int:
        return self.tables.get((motor, register), xl320.GAINS_DELIVERED.get(register, 0))

    def write(self, motor: int, register: Register, value: int) -> None:
        assert not self.torque
        self.tables[motor, register] = value

    def reboot(self, motor: int) -> None: ...

    def close(self) -> None: ...

    def _move(self) -> None:
        """Go to the goal, which must be near: a motor would jump."""
        joints = DIRECTION * (self.goal - OFFSET)
        assert np.abs(joints - self.joints).max() < 0.02
        self.way = np.where(np.abs(joints - self.joints) > 1e-9, joints - self.joints, self.way)
        self.way = np.sign(self.way)
        self.joints = joints


def person(arm: Arm, effort: str = "") -> Callable[[str], str]:
    """Who does as asked."""

    def ask(text: str) -> str:
        assert not arm.torque
        if text[0] == "m" and text[1].isdigit():
            arm.joints[int(text[1]) - 1] += 0.4
        elif "weigh" in text:
            arm.joints = np.zeros(6)
            return effort
        return ""

    return ask


def test_offset_direction_and_scale_are_found_and_the_arm_lets_go() -> None:
    arm = Arm()
    values = Calibrator(arm, person(arm), lambda text: None, lambda seconds: None).run()
    assert values["direction"] == DIRECTION.tolist()
    assert values["offset"] == pytest.approx(OFFSET.tolist(), abs=1e-3)
    assert values["effort_scale"] == pytest.approx([SCALE] * 6, rel=0.02)
    assert "on" in arm.log
    assert arm.log[-1] == "off"


def test_torque_comes_on_where_the_arm_is_and_not_at_its_last_goal() -> None:
    arm = Arm()

    def near(text: str) -> str:
        answer = person(arm)(text)
        if "weigh" in text:
            arm.joints = np.full(6, 0.1)
        return answer

    Calibrator(arm, near, lambda text: None, lambda seconds: None).run()  # the arm looks at it
    assert "on" in arm.log


def test_the_weighing_can_be_skipped() -> None:
    arm = Arm()
    values = Calibrator(arm, person(arm, "s"), lambda text: None, lambda seconds: None).run()
    assert values["effort_scale"] == [1.0] * 6
    assert "on" not in arm.log


def test_motors_that_report_no_speed_while_they_are_turned_are_named() -> None:
    arm, told = Arm(), list[str]()
    arm.dumb = {3}

    def slowly(text: str) -> str:
        if text[0] == "m" and text[1].isdigit():
            arm.turning = (int(text[1]) - 1, 0.4)
            deadline = time.monotonic() + 30.0
            while arm.turning[1] > 0.0:  # as the motors are read meanwhile
                assert time.monotonic() < deadline
                time.sleep(0.001)
            return ""
        return person(arm, "s")(text)

    Calibrator(arm, slowly, told.append, lambda seconds: None, lambda: arm.time).run()
    assert [text for text in told if "no speed" in text] == [
        "m3: no speed is reported by the motor while it moves, so the driver will take it from the "
        "positions."
    ]


def test_a_supply_of_12_volts_is_refused() -> None:
    arm = Arm()
    arm.voltage = 12.0
    with pytest.raises(CalibrationError, match=r"m1 has a supply of 12.0 V, expected 6 to 8.4 V"):
        Calibrator(arm, person(arm), lambda text: None).run()


def test_a_gain_that_was_left_in_the_ram_is_told_and_set_right() -> None:
    arm, told = Arm(), list[str]()
    arm.tables[2, xl320.P_GAIN] = 8
    Calibrator(arm, person(arm, "s"), told.append, lambda seconds: None).run()
    assert "m2: the P gain was 8 and is 32 again" in told
    assert arm.tables[2, xl320.P_GAIN] == 32


def test_a_port_that_is_lost_while_a_joint_is_turned_is_told() -> None:
    arm = Arm()

    def pull(text: str) -> str:
        if text.startswith("m1"):
            failed = threading.Event()

            def gone(motors: Sequence[int]) -> Reading:
                failed.set()
                raise PortError("port gone is lost: Input/output error")

            arm.read_state = gone  # type: ignore[method-assign]
            assert failed.wait(30.0)
        return ""

    with pytest.raises(PortError, match="is lost"):
        Calibrator(arm, pull, lambda text: None, lambda seconds: None).run()
    assert arm.log[-1] == "off"


def test_an_interrupt_lets_go() -> None:
    arm = Arm()

    def interrupt(seconds: float) -> None:
        if arm.torque:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Calibrator(arm, person(arm), lambda text: None, interrupt).run()
    assert arm.log[-1] == "off"


def test_a_missing_or_a_turned_motor_is_named() -> None:
    arm = Arm()
    del arm.models[3]
    with pytest.raises(CalibrationError, match=r"m3 \(id 3\) does not answer"):
        Calibrator(arm, person(arm), lambda text: None).run()
    arm = Arm()
    arm.joints[1] = 1.5
    with pytest.raises(CalibrationError, match=r"m2 reads -87 degrees"):
        Calibrator(arm, person(arm), lambda text: None).run()


def test_the_weighing_stays_inside_of_the_limits() -> None:
    limiter = Limiter()
    for side in (-1.0, 0.0, 1.0):
        assert limiter.clear_path(np.zeros(6), LEANING + side * APART) == ""


def test_a_way_that_is_not_clear_is_refused_and_not_gone() -> None:
    arm = Arm()
    lying = np.array([0.0, 1.12, 0.13, 0.0, 0.93, 0.0])  # with the hand on the table

    def careless(text: str) -> str:
        answer = person(arm)(text)
        if "weigh" in text:
            arm.joints = lying
        return answer

    with pytest.raises(CalibrationError, match=r"straight from where it is, on the way .* too low"):
        Calibrator(arm, careless, lambda text: None, lambda seconds: None).run()
    assert np.allclose(arm.joints, lying, atol=0.01)
    assert arm.log[-1] == "off"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_python_does_not_catch_lets_go(wire: Any, number: signal.Signals) -> None:
    code = "import sys; from ergojr_driver.calibrate import main; sys.exit(main())"
    calibrate = subprocess.Popen(
        [sys.executable, "-c", code, "--port", wire.port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert calibrate.stdout is not None
    assert "The arm is on" in calibrate.stdout.readline()  # and it asks for the zero pose
    wire.switch_on()
    calibrate.send_signal(number)
    assert f"torque is off on {wire.port}" in calibrate.communicate(timeout=10.0)[1]
    wire.wait_for_no_torque()


def test_no_port_is_one_sentence() -> None:
    with pytest.raises(CalibrationError, match="no serial port is there"):
        find_port((), xl320.BAUD_RATE)
    with pytest.raises(CalibrationError, match="cannot be opened"):
        find_port(("/nowhere",), xl320.BAUD_RATE)


def test_the_section_is_what_the_driver_takes() -> None:
    text = section("/dev/ttyACM0", {"direction": [1.0] * 6})
    assert text.splitlines() == [
        "/**/driver:",
        "  ros__parameters:",
        "    port: /dev/ttyACM0",
        "    direction: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]",
    ]
