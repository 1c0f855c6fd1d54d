"""The XL-320's registers, controller, thermal and overload model."""

from __future__ import annotations

from math import radians

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergojr_description import xl320
from ergojr_sim.virtual_servo import AMBIENT, ServoError, ServoFault, VirtualServo
from ergojr_sim.world import SERVO_STEP


@pytest.fixture
def servo() -> VirtualServo:
    return VirtualServo(3)


def put(servo: VirtualServo, register: xl320.Register, value: int) -> None:
    servo.write(register.address, value.to_bytes(register.length, "little"))


def drive(servo: VirtualServo, goal: float, limit: float = 0.16) -> None:
    """Torque on, towards `goal` rad with at most `limit` N m."""
    put(servo, xl320.TORQUE_ENABLE, 1)
    put(servo, xl320.GOAL_POSITION, xl320.position_to_raw(goal))
    put(servo, xl320.TORQUE_LIMIT, xl320.torque_to_raw(limit))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_goal_30_degrees_ahead_gives_the_torque_limit_with_its_sign(
    servo: VirtualServo, sign: int
) -> None:
    drive(servo, sign * radians(30.0))
    assert servo.step(0.0, 0.0, SERVO_STEP) == pytest.approx(sign * 0.16, rel=0.01)


def test_without_torque_enable_there_is_none(servo: VirtualServo) -> None:
    drive(servo, 0.5)
    put(servo, xl320.TORQUE_ENABLE, 0)
    assert servo.step(0.0, 0.0, SERVO_STEP) == 0.0


def test_near_the_goal_it_is_a_spring_of_one_newton_metre_a_radian(servo: VirtualServo) -> None:
    drive(servo, 0.0, limit=0.39)
    goal = xl320.raw_to_position(servo.get(xl320.GOAL_POSITION))
    assert servo.step(goal - 0.05, 0.0, SERVO_STEP) == pytest.approx(0.05, rel=0.02)


def test_beyond_the_moving_speed_it_brakes(servo: VirtualServo) -> None:
    drive(servo, 0.5)
    put(servo, xl320.MOVING_SPEED, xl320.speed_to_raw(1.0))
    assert servo.step(0.0, 0.0, SERVO_STEP) == pytest.approx(0.16, rel=0.01)
    assert 0.0 < servo.step(0.0, 1.0, SERVO_STEP) < 0.16
    assert servo.step(0.0, 2.0, SERVO_STEP) < 0.0


@given(angle=st.floats(-2.6, 2.6), speed=st.floats(-11.0, 11.0))
def test_what_it_tells_is_what_is_within_the_registers_resolution(
    angle: float, speed: float
) -> None:
    servo = VirtualServo(1)
    servo.step(angle, speed, SERVO_STEP)
    told = xl320.raw_to_position(servo.get(xl320.PRESENT_POSITION))
    assert told == pytest.approx(angle, abs=xl320.RESOLUTION)
    told = xl320.raw_to_speed(servo.get(xl320.PRESENT_SPEED))
    assert told == pytest.approx(speed, abs=xl320.SPEED_UNIT)


def test_the_load_has_the_sign_of_the_torque(servo: VirtualServo) -> None:
    drive(servo, -0.5)
    servo.step(0.0, 0.0, SERVO_STEP)
    assert xl320.raw_to_load(servo.get(xl320.PRESENT_LOAD)) == pytest.approx(-0.16, rel=0.01)


