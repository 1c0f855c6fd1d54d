"""Whether a computer keeps the pace, in one sentence."""

from __future__ import annotations

from ergojr_driver.pace import PaceCheck

MS = 1_000_000


def judged(latency: int, interval: int = 40, count: int = 50, in_time: int = 98) -> PaceCheck:
    """After `count` sets of images, `interval` ms apart and `latency` ms old when judged."""
    pace = PaceCheck(0.14)
    pace.bus(60, in_time - 40)
    pace.bus(40, 40)
    for number in range(count):
        stamp = number * interval * MS
        pace.images(stamp, stamp + latency * MS)
    return pace


def test_a_computer_that_keeps_the_pace_fits() -> None:
    verdict = judged(20).verdict()
    assert verdict.fits
    assert not verdict.tight
    assert verdict.sentence == "bus 98 of 100 cycles in time, images p99 60 of 140 ms: fits"


def test_images_get_as_old_as_the_next_ones_take_to_come() -> None:
    assert "images p99 120 of" in judged(20, interval=100).verdict().sentence


def test_a_few_late_images_are_tight_and_no_refusal() -> None:
    pace = judged(20)
    pace.images(3000 * MS, 3100 * MS)
    verdict = pace.verdict()
    assert verdict.fits
    assert verdict.tight
    assert "tight" in verdict.sentence


def test_images_that_are_mostly_late_are_refused_with_what_would_help() -> None:
    verdict = judged(150).verdict()
    assert not verdict.fits
    assert "images p99 190 of 140 ms: too slow; close other programs" in verdict.sentence


def test_a_bus_that_misses_its_cycles_is_refused() -> None:
    verdict = judged(20, in_time=60).verdict()
    assert not verdict.fits
    assert verdict.sentence.startswith("bus 60 of 100 cycles in time")


def test_without_cameras_the_bus_alone_decides() -> None:
    pace = PaceCheck(0.14)
    assert not pace.verdict().fits  # nothing was measured yet
    pace.bus(100, 100)
    assert pace.verdict().fits
    assert "no images yet" in pace.verdict().sentence
