"""pypot's bus, with its faults mended, on a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ergojr_description import xl320
from ergojr_driver import guard, ports
from ergojr_driver.bus import BusError, FoundMotor, MotorCommand, MotorRefusedError, PortError, Scan
from ergojr_driver.pypot_bus import PypotBus
from ergojr_driver.servo import MOTORS
from ergojr_sim.virtual_bus import BusFault
from ergojr_sim.virtual_servo import ServoFault


@pytest.fixture
def bus(wire: Any) -> Iterator[PypotBus]:
    bus = PypotBus(wire.port, 1_000_000, 2.0)  # for a slow computer; here every answer comes
    yield bus
    bus.close()


def test_a_write_is_not_dropped_by_the_next(wire: Any, bus: PypotBus) -> None:
    for round_ in range(100):
        goal = 0.001 * round_
        bus.write_command({motor: MotorCommand(goal, 1.0, 0.05) for motor in MOTORS})
        state = bus.read_state(MOTORS)
        assert len(state.motors) == len(MOTORS)
        assert state.motors[6].torque_limit == xl320.torque_to_raw(0.05)
        assert wire.servos[5].get(xl320.GOAL_POSITION) == xl320.position_to_raw(goal)
        bus.write_command({motor: MotorCommand(goal, 1.0, 0.1) for motor in MOTORS})


def test_state_comes_in_units(wire: Any, bus: PypotBus) -> None:
    wire.servos[2].angle, wire.servos[2].speed = 1.0, -2.0
    state = bus.read_state(MOTORS).motors[3]
    assert state.position == pytest.approx(1.0, abs=xl320.RESOLUTION)
    assert state.speed == pytest.approx(-2.0, abs=xl320.SPEED_UNIT)
    assert state.load == 0.0
    assert not state.alert
    health = bus.read_health(3)
    assert (health.hardware_error, health.temperature > 20.0) == (0, True)


def test_a_missing_motor_is_named(wire: Any) -> None:
    wire.bus.fault = BusFault(silent=frozenset({2, 5}))
    bus = PypotBus(wire.port, 1_000_000, 0.3)
    assert sorted(bus.read_state(MOTORS).motors) == [1, 3, 4, 6]
    assert bus.ping(2) is None
    with pytest.raises(BusError, match="motor 5 did not answer"):
        bus.read_health(5)
    bus.close()


def test_a_corrupt_answer_is_no_answer(wire: Any, bus: PypotBus) -> None:
    wire.bus.fault = BusFault(corrupt=1.0, noisy=frozenset({4}))
    reading = bus.read_state(MOTORS)
    assert sorted(reading.motors) == [1, 2, 3, 5, 6]
    assert reading.corrupt == 1


def test_late_answers_do_not_pass_for_fresh_ones(wire: Any) -> None:
    bus = PypotBus(wire.port, 1_000_000, 0.1)
    wire.bus.fault = BusFault(delay=0.2)
    for _ in range(5):
        assert bus.read_state(MOTORS).motors == {}
    bus.close()


def test_torque_off_reaches_all(wire: Any, bus: PypotBus) -> None:
    bus.set_torque(MOTORS, True)
    assert [bus.read(motor, xl320.TORQUE_ENABLE) for motor in MOTORS] == [1] * 6
    bus.torque_off(MOTORS)
    assert [bus.read(motor, xl320.TORQUE_ENABLE) for motor in MOTORS] == [0] * 6


def test_registers(wire: Any, bus: PypotBus) -> None:
    assert bus.ping(1) == xl320.MODEL
    bus.write(1, xl320.ANGLE_HIGH, 700)
    assert bus.read(1, xl320.ANGLE_HIGH) == 700
    with pytest.raises(
        MotorRefusedError, match=r"m1 refuses to be written to: .* 0x07 says a register"
    ):
        bus.write(1, xl320.PRESENT_POSITION, 1)  # read-only


def test_a_pulled_cable_is_a_lost_port(wire: Any, bus: PypotBus) -> None:
    wire.line.want(False)
    assert wire.line.settle()
    with pytest.raises(PortError, match="is lost"):
        bus.read_state(MOTORS)


def test_a_second_master_is_refused_and_the_guard_is_not(wire: Any, bus: PypotBus) -> None:
    with pytest.raises(PortError, match=r"port is taken: another driver or calibrate"):
        PypotBus(wire.port, 1_000_000, 0.01)
    bus.set_torque(MOTORS, True)
    assert bus.read(6, xl320.TORQUE_ENABLE) == 1
    guard.let_go(wire.port, 1_000_000)
    assert bus.read(6, xl320.TORQUE_ENABLE) == 0


def test_each_packet_is_a_sign_of_life(wire: Any) -> None:
    packets: list[None] = []
    bus = PypotBus(wire.port, 1_000_000, 2.0, lambda: packets.append(None))
    bus.read_state(MOTORS)
    bus.set_torque(MOTORS, False)
    assert len(packets) == 2
    bus.close()


def test_a_port_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PortError, match=r"nowhere cannot be opened: .*No such file"):
        PypotBus(str(tmp_path / "nowhere"), 1_000_000, 0.01)


def scanned(bus: PypotBus, expected: Scan) -> Scan:
    """What a scan finds: `expected`, if only the computer is given the time for it."""
    scan = Scan()
    for patience in (0.025, 0.1, 0.4):
        scan = bus.scan(patience)
        if scan == expected:
            break
    return scan


def test_a_scan_finds_motors_at_any_baud_rate_and_leaves_the_port_as_it_was(
    wire: Any, bus: PypotBus
) -> None:
    wire.servos[2].write(xl320.BAUD_RATE_CODE.address, b"\x01")
    wire.servos[5].write(xl320.ID.address, b"\x0c")
    expected = Scan(
        [
            *(FoundMotor(motor, xl320.MODEL, 1_000_000) for motor in (1, 2, 4, 5, 12)),
            FoundMotor(3, xl320.MODEL, 57_600),
        ]
    )
    assert scanned(bus, expected) == expected
    assert sorted(bus.read_state(MOTORS).motors) == [1, 2, 4, 5]


def test_a_scan_tells_ids_that_two_motors_have(wire: Any, bus: PypotBus) -> None:
    wire.servos[2].write(xl320.ID.address, b"\x01")
    expected = Scan(
        [FoundMotor(motor, xl320.MODEL, 1_000_000) for motor in (2, 4, 5, 6)], (1_000_000,), (1,)
    )
    assert scanned(bus, expected) == expected


def test_a_scan_of_a_port_that_is_lost_is_a_port_error(wire: Any, bus: PypotBus) -> None:
    wire.line.want(False)
    assert wire.line.settle()
    with pytest.raises(PortError, match="is lost"):
        bus.scan()


def test_a_motor_that_refuses_reads_is_named_and_not_silent(wire: Any) -> None:
    wire.servos[2].refuse(xl320.OVERLOAD)
    bus = PypotBus(wire.port, 1_000_000, 0.3)
    reading = bus.read_state(MOTORS)
    assert sorted(reading.motors) == [1, 2, 4, 5, 6]
    assert (reading.corrupt, reading.refused) == (0, {3: xl320.OVERLOAD})
    for read in (bus.read_health, lambda motor: bus.read(motor, xl320.FIRMWARE)):
        with pytest.raises(
            MotorRefusedError, match=r"^m3 refuses to be read: its error byte 0x01 says overload$"
        ) as refusal:
            read(3)
        assert (refusal.value.motor, refusal.value.error) == (3, xl320.OVERLOAD)
    bus.close()


def test_an_answer_with_an_error_and_all_of_its_data_is_an_answer(wire: Any, bus: PypotBus) -> None:
    wire.servos[3].fault = ServoFault(errors=xl320.INPUT_VOLTAGE)
    wire.servos[3].step(0.0, 0.0, 0.01)
    states = bus.read_state(MOTORS).motors
    assert [motor for motor in MOTORS if states[motor].alert] == [4]
    assert bus.read_health(4).hardware_error == xl320.INPUT_VOLTAGE
    bus.write(4, xl320.LED, 1)


def test_health_tells_torque_and_gain(wire: Any, bus: PypotBus) -> None:
    health = bus.read_health(2)
    assert (health.torque_on, health.p_gain, health.voltage) == (False, 32, 7.4)
    bus.set_torque([2], True)
    bus.write(2, xl320.P_GAIN, 8)
    health = bus.read_health(2)
    assert (health.torque_on, health.p_gain) == (True, 8)


def test_a_port_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "PORTS", (str(tmp_path / "tty*"),))
    with pytest.raises(
        PortError, match=r"opened: No such file or directory \(no serial port is there"
    ):
        PypotBus(str(tmp_path / "nowhere"), 1_000_000, 0.01)
    for name in ("ttyACM0", "ttyUSB0"):
        (tmp_path / name).touch()
    (tmp_path / "tty_too").symlink_to("ttyACM0")  # the same again
    there = rf"\(there is {tmp_path}/ttyACM0, {tmp_path}/ttyUSB0\)"
    with pytest.raises(PortError, match=there):
        PypotBus(str(tmp_path / "nowhere"), 1_000_000, 0.01)