@pytest.mark.parametrize(
    ("register", "value", "code"),
    [
        (xl320.PRESENT_POSITION, 5, xl320.ERROR_ACCESS),
        (xl320.MODEL_NUMBER, 5, xl320.ERROR_ACCESS),
        (xl320.ANGLE_LOW, 5, xl320.ERROR_ACCESS),  # EEPROM, with the torque on
        (xl320.TORQUE_LIMIT, 1024, xl320.ERROR_RANGE),
        (xl320.GOAL_POSITION, 1000, xl320.ERROR_LIMIT),
        (xl320.Register(60, 1), 5, xl320.ERROR_RANGE),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    servo: VirtualServo, register: xl320.Register, value: int, code: int
) -> None:
    put(servo, xl320.ANGLE_HIGH, 900)
    drive(servo, 0.0)
    before = servo.read(0, xl320.TABLE_SIZE)
    with pytest.raises(ServoError) as refused:
        put(servo, register, value)
    assert refused.value.code == code
    assert servo.read(0, xl320.TABLE_SIZE) == before


def test_the_winding_heats_under_load_and_cools_without(servo: VirtualServo) -> None:
    drive(servo, 0.5)
    for _ in range(120):
        servo.step(0.0, 0.0, 0.5)
    warm = servo.temperature
    assert AMBIENT + 5.0 < warm < AMBIENT + 20.0
    put(servo, xl320.TORQUE_ENABLE, 0)
    for _ in range(120):
        servo.step(0.0, 0.0, 0.5)
    assert AMBIENT < servo.temperature < warm - 1.0


def test_a_stall_trips_and_sets_the_torque_limit_to_zero(servo: VirtualServo) -> None:
    drive(servo, 1.0, limit=0.39)
    for _ in range(3):
        assert servo.step(0.0, 0.0, 0.4) > 0.3
    servo.step(0.0, 0.0, 0.4)
    assert servo.get(xl320.TORQUE_LIMIT) == 0
    assert servo.get(xl320.HARDWARE_ERROR) == xl320.OVERLOAD
    assert servo.alert == xl320.ALERT
    assert servo.step(0.0, 0.0, 0.4) == 0.0
    # A loop that goes on writing the limit gets the torque back, but not rid of the error.
    put(servo, xl320.TORQUE_LIMIT, 400)
    assert servo.step(0.0, 0.0, SERVO_STEP) > 0.1
    assert servo.get(xl320.HARDWARE_ERROR) == xl320.OVERLOAD
    put(servo, xl320.TORQUE_ENABLE, 0)
    servo.step(0.0, 0.0, SERVO_STEP)
    assert servo.get(xl320.HARDWARE_ERROR) == 0


def test_a_moderate_load_never_trips(servo: VirtualServo) -> None:
    drive(servo, 1.0)
    for _ in range(100):
        servo.step(0.0, 0.0, 0.1)
    assert servo.get(xl320.HARDWARE_ERROR) == 0


def test_too_hot_is_a_hardware_error_that_goes_with_the_heat(servo: VirtualServo) -> None:
    drive(servo, 0.5)
    servo.fault = ServoFault(temperature=70.0)
    servo.step(0.0, 0.0, SERVO_STEP)
    assert servo.get(xl320.PRESENT_TEMPERATURE) == 70
    assert servo.get(xl320.HARDWARE_ERROR) == xl320.OVERHEATING
    assert servo.get(xl320.TORQUE_LIMIT) == 0
    put(servo, xl320.TORQUE_ENABLE, 0)
    servo.fault = ServoFault()
    servo.step(0.0, 0.0, SERVO_STEP)
    assert servo.get(xl320.HARDWARE_ERROR) == 0


def test_a_reboot_forgets_torque_and_goal(servo: VirtualServo) -> None:
    drive(servo, 0.5)
    servo.step(0.2, 0.0, SERVO_STEP)
    servo.reboot()
    assert servo.get(xl320.TORQUE_ENABLE) == 0
    assert servo.get(xl320.GOAL_POSITION) == xl320.position_to_raw(0.2)
    assert servo.motor == 3


def test_a_reboot_brings_back_gain_and_reads(servo: VirtualServo) -> None:
    put(servo, xl320.P_GAIN, 8)
    servo.refuse(xl320.OVERHEATING)
    servo.reboot()
    assert (servo.get(xl320.P_GAIN), servo.refusal) == (32, 0)


def test_a_quarter_of_the_gain_is_a_quarter_of_the_torque(servo: VirtualServo) -> None:
    drive(servo, 0.1)
    whole = servo.step(0.0, 0.0, 0.002)
    put(servo, xl320.P_GAIN, 8)
    assert servo.step(0.0, 0.0, 0.002) == pytest.approx(whole / 4)


def test_a_servo_without_a_speed_register_reads_zero_and_moves(servo: VirtualServo) -> None:
    servo.fault = ServoFault(no_speed=True)
    drive(servo, 1.0)
    servo.step(0.0, 3.0, 0.002)
    assert (servo.get(xl320.PRESENT_SPEED), servo.get(xl320.MOVING)) == (0, 1)


@pytest.mark.parametrize(("volts", "error"), [(12.0, xl320.INPUT_VOLTAGE), (6.5, 0)])
def test_the_supply_is_read_weighs_and_is_an_error_beyond_its_limits(
    servo: VirtualServo, volts: float, error: int
) -> None:
    drive(servo, 0.05, 1.0)
    torque = servo.step(0.0, 0.0, 0.002)
    servo.fault = ServoFault(supply=volts)
    assert servo.step(0.0, 0.0, 0.002) == pytest.approx(torque * volts / 7.4)
    assert servo.get(xl320.PRESENT_VOLTAGE) == pytest.approx(10 * volts, abs=2)
    assert servo.get(xl320.HARDWARE_ERROR) == error
