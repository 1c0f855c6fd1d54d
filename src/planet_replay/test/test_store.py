"""What the store promises: an acknowledged episode stays, a damaged one is never served."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planet_core import durable
from planet_core.episode import Episode
from planet_replay.store import EpisodeStore, RefusedError

Make = Callable[..., Episode]
EVERYTHING = 2**62


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "episodes"


def reopen(store: EpisodeStore, directory: Path, capacity: int = 1000) -> EpisodeStore:
    store.close()
    return EpisodeStore(directory, capacity)


def ids(store: EpisodeStore) -> list[str]:
    return [entry.header.id for entry, _ in store.get(0, EVERYTHING)[0]]


def test_what_was_added_is_served_byte_for_byte_also_after_a_restart(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    sent = [make_episode(f"e{i}").to_bytes() for i in range(3)]
    assert [store.add(data).entry.sequence for data in sent] == [1, 2, 3]
    for current in (store, reopen(store, directory)):
        found, status = current.get(0, EVERYTHING)
        assert [data for _, data in found] == sent
        assert (status.episodes, status.oldest_sequence, status.newest_sequence) == (3, 1, 3)
        assert status.steps == 9


def test_the_same_id_again_stores_nothing_also_after_a_restart(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    data = make_episode("e").to_bytes()
    first = store.add(data)
    store = reopen(store, directory)
    again = store.add(data)
    assert first.new
    assert not again.new
    assert again.entry.sequence == first.entry.sequence
    assert len(list(durable.files(directory))) == 1


def test_evaluation_episodes_are_counted_apart(directory: Path, make_episode: Make) -> None:
    store = EpisodeStore(directory, 1000)
    store.add(make_episode("a", policy="evaluation").to_bytes())
    store.add(make_episode("b", policy="planner").to_bytes())
    assert (store.status().episodes, store.status().training_episodes) == (2, 1)


def test_training_episodes_are_counted_when_they_are_gone_too(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 8)  # room for two episodes of four rows
    for number in range(5):
        store.add(make_episode(f"e{number}").to_bytes())
    assert (store.status().episodes, store.status().training_episodes) == (2, 5)
    store.close()
    again = EpisodeStore(directory, 8)
    again.remember(5)
    assert again.status().training_episodes == 5
    again.add(make_episode("e6").to_bytes())
    assert again.status().training_episodes == 6


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_set_aside_with_a_warning_and_never_served(
    directory: Path, make_episode: Make, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = EpisodeStore(directory, 1000)
    for name in ("a", "b", "c"):
        store.add(make_episode(name).to_bytes())
    path = store.entries()[1].path
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes({"cut": data[:-7], "flipped": flipped, "empty": b""}[damage])
    store = reopen(store, directory)
    assert ids(store) == ["a", "c"]
    assert [p.name for p in (directory / "corrupt").iterdir()] == [path.name]
    assert path.name in caplog.text
    assert ids(reopen(store, directory)) == ["a", "c"]


def test_a_file_left_half_written_by_a_crash_is_set_aside(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    data = make_episode("a").to_bytes()
    (directory / ".000000000001_a.00000000.safetensors.partial").write_bytes(data[:100])
    store = reopen(store, directory)
    assert ids(store) == []
    assert [p.name for p in directory.iterdir() if p.is_file()] == [".lock"]
    assert store.add(data).new


def test_a_sequence_is_never_given_twice_even_when_its_file_was_corrupt(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    for name in ("a", "b"):
        store.add(make_episode(name).to_bytes())
    store.entries()[1].path.write_bytes(b"")
    store = reopen(reopen(store, directory), directory)
    assert store.status().newest_sequence == 2
    assert store.add(make_episode("c").to_bytes()).entry.sequence == 3


def test_the_oldest_episodes_make_room_and_that_is_logged(
    directory: Path, make_episode: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = EpisodeStore(directory, 10)
    for i in range(4):  # 4 observations each
        store.add(make_episode(f"e{i}").to_bytes())
    assert ids(store) == ["e2", "e3"]
    assert len(list(durable.files(directory))) == 2
    assert "evicted episode e0" in caplog.text
    assert ids(reopen(store, directory, capacity=4)) == ["e3"]


def test_an_episode_longer_than_the_whole_store_is_refused(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 3)
    with pytest.raises(RefusedError, match="more than capacity_steps = 3"):
        store.add(make_episode().to_bytes())


def test_bytes_that_are_no_episode_are_refused_and_leave_nothing(directory: Path) -> None:
    store = EpisodeStore(directory, 1000)
    with pytest.raises(RefusedError):
        store.add(b"no episode at all")
    assert list(durable.files(directory)) == []


def test_an_episode_other_than_declared_is_refused(directory: Path, make_episode: Make) -> None:
    store = EpisodeStore(directory, 1000)
    with pytest.raises(RefusedError, match="says policy = 'random', but was sent as 'evaluation'"):
        store.add(make_episode().to_bytes(), id="e", policy="evaluation")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_refuses_the_episode_and_leaves_nothing_half_written(
    directory: Path, make_episode: Make, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = EpisodeStore(directory, 1000)
    store.add(make_episode("a").to_bytes())
    if failing == "fsync":

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RefusedError, match="No space left on device"):
            store.add(make_episode("b").to_bytes())
        monkeypatch.undo()
    else:
        import resource
        import signal

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(RefusedError, match="could not be written"):
                store.add(make_episode("b").to_bytes())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
    assert len([p for p in directory.iterdir() if p.name != ".lock"]) == 1
    assert store.add(make_episode("b").to_bytes()).entry.sequence == 2
    assert ids(store) == ["a", "b"]


def test_a_data_dir_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(durable.DirectoryError, match=r"cannot be written: Not a directory"):
        EpisodeStore(tmp_path / "file" / "episodes", 1000)
    with pytest.raises(durable.DirectoryError, match="cannot be written"):
        EpisodeStore(Path("/proc/robo_planet"), 1000)


def test_two_stores_never_share_a_directory(directory: Path) -> None:
    store = EpisodeStore(directory, 1000)
    with pytest.raises(durable.DirectoryError, match="in use by another process"):
        EpisodeStore(directory, 1000)
    store.close()
    EpisodeStore(directory, 1000).close()


def test_get_fills_max_bytes_but_returns_at_least_one(directory: Path, make_episode: Make) -> None:
    store = EpisodeStore(directory, 1000)
    for i in range(4):
        store.add(make_episode(f"e{i}").to_bytes())
    size = store.entries()[0].size
    for max_bytes, count in ((0, 1), (2 * size, 2), (3 * size - 1, 2), (EVERYTHING, 3)):
        found, _ = store.get(1, max_bytes)
        assert [entry.sequence for entry, _ in found] == [2, 3, 4][:count]
    assert store.get(4, EVERYTHING)[0] == []


def test_an_episode_deleted_behind_the_stores_back_is_skipped(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    for name in ("a", "b"):
        store.add(make_episode(name).to_bytes())
    store.entries()[0].path.unlink()
    assert ids(store) == ["b"]
    assert store.status().episodes == 1


def test_episodes_added_at_once_from_many_threads_get_sequences_of_their_own(
    directory: Path, make_episode: Make
) -> None:
    store = EpisodeStore(directory, 1000)
    got: list[int] = []
    threads = [
        threading.Thread(
            target=lambda i=i: got.append(
                store.add(make_episode(f"e{i % 6}").to_bytes()).entry.sequence
            )
        )
        for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted([*range(1, 7)] * 2)


def test_a_process_killed_while_adding_loses_no_acknowledged_episode(
    directory: Path, make_episode: Make
) -> None:
    data = directory.parent / "episode"
    data.write_bytes(make_episode("NAME", steps=40).to_bytes())
    program = (
        "import sys; from pathlib import Path; from planet_replay.store import EpisodeStore\n"
        "store = EpisodeStore(Path(sys.argv[1]), 10**6); data = Path(sys.argv[2]).read_bytes()\n"
        "for i in range(10**4):\n"
        "    store.add(data.replace(b'NAME', b'%04d' % i)); print(i, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(directory), str(data)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    held = set(ids(EpisodeStore(directory, 10**6)))
    assert {f"{i:04d}" for i in acknowledged} <= held
    assert len(held) <= len(acknowledged) + 1


def test_the_index_is_rebuilt_from_the_headers_alone(directory: Path, make_episode: Make) -> None:
    data = make_episode("e000", steps=100).to_bytes()
    header = data[: 8 + int.from_bytes(data[:8], "little")]
    directory.mkdir()
    for i in range(200):
        path = directory / f"{i + 1:012d}_e{i:03d}.00000000.safetensors"
        path.write_bytes(header.replace(b"e000", b"e%03d" % i))
        os.truncate(path, len(data))  # a hole: no disk is filled with what shall not be read
    before = bytes_read()
    assert EpisodeStore(directory, 10**6).status().episodes == 200
    assert bytes_read() - before < 200 * len(data) / 10


def bytes_read() -> int:
    """What this process has read so far, from wherever."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    actions=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 7)),
            st.tuples(st.just("damage"), st.integers(0, 7)),
            st.just(("restart", 0)),
        ),
        max_size=25,
    ),
    capacity=st.integers(4, 24),
)
def test_any_history_leaves_the_newest_whole_episodes_in_order(
    tmp_path: Path, make_episode: Make, actions: list[tuple[str, int]], capacity: int
) -> None:
    directory = tmp_path / "any"
    shutil.rmtree(directory, ignore_errors=True)
    store = EpisodeStore(directory, capacity)
    expected: list[tuple[int, str]] = []
    newest = 0
    for action, number in actions:
        name = f"e{number}"
        if action == "add":
            held = {i: s for s, i in expected}
            added = store.add(make_episode(name, steps=1 + number % 3).to_bytes())
            assert added.new == (name not in held)
            if added.new:
                newest += 1
                expected.append((newest, name))
            assert added.entry.sequence == {i: s for s, i in expected}[name]
            while sum(2 + int(i[1]) % 3 for _, i in expected) > capacity:
                expected.pop(0)
        elif action == "damage":
            for entry in store.entries():
                if entry.header.id == name:
                    entry.path.write_bytes(entry.path.read_bytes()[:-1])
                    store.get(0, EVERYTHING)
                    expected.remove((entry.sequence, name))
        else:
            store = reopen(store, directory, capacity)
        found, status = store.get(0, EVERYTHING)
        assert [(entry.sequence, entry.header.id) for entry, _ in found] == expected
        assert status.newest_sequence == newest
    store.close()
