from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from planet_core.clocks import SteadyClock
from planet_core.episode import Episode
from planet_core.episode_format import read_header
from planet_roller.recorder import Recorder
from planet_roller.robot import JointSample, Snapshot
from planet_roller.spool import Courier, DeliveryError, Spool, SpoolError


def make(spec, id_: str, policy: str = "random") -> Episode:
    zeros = np.zeros(3, np.float32)
    images = np.zeros((64, 128, 3), np.uint8)
    recorder = Recorder(spec, Snapshot(0, 0, images, 0.0, 0.0))
    recorder.signals([JointSample(0, zeros, zeros, zeros)], [])
    recorder.step(Snapshot(1, 1, images, 0.0, 0.0), np.zeros(2, np.float32), 1, 0)
    metadata = {"action_repeat": "1", "seed": "-1", "created": "0.0"}
    return recorder.build(id_=id_, policy=policy, weights_version=0, metadata=metadata)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "spool" / "ergojr"


def no_warning(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_new_process_finds_what_the_old_one_left_in_order(spec, directory):
    spool = Spool(directory, no_warning)
    for name in ("b", "a", "c"):
        spool.put(make(spec, name))
    spool.remove(spool.entries[1])
    spool.close()
    again = Spool(directory, no_warning)
    assert [entry.id for entry in again.entries] == ["b", "c"]
    again.put(make(spec, "0"))
    again.close()
    assert [entry.id for entry in Spool(directory, no_warning).entries] == ["b", "c", "0"]


def test_a_half_written_entry_is_never_listed(spec, directory):
    spool = Spool(directory, no_warning)
    spool.put(make(spec, "whole"))
    spool.close()
    (directory / ".000000000002_half.safetensors.partial").write_bytes(b"half")
    again = Spool(directory, no_warning)
    assert [entry.id for entry in again.entries] == ["whole"]
    assert not list(directory.glob(".*.partial"))


def test_a_broken_entry_is_set_aside_with_a_warning(spec, directory):
    spool = Spool(directory, no_warning)
    entry = spool.put(make(spec, "e"))
    spool.close()
    entry.path.write_bytes(entry.path.read_bytes()[:-1])
    warnings: list[str] = []
    assert Spool(directory, warnings.append).entries == []
    assert "set aside" in warnings[0]
    assert (directory / "corrupt" / entry.path.name).exists()


def test_two_rollers_never_share_a_spool(directory):
    first = Spool(directory, no_warning)
    with pytest.raises(SpoolError, match="in use by another process"):
        Spool(directory, no_warning)
    first.close()
    Spool(directory, no_warning)


def test_a_spool_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolError, match=r"the directory .*/spool/ergojr cannot be written: "):
        Spool(tmp_path / "spool" / "ergojr", no_warning)


def test_a_full_disk_is_reported_and_leaves_no_entry(spec, directory, monkeypatch):
    spool = Spool(directory, no_warning)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpoolError, match=r"episode e cannot be spooled in .*: No space left"):
        spool.put(make(spec, "e"))
    assert spool.entries == []
    monkeypatch.undo()
    spool.put(make(spec, "e"))
    assert [entry.id for entry in spool.entries] == ["e"]


KILLED = """
import sys
from pathlib import Path
from planet_core.episode import Episode
from planet_roller.spool import Spool
from dataclasses import replace
spool = Spool(Path(sys.argv[1]), print)
episode = Episode.from_bytes(Path(sys.argv[2]).read_bytes())
for i in range(100000):
    spool.put(replace(episode, id=f"e{i}"))
    print(i, flush=True)
"""


