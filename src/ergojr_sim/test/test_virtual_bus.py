"""Protocol 2 as the servos speak it, and the pseudo-terminal that it goes through."""

from __future__ import annotations

import os
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergojr_description import xl320
from ergojr_description.xl320 import Packet, Parser
from ergojr_sim.virtual_bus import BITS, BusFault, Line, VirtualBus
from ergojr_sim.virtual_servo import VirtualServo

IDS = (1, 2, 3, 4, 5, 6)
ALL = frozenset(IDS)


@pytest.fixture
def bus() -> VirtualBus:
    return make_bus()


def make_bus() -> VirtualBus:
    return VirtualBus([VirtualServo(motor) for motor in IDS])


def ask(bus: VirtualBus, packet: Packet) -> list[Packet]:
    return Parser().feed(bus.answer(packet.encode())[0])


def value(bus: VirtualBus, motor: int, register: xl320.Register) -> int:
    return int.from_bytes(ask(bus, xl320.read(motor, register))[0].data, "little")


def test_a_ping_tells_model_and_firmware(bus: VirtualBus) -> None:
    (reply,) = ask(bus, xl320.ping(4))
    assert (reply.id, reply.error) == (4, 0)
    assert int.from_bytes(reply.data[:2], "little") == xl320.MODEL
    assert [reply.id for reply in ask(bus, xl320.ping(xl320.BROADCAST))] == list(IDS)
    assert ask(bus, xl320.ping(9)) == []


@given(motor=st.sampled_from(IDS), goal=st.integers(0, 1023), cap=st.integers(0, 1023))
def test_what_is_written_is_read(motor: int, goal: int, cap: int) -> None:
    bus = make_bus()
    (reply,) = ask(bus, xl320.write(motor, xl320.GOAL, goal + (cap << 16)))
    assert (reply.id, reply.error, reply.data) == (motor, 0, b"")
    assert value(bus, motor, xl320.GOAL_POSITION) == goal
    assert value(bus, motor, xl320.MOVING_SPEED) == cap


@given(st.lists(st.binary(max_size=40)))
def test_after_any_noise_and_a_packet_that_is_lost_in_it_the_next_one_is_heard(
    noise: list[bytes],
) -> None:
    bus = make_bus()
    for piece in noise:
        bus.answer(piece)
    for _ in range(60):  # what the noise began may swallow 512 bytes
        if any(reply.id == 2 for reply in ask(bus, xl320.ping(2))):
            return
    raise AssertionError("no ping was heard")


@given(motor=st.integers(0, 252), data=st.binary(max_size=60), instruction=st.integers(1, 0x54))
def test_no_instruction_breaks_the_bus(motor: int, data: bytes, instruction: int) -> None:
    bus = make_bus()
    bus.answer(Packet(motor, instruction, data).encode())
    bus.answer(Packet(xl320.BROADCAST, instruction, data).encode())
    for sync in (xl320.SYNC_READ, xl320.SYNC_WRITE):
        bus.answer(Packet(xl320.BROADCAST, sync, data).encode())


def test_a_wrong_crc_is_answered_with_a_status_error_and_not_obeyed(bus: VirtualBus) -> None:
    data = xl320.write(2, xl320.TORQUE_ENABLE, 1).encode()
    replies = Parser().feed(bus.answer(data[:-1] + bytes([data[-1] ^ 1]))[0])
    assert [(reply.id, reply.error) for reply in replies] == [(2, xl320.ERROR_CRC)]
    assert value(bus, 2, xl320.TORQUE_ENABLE) == 0


def test_errors_of_a_servo_come_back_as_numbers(bus: VirtualBus) -> None:
    for packet, code in (
        (Packet(1, 0x33), xl320.ERROR_INSTRUCTION),
        (Packet(1, xl320.READ, b"\x00"), xl320.ERROR_LENGTH),
        (xl320.write(1, xl320.PRESENT_SPEED, 3), xl320.ERROR_ACCESS),
        (xl320.write(1, xl320.TORQUE_ENABLE, 7), xl320.ERROR_RANGE),
        (xl320.read(1, xl320.Register(52, 8)), xl320.ERROR_RANGE),
    ):
        assert [reply.error for reply in ask(bus, packet)] == [code]


