"""The chunk sampler draws what it says, and the ring keeps what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_core import testing
from planet_core.episode import Episode
from planet_core.experience import Draw
from planet_learner import mirror as mirror_module
from planet_learner.mirror import Mirror, MirrorError
from planet_replay.store import EpisodeStore

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
    """Episodes of so many steps, in a ring around whose end the first of them goes."""
    mirror = Mirror(capacity, SHAPE, 2, 12)
    mirror.add(make("gone", steps=capacity - 2), 0)
    for i, steps in enumerate(lengths):
        mirror.add(make(f"e{i}", steps=steps), i + 1)
    assert mirror.episodes == len(lengths)
    return mirror


def whence(mirror: Mirror) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row of the mirror: the sequence of its episode (-1: none), and its place therein."""
    sequence = np.full(mirror.capacity, -1)
    place = np.zeros(mirror.capacity, np.int64)
    for span in mirror.spans:
        rows = mirror.places(span)
        assert (sequence[rows] == -1).all()
        sequence[rows], place[rows] = span.sequence, np.arange(span.length)
    return sequence, place


class EveryOutcome:
    """In place of a random generator: the draws of a batch are all outcomes, each as often.

    The first number, below `low`, has each value `second` times; with it come all values of the
    second number, each as often if their count divides `second`.
    """

    def __init__(self, second: int = 1) -> None:
        self._second = second

    def integers(
        self, low: int, high: Any = None, size: int | None = None, endpoint: bool = False
    ) -> NDArray[np.int64]:
        if high is None:
            assert size == low * self._second
            return np.repeat(np.arange(low), self._second)
        assert endpoint
        assert (self._second % (high + 1 - low) == 0).all()
        return low + np.resize(np.arange(self._second), len(high)) % (high + 1 - low)


def every_chunk(mirror: Mirror, firsts: int, length: int, clipped: bool, seconds: int = 1) -> Draw:
    rng = cast(np.random.Generator, EveryOutcome(seconds))
    return mirror.draw(firsts * seconds, length, rng, clipped)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    length=st.integers(1, 9),
    clipped=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_chunk_is_successive_rows_of_one_episode_and_its_padding_is_masked(
    make_episode: Make, lengths: list[int], length: int, clipped: bool, seed: int
) -> None:
    mirror = filled(make_episode, lengths, capacity=100)
    draw = mirror.draw(8, length, np.random.default_rng(seed), clipped)
    held = mirror.rows()
    sequence, place = whence(mirror)
    for b in range(8):
        count = int(draw.mask[b].sum())
        rows = lengths[sequence[draw.rows[b, 0]] - 1] + 1
        start = place[draw.rows[b, 0]]
        real = np.arange(start, start + count)
        assert 0 < count <= min(length, rows)
        assert clipped or count == min(length, rows)
        assert (sequence[draw.rows[b]] == sequence[draw.rows[b, 0]]).all()
        assert (place[draw.rows[b, :count]] == real).all()
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


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    length=st.integers(1, 25),
)
def test_with_clipped_starts_every_row_is_equally_likely(
    make_episode: Make, lengths: list[int], length: int
) -> None:
    mirror = filled(make_episode, lengths, capacity=150)
    rows = [steps + 1 for steps in lengths]
    windows = sum(n + length - 1 if n > length else length for n in rows)
    draw = every_chunk(mirror, windows, length, clipped=True)
    drawn = np.bincount(draw.rows[draw.mask], minlength=mirror.capacity)
    assert (drawn == np.where(whence(mirror)[0] > 0, length, 0)).all()


def test_without_them_starts_are_uniform_and_episodes_weigh_alike_by_the_row(
    make_episode: Make,
) -> None:
    lengths, length, starts = [19, 9, 2], 6, 15  # 20, 10 and 3 rows; 15, 5 and 1 starts
    mirror = filled(make_episode, lengths)
    draw = every_chunk(mirror, 20 + 10 + length, length, clipped=False, seconds=starts)
    sequence, place = whence(mirror)
    drawn = np.bincount(sequence[draw.rows[draw.mask]], minlength=4)[1:]
    assert (drawn / np.add(lengths, 1) == length * starts).all()
    for number, count in ((1, 15), (2, 5), (3, 1)):
        of_it = place[draw.rows[:, 0]][sequence[draw.rows[:, 0]] == number]
        assert (np.bincount(of_it) == len(of_it) / count).all()
        assert len(np.bincount(of_it)) == count


