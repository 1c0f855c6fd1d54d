"""The chunk sampler draws what it says, and the ring keeps what it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_core import testing
from planet_core.episode import Episode
from planet_learner import mirror as mirror_module
from planet_learner.mirror import Draw, Mirror, MirrorError

Make = Callable[..., Episode]
SHAPE = (64, 64, 3)


@pytest.fixture(scope="session")
def make_episode() -> Make:
    """Episodes whose rows are told by their values, and which end by terminating."""

    def make(name: str = "e", steps: int = 3, **more: Any) -> Episode:
        last = np.arange(steps + 1) == steps
        ended = {"terminated": last, "truncated": np.zeros_like(last)}
        return testing.make_episode(name, steps=steps, **{"joints": 6} | ended | more)

    return make


def filled(make: Make, lengths: list[int], capacity: int = 500) -> Mirror:
    mirror = Mirror(capacity, SHAPE, 2, 12)
    for i, steps in enumerate(lengths):
        mirror.add(make(f"e{i}", steps=steps), i + 1)
    return mirror


def whence(mirror: Mirror, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Sequence of each chunk's episode, and the row of it at which the chunk starts: [B] each."""
    first = draw.rows[:, :1]
    starts = np.array([span.start for span in mirror.spans])
    lengths = np.array([span.length for span in mirror.spans])
    b, which = ((starts <= first) & (first < starts + lengths)).nonzero()
    assert b.tolist() == list(range(len(first)))
    sequences = np.array([span.sequence for span in mirror.spans])
    return sequences[which], first[:, 0] - starts[which]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    length=st.integers(1, 9),
    clipped=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_chunk_is_consecutive_rows_of_one_episode_and_its_padding_is_masked(
    make_episode: Make, lengths: list[int], length: int, clipped: bool, seed: int
) -> None:
    mirror = filled(make_episode, lengths)
    draw = mirror.draw(8, length, np.random.default_rng(seed), clipped)
    held = mirror.rows()
    for b, (sequence, start) in enumerate(zip(*whence(mirror, draw), strict=True)):
        rows = lengths[sequence - 1] + 1
        assert 0 <= start <= max(0, rows - length)
        real = np.arange(start, min(start + length, rows))
        count = len(real)
        assert draw.mask[b].tolist() == [True] * count + [False] * (length - count)
        assert (draw.rows[b, count:] == draw.rows[b, count - 1]).all()
        chunk = {name: values[draw.rows[b, :count]] for name, values in held.items()}
        assert (chunk["images"] == real[:, None, None, None]).all()
        assert (chunk["reward"] == real).all()
        assert (chunk["reward_valid"] == (real > 0)).all()
        assert (chunk["terminated"] == (real == rows - 1)).all()
        assert chunk["action"][:, 0] == pytest.approx(real / (rows - 1))
        joints = real[:, None] + np.arange(6) / 10
        assert chunk["state"] == pytest.approx(np.hstack([joints, -joints]))