def test_kill_9_while_writing_loses_no_episode_that_was_said_to_be_safe(spec, directory, tmp_path):
    (tmp_path / "episode").write_bytes(make(spec, "e").to_bytes())
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), str(tmp_path / "episode")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    safe = [int(next(process.stdout)) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    safe += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    entries = Spool(directory, no_warning).entries
    assert [entry.id for entry in entries][: len(safe)] == [f"e{i}" for i in safe]
    assert len(entries) - len(safe) in (0, 1)  # killed between the rename and the print
    assert all(read_header(entry.path).steps == 1 for entry in entries)


# The courier.


class Replay:
    """Takes episodes while `up`; remembers what came, and wakes whoever waits for it."""

    def __init__(self) -> None:
        self.up = True
        self.got: list[str] = []
        self.attempts = 0
        self.event = threading.Event()
        self.reports: list[tuple[str | None, int]] = []
        self.lose_answer = False
        self.failed = threading.Event()
        self.failure: Exception | None = None

    def send(self, episode: Episode, data: bytes) -> int:
        self.attempts += 1
        assert Episode.from_bytes(data).id == episode.id
        up = self.up  # whoever waits for the event may change it then
        self.event.set()
        if not up:
            raise DeliveryError("there is no replay")
        if episode.id not in self.got:
            self.got.append(episode.id)
        if self.lose_answer:
            self.lose_answer = False
            raise DeliveryError("it did not answer")
        return self.got.index(episode.id) + 1

    def report(self, fault: str | None, waiting: int) -> None:
        self.reports.append((fault, waiting))

    def fail(self, error: Exception) -> None:
        self.failure = error
        self.failed.set()


@pytest.fixture
def replay():
    return Replay()


@pytest.fixture
def courier(directory, replay):
    """A courier, and an event for each of its deliveries."""
    delivered = threading.Semaphore(0)
    courier = Courier(
        Spool(directory, no_warning),
        replay.send,
        SteadyClock(),
        replay.report,
        delivered.release,
        replay.fail,
    )
    yield courier, delivered
    courier.stop()


def test_an_entry_is_deleted_only_after_the_answer(spec, directory, replay, courier):
    carrier, delivered = courier
    replay.up = False
    carrier.start()
    carrier.submit(make(spec, "e"))
    assert replay.event.wait(5.0)
    assert carrier.waiting == 1
    assert carrier.training_beyond(0) == 1
    replay.up = True
    assert delivered.acquire(timeout=5.0)
    assert carrier.waiting == 0
    assert (carrier.training_beyond(0), carrier.training_beyond(1)) == (1, 0)
    assert not list(directory.glob("*.safetensors"))


def test_what_waited_is_delivered_in_order_when_the_replay_is_back(spec, replay, courier):
    carrier, delivered = courier
    replay.up = False
    names = [f"e{i}" for i in range(5)]
    carrier.start()
    for name in names:
        carrier.submit(make(spec, name))
    assert replay.event.wait(5.0)
    replay.up = True
    assert all(delivered.acquire(timeout=5.0) for _ in names)
    assert replay.got == names
    assert replay.reports[0][0] == "there is no replay"
    assert replay.reports[-1] == (None, 0)


def test_an_answer_that_is_lost_stores_nothing_twice(spec, replay, courier):
    carrier, delivered = courier
    replay.lose_answer = True
    carrier.start()
    carrier.submit(make(spec, "e"))
    assert delivered.acquire(timeout=5.0)
    assert (replay.got, replay.attempts) == (["e"], 2)


def test_an_entry_that_rots_in_the_spool_does_not_hold_up_the_others(
    spec, directory, replay, courier
):
    carrier, delivered = courier
    carrier.submit(make(spec, "rotten"))
    carrier.submit(make(spec, "good"))
    (path,) = directory.glob("*rotten*")
    path.write_bytes(b"rotten")
    carrier.start()
    assert delivered.acquire(timeout=5.0)
    assert replay.got == ["good"]
    assert "set aside" in (replay.reports[0][0] or "")


def test_an_entry_that_can_be_neither_read_nor_moved_ends_the_roller(
    spec, directory, replay, courier
):
    carrier, _ = courier
    carrier.submit(make(spec, "rotten"))
    (path,) = directory.glob("*rotten*")
    path.write_bytes(b"rotten")
    (directory / "corrupt").write_text("a file")
    carrier.start()
    assert replay.failed.wait(5.0)
    assert str(replay.failure).startswith(f"{path} cannot be set aside: ")
    assert path.exists()


def test_an_entry_that_cannot_be_deleted_ends_the_roller_and_is_delivered_again(
    spec, directory, replay, courier, monkeypatch
):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    carrier, _ = courier
    carrier.submit(make(spec, "e"))
    (path,) = directory.glob("*_e.safetensors")
    monkeypatch.setattr("pathlib.Path.unlink", read_only)
    carrier.start()
    assert replay.failed.wait(5.0)
    assert str(replay.failure) == f"{path} cannot be deleted: Read-only file system"
    assert replay.got == ["e"]
    assert path.exists()  # who starts again delivers it again, and the replay knows its id


def test_evaluations_do_not_count_as_training_episodes(spec, replay, courier):
    carrier, delivered = courier
    carrier.submit(make(spec, "t"))
    carrier.submit(make(spec, "v", "evaluation"))
    assert carrier.training_beyond(0) == 1
    carrier.start()
    assert delivered.acquire(timeout=5.0)
    assert carrier.training_beyond(0) == 1  # acknowledged, but not in a status of sequence 0
    assert carrier.training_beyond(1) == 0


def test_sequences_of_a_replay_that_was_replaced_are_forgotten(spec, replay, courier):
    carrier, delivered = courier
    carrier.start()
    for name in ("a", "b"):
        carrier.submit(make(spec, name))
        assert delivered.acquire(timeout=5.0)
    assert carrier.training_beyond(1) == 1
    replay.got.clear()
    carrier.submit(make(spec, "c"))
    assert delivered.acquire(timeout=5.0)
    assert (carrier.training_beyond(0), carrier.training_beyond(1)) == (1, 0)


def test_a_courier_that_waits_can_be_stopped(spec, replay, courier):
    carrier, _ = courier
    replay.up = False
    carrier.start()
    carrier.submit(make(spec, "e"))
    assert replay.event.wait(5.0)
    before = threading.active_count()
    carrier.stop()
    assert threading.active_count() == before - 1


def test_the_spool_takes_an_id_as_it_is(spec, directory):
    entry = Spool(directory, no_warning).put(replace(make(spec, "a"), id="ergojr-2026_x.1"))
    assert entry.path.name == "000000000001_ergojr-2026_x.1.safetensors"