def test_torque_off_to_all_is_obeyed_and_not_answered(bus: VirtualBus) -> None:
    for motor in IDS:
        ask(bus, xl320.write(motor, xl320.TORQUE_ENABLE, 1))
    assert ask(bus, xl320.write(xl320.BROADCAST, xl320.TORQUE_ENABLE, 0)) == []
    assert [value(bus, motor, xl320.TORQUE_ENABLE) for motor in IDS] == [0] * 6


def test_a_sync_read_is_answered_in_the_order_that_was_asked_for(bus: VirtualBus) -> None:
    replies = ask(bus, xl320.sync_read((5, 1, 6, 2), xl320.STATE))
    assert [reply.id for reply in replies] == [5, 1, 6, 2]
    assert {len(reply.data) for reply in replies} == {xl320.STATE.length}


def test_a_sync_write_reaches_each_with_its_own_value(bus: VirtualBus) -> None:
    values = [(motor, (100 * motor).to_bytes(2, "little")) for motor in IDS]
    assert ask(bus, xl320.sync_write(xl320.TORQUE_LIMIT, values)) == []
    assert [value(bus, m, xl320.TORQUE_LIMIT) for m in IDS] == [100 * m for m in IDS]


def test_a_servo_that_shall_not_answer_writes_does_not(bus: VirtualBus) -> None:
    assert ask(bus, xl320.write(1, xl320.STATUS_LEVEL, 1)) == []
    assert ask(bus, xl320.write(1, xl320.LED, 1)) == []
    assert value(bus, 1, xl320.LED) == 1


def test_every_byte_and_the_return_delays_take_their_time(bus: VirtualBus) -> None:
    request = xl320.sync_read(IDS, xl320.STATE).encode()
    reply, wire = bus.answer(request)
    assert wire == pytest.approx((len(request) + len(reply)) * BITS / 1e6)
    ask(bus, xl320.write(1, xl320.RETURN_DELAY, 250))
    assert bus.answer(request)[1] == pytest.approx(wire + 500e-6)


def test_a_silent_servo_obeys_and_the_others_answer(bus: VirtualBus) -> None:
    bus.fault = BusFault(silent=frozenset({3}))
    assert ask(bus, xl320.ping(3)) == []
    replies = ask(bus, xl320.sync_read(IDS, xl320.STATE))
    assert [reply.id for reply in replies] == [1, 2, 4, 5, 6]
    ask(bus, xl320.write(3, xl320.LED, 1))
    bus.fault = BusFault()
    assert value(bus, 3, xl320.LED) == 1


@pytest.mark.parametrize("kind", ["corrupt", "dropped"])
def test_on_a_bad_wire_the_share_of_exchanges_that_succeeds_is_as_said(
    bus: VirtualBus, kind: str
) -> None:
    faults: dict[str, Any] = {kind: 0.5, "noisy": ALL}
    bus.fault = BusFault(**faults)
    good = 0
    for _ in range(400):
        replies = ask(bus, xl320.ping(1))
        good += bool(replies and not replies[0].error)
    assert 60 < good < 140  # a quarter: both directions have to get through


def test_noise_at_one_servo_spares_the_others(bus: VirtualBus) -> None:
    bus.fault = BusFault(corrupt=1.0, noisy=frozenset({2}))
    replies = ask(bus, xl320.sync_read(IDS, xl320.STATE))
    assert [reply.id for reply in replies] == [1, 3, 4, 5, 6]


def test_two_servos_with_one_id_garble_each_other_and_spare_the_others() -> None:
    bus = VirtualBus([VirtualServo(motor) for motor in (1, 1, 2)])
    data, _ = bus.answer(xl320.ping(1).encode())
    assert data
    assert Parser().feed(data) == []
    assert [reply.id for reply in ask(bus, xl320.ping(2))] == [2]
    assert [reply.id for reply in ask(bus, xl320.sync_read((1, 2), xl320.STATE))] == [2]
    ask(bus, xl320.write(1, xl320.ID, 3))  # both obey
    assert [reply.id for reply in ask(bus, xl320.ping(xl320.BROADCAST))] == [2]