@pytest.mark.parametrize("clipped", [False, True])
def test_episodes_are_drawn_by_their_rows_and_starts_as_written(
    make_episode: Make, clipped: bool
) -> None:
    draws, length = 20_000, 6
    mirror = filled(make_episode, [19, 9, 2])  # 20, 10 and 3 rows
    rng = np.random.default_rng(0)
    found = [whence(mirror, mirror.draw(100, length, rng, clipped)) for _ in range(draws // 100)]
    sequence, start = (np.concatenate(values) for values in zip(*found, strict=True))
    for number, rows in ((1, 20), (2, 10), (3, 3)):
        drawn = start[sequence == number]
        assert len(drawn) / draws == pytest.approx(rows / 33, abs=0.015)
        if clipped:
            ideal = np.clip(np.arange(-3, rows - length + 3 + 1), 0, max(0, rows - length))
        else:
            ideal = np.arange(max(0, rows - length) + 1)
        expected = np.bincount(ideal, minlength=rows) / len(ideal)
        assert np.bincount(drawn, minlength=rows) / len(drawn) == pytest.approx(expected, abs=0.02)


def test_clipped_starts_draw_last_rows_more_often(make_episode: Make) -> None:
    mirror = filled(make_episode, [99])
    rng = np.random.default_rng(0)
    terminated = mirror.rows()["terminated"]
    ends = {
        clipped: terminated[mirror.draw(1000, 50, rng, clipped).rows].any(1).mean()
        for clipped in (False, True)
    }
    assert ends[False] < 0.05
    assert ends[True] > 0.2


def test_evaluation_episodes_are_never_drawn_but_known(make_episode: Make) -> None:
    mirror = filled(make_episode, [3])
    mirror.add(make_episode("v", policy="evaluation"), 2)
    assert (mirror.episodes, mirror.newest_sequence) == (1, 2)
    assert set(whence(mirror, mirror.draw(50, 2, np.random.default_rng(0), True))[0]) == {1}


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30), capacity=st.integers(10, 25))
def test_the_ring_keeps_the_newest_episodes_whole(
    make_episode: Make, lengths: list[int], capacity: int
) -> None:
    mirror = Mirror(capacity, SHAPE, 2)
    for i, steps in enumerate(lengths):
        mirror.add(make_episode(f"e{i}", steps=steps), i + 1)
        assert mirror.steps <= capacity
        held = [span.sequence for span in mirror._spans]
        assert held == list(range(i + 2 - len(held), i + 2))
        # Only what lies behind the wrap is lost: less than one episode of room.
        if len(held) <= i:
            assert mirror.steps + 1 + lengths[i - len(held)] + max(lengths) > capacity
        taken: deque[int] = deque()
        for span in mirror._spans:
            rows = range(span.start, span.start + span.length)
            assert (mirror._reward[rows] == np.arange(span.length)).all()
            taken.extend(rows)
        assert len(set(taken)) == len(taken)


def test_an_episode_of_another_shape_is_refused_in_one_sentence(make_episode: Make) -> None:
    mirror = filled(make_episode, [3])
    with pytest.raises(MirrorError, match=r"images \(64, 128, 3\)"):
        mirror.add(make_episode("two", cameras=2), 2)
    with pytest.raises(MirrorError, match="3 actions"):
        mirror.add(make_episode("three", actions=3), 2)
    with pytest.raises(MirrorError, match="more than capacity_steps = 500"):
        mirror.add(make_episode("long", steps=500), 2)


def test_the_joint_state_is_held_only_when_it_is_asked_for(make_episode: Make) -> None:
    mirror = Mirror(50, SHAPE, 2)
    mirror.add(make_episode(), 1)
    assert mirror.rows()["state"].shape == (50, 0)
    with pytest.raises(MirrorError, match="of 5 are learnt from"):
        Mirror(50, SHAPE, 2, 10).add(make_episode(), 1)


def test_a_cleared_mirror_starts_afresh(make_episode: Make) -> None:
    mirror = filled(make_episode, [3])
    mirror.clear()
    with pytest.raises(MirrorError, match="no training episode"):
        mirror.draw(1, 1, np.random.default_rng(0), True)
    mirror.add(make_episode("again"), 1)
    assert mirror.newest_sequence == 1


def test_too_little_memory_is_refused_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2000000 kB\nMemAvailable: 1000000 kB\n")
    monkeypatch.setattr(mirror_module, "_MEMINFO", meminfo)
    monkeypatch.setattr(mirror_module, "_CGROUP", tmp_path)
    with pytest.raises(MirrorError, match=r"needs 2\.5 GB .* 1\.0 GB are available: set it to 832"):
        Mirror(200_000, SHAPE, 2)
    Mirror(1000, SHAPE, 2)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 77\n")
    with pytest.raises(MirrorError, match=r"0\.0 GB are available: set it to 325 or less"):
        Mirror(1000, SHAPE, 2)