def test_evaluation_episodes_are_held_and_never_drawn(make_episode: Make) -> None:
    mirror = filled(make_episode, [3])
    mirror.add(make_episode("v", steps=5, policy="evaluation"), 2)
    assert (mirror.episodes, mirror.steps, mirror.newest_sequence) == (1, 4 + 6, 2)
    draw = every_chunk(mirror, 4 + 2 - 1, 2, clipped=True)
    assert set(whence(mirror)[0][draw.rows].flat) == {1}


def test_the_newest_evaluation_episodes_are_shown_from_their_first_row(make_episode: Make) -> None:
    mirror = filled(make_episode, [3])
    assert mirror.evaluation(2, 4).mask.shape == (0, 0)
    for number, steps in enumerate((2, 1, 9), 2):
        mirror.add(make_episode("v", steps=steps, policy="evaluation"), number)
        mirror.add(make_episode("r", steps=steps), number)
    draw = mirror.evaluation(2, 4)
    sequence, place = whence(mirror)
    assert sequence[draw.rows].tolist() == [[3] * 4, [4] * 4]
    assert place[draw.rows].tolist() == [[0, 1, 1, 1], [0, 1, 2, 3]]
    assert draw.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert mirror.evaluation(3, 100).mask.shape == (3, 10)


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30), capacity=st.integers(10, 25))
def test_the_ring_keeps_as_many_of_the_newest_episodes_as_fit(
    make_episode: Make, lengths: list[int], capacity: int
) -> None:
    mirror = Mirror(capacity, SHAPE, 2)
    for i, steps in enumerate(lengths):
        policy = "evaluation" if steps % 3 == 0 else "random"
        mirror.add(make_episode(f"e{i}", steps=steps, policy=policy), i + 1)
        sequence, place = whence(mirror)
        held = [span.sequence for span in mirror.spans]
        assert held == list(range(i + 2 - len(held), i + 2))
        assert mirror.steps == (sequence > 0).sum() <= capacity
        if len(held) <= i:
            assert mirror.steps + lengths[i - len(held)] + 1 > capacity
        assert (mirror.rows()["reward"][sequence > 0] == place[sequence > 0]).all()


def test_a_mirror_filled_again_from_the_replay_holds_what_it_held(
    make_episode: Make, tmp_path: Path
) -> None:
    capacity = 25
    store = EpisodeStore(tmp_path, capacity)
    before = Mirror(capacity, SHAPE, 2)
    for number, steps in enumerate((7, 3, 5, 9, 2, 8, 6, 4, 7), 1):
        policy = "evaluation" if number % 3 == 0 else "random"
        episode = make_episode(f"e{number}", steps=steps, policy=policy)
        before.add(episode, store.add(episode.to_bytes()).entry.sequence)
        after = Mirror(capacity, SHAPE, 2)
        for entry in store.entries():
            kept = store.read(entry)
            assert kept is not None
            after.add(kept, entry.sequence)
        assert [s.sequence for s in before.spans] == [s.sequence for s in after.spans]
    assert len(store.entries()) < number
    store.close()


def test_an_episode_of_another_shape_is_refused_in_one_sentence(make_episode: Make) -> None:
    mirror = Mirror(500, SHAPE, 2, 12)
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


def test_images_are_held_only_when_they_are_asked_for(make_episode: Make) -> None:
    mirror = Mirror(50, (64, 0, 3), 2, 12)
    for cameras in (0, 2):
        mirror.add(make_episode(f"{cameras}", cameras=cameras), 1 + cameras)
    assert mirror.episodes == 2
    assert mirror.rows()["images"].shape == (50, 64, 0, 3)


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_a_row_says_how_its_episode_ended(ending: str) -> None:
    mirror = Mirror(50, SHAPE, 2)
    no = np.zeros(4, np.bool_)
    ended = {"terminated": no, "truncated": no} | {ending: np.arange(4) == 3}
    mirror.add(testing.make_episode(steps=3, **ended), 1)
    for name, expected in ended.items():
        assert (mirror.rows()[name][:4] == expected).all()


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