def test_a_servo_hears_only_its_own_baud_rate(bus: VirtualBus) -> None:
    ask(bus, xl320.write(2, xl320.BAUD_RATE_CODE, 1))
    assert ask(bus, xl320.ping(2)) == []
    reply, wire = bus.answer(xl320.ping(2).encode(), 57_600)
    assert [packet.id for packet in Parser().feed(reply)] == [2]
    assert wire > 10e-6 * 1e6 / 57_600 * len(reply)
    assert bus.answer(xl320.ping(1).encode(), 57_600)[0] == b""


def test_a_servo_that_refuses_reads_says_so_until_it_is_restarted(bus: VirtualBus) -> None:
    servo = bus._servos[2]
    servo.refuse(xl320.OVERLOAD)
    replies = ask(bus, xl320.sync_read((2, 3), xl320.STATE))
    assert [(reply.error, len(reply.data)) for reply in replies] == [(0, 8), (xl320.OVERLOAD, 0)]
    assert servo.get(xl320.TORQUE_LIMIT) == 0
    ask(bus, Packet(3, xl320.REBOOT))
    assert value(bus, 3, xl320.TORQUE_LIMIT) == 1023


@pytest.fixture
def line(bus: VirtualBus, tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path / "port", bus.answer, lambda: bus.fault.delay)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.close()
    thread.join()
    assert not (tmp_path / "port").is_symlink()


def test_hosts_come_and_go_also_two_at_once(
    line: Line, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    port = tmp_path / "port"
    where = os.readlink(port)
    for _ in range(3):
        first, second = connect(port), connect(port)
        assert first.ask(xl320.ping(1))
        first.close()
        assert second.ask(xl320.ping(2))
    assert os.readlink(port) == where


def test_the_wire_carries_every_byte_as_it_is(
    line: Line, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    # 0x03, 0x11, 0x13, 0x0a, 0x0d: what a terminal that is not raw would eat or change.
    host = connect(tmp_path / "port")
    for byte in (0x03, 0x04, 0x0A, 0x0D, 0x11, 0x13, 0x1A, 0x7F, 0xFF):
        host.ask(xl320.write(1, xl320.PUNCH, byte + (byte << 8)))
        (reply,) = host.ask(xl320.read(1, xl320.PUNCH))
        assert reply.data == bytes([byte, byte])


def test_back_to_back_instructions_are_all_heard(
    line: Line, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    host = connect(tmp_path / "port")
    data = b"".join(xl320.ping(motor).encode() for motor in IDS)
    assert [reply.id for reply in host.send(data, 6)] == list(IDS)


def test_a_late_answer_is_late_and_comes(
    line: Line, bus: VirtualBus, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    bus.fault = BusFault(delay=0.3)
    host = connect(tmp_path / "port")
    assert host.ask(xl320.ping(1), timeout=0.1) == []
    assert [reply.id for reply in host.send(b"", 1)] == [1]


def test_unplugged_the_port_is_gone_and_plugged_in_it_is_the_same_again(
    line: Line, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    port = tmp_path / "port"
    host = connect(port)
    line.want(False)
    assert line.settle()
    assert not port.is_symlink()
    with pytest.raises(OSError, match="Input/output error"):
        host.ask(xl320.ping(1))
    line.want(True)
    assert line.settle()
    assert connect(port).ask(xl320.ping(1))


def test_the_line_runs_at_the_baud_rate_that_the_host_sets(
    line: Line, bus: VirtualBus, tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    bus.answer(xl320.write(5, xl320.BAUD_RATE_CODE, 2).encode())
    host = connect(tmp_path / "port")
    assert [reply.id for reply in host.ask(xl320.ping(4))] == [4]  # 1 M where none is set
    host.set_speed(termios.B115200)
    assert [reply.id for reply in host.ask(xl320.ping(5))] == [5]
    host.set_speed(termios.B38400)
    assert host.ask(xl320.ping(5), timeout=0.1) == []
