"""The XL-320's packets and units."""

from __future__ import annotations

from math import pi

import pytest

from ergojr_description import xl320
from ergojr_description.xl320 import Packet, Parser


def test_the_manuals_packets_come_out_byte_for_byte() -> None:
    # Robotis' e-manual, protocol 2: ping of id 1, and a read of the present position of id 1.
    assert xl320.ping(1).encode() == bytes.fromhex("FFFFFD00 01 0300 01 194E")
    assert xl320.read(1, xl320.Register(132, 4)).encode() == bytes.fromhex(
        "FFFFFD00 01 0700 02 8400 0400 1D15"
    )


def test_what_is_stuffed_comes_back_unstuffed() -> None:
    packet = xl320.status(3, 0, b"\xff\xff\xfd\x01\xff\xff\xfd\xff\xff\xfd")
    wire = packet.encode()
    assert wire[4:].count(b"\xff\xff\xfd") == wire[4:].count(b"\xff\xff\xfd\xfd") == 3
    assert Parser().feed(wire) == [packet]


def test_packets_survive_being_cut_anywhere() -> None:
    packets = [xl320.ping(2), xl320.status(5, xl320.ALERT, bytes(8)), xl320.write(1, xl320.LED, 1)]
    wire = b"".join(packet.encode() for packet in packets)
    for cut in range(len(wire)):
        parser = Parser()
        assert parser.feed(wire[:cut]) + parser.feed(wire[cut:]) == packets


def test_a_corrupt_byte_costs_one_packet_and_no_more() -> None:
    first, second = xl320.status(1, 0, bytes(8)), xl320.status(2, 0, bytes(8))
    for place in range(len(first.encode())):
        wire = bytearray(first.encode())
        wire[place] ^= 0x5A
        parser = Parser()
        # A corrupt length may wait for more; the next packets bring it.
        found = parser.feed(bytes(wire) + second.encode()) + parser.feed(second.encode() * 30)
        assert set(found) == {second}


def test_lost_bytes_cost_one_packet_and_no_more() -> None:
    first, second = xl320.status(1, 0, bytes(8)).encode(), xl320.status(2, 0, bytes(8))
    for lost in range(1, len(first)):
        parser = Parser()
        found = parser.feed(first[:lost]) + parser.feed(second.encode())
        assert found == [second]


def test_noise_is_no_packet() -> None:
    parser = Parser()
    assert parser.feed(b"\x00\xff\xff\xff\xfd" + bytes(100)) == []
    assert parser.feed(xl320.ping(1).encode()) == [xl320.ping(1)]


@pytest.mark.parametrize("raw", [0, 1, 511, 512, 1023])
def test_position_goes_there_and_back(raw: int) -> None:
    assert xl320.position_to_raw(xl320.raw_to_position(raw)) == raw


def test_units() -> None:
    assert xl320.raw_to_position(1023) == pytest.approx(150 * pi / 180)
    assert xl320.position_to_raw(9.0) == 1023
    assert xl320.position_to_raw(-9.0) == 0
    assert xl320.raw_to_speed(1024 + 100) == pytest.approx(-100 * 0.111 * 2 * pi / 60)
    assert xl320.torque_to_raw(-0.39) == 1023
    assert xl320.speed_to_raw(0.0) == 1  # 0 would mean no bound
    for raw in (0, 7, 1023, 1025, 2047):
        assert xl320.signed_to_raw(xl320.raw_to_speed(raw), xl320.SPEED_UNIT) == raw
        assert xl320.signed_to_raw(xl320.raw_to_load(raw), xl320.TORQUE_UNIT) == raw


def test_torque_off_speaks_to_everybody_and_to_each() -> None:
    assert Parser().feed(xl320.torque_off((1, 2))) == [
        Packet(254, xl320.WRITE, bytes([24, 0, 0])),
        Packet(254, xl320.SYNC_WRITE, bytes([24, 0, 1, 0, 1, 0, 2, 0])),
    ]


def test_hardware_errors_have_names() -> None:
    assert xl320.hardware_error_text(0) == ""
    assert xl320.hardware_error_text(3) == "overload and overheating"
    assert xl320.refusal_text(xl320.ALERT | 2) == "overheating"
    assert xl320.refusal_text(7, written=True) == "a register that cannot be written now"
    assert xl320.hardware_error_text(16) == "unknown (0x10)"
