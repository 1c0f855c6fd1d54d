"""What a full disk does to the learner's numbers."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from planet_learner.metrics import Metrics, MetricsWriter


def row(update: int, **losses: float) -> Metrics:
    return Metrics(
        wall_time=100.0 + update,
        update=update,
        weights_version=1,
        replay_sequence=2,
        episodes=3,
        losses={"loss": 0.25, **losses},
        updates_per_second=0.5,
        data_wait=0.5,
        staleness=0.5,
        learner="float32 AVX2, 1 thread",
    )


class Disk(io.RawIOBase):
    """A file on a disk that may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.full = False

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.full:
            raise OSError(28, "No space left on device")
        self.data += data
        return len(data)

    def events(self) -> Iterator[Event]:
        """TFRecords: length, its checksum, data, its checksum."""
        rest = bytes(self.data)
        while rest:
            (length,) = struct.unpack("<Q", rest[:8])
            assert len(rest) >= length + 16, "a torn record"
            yield Event.FromString(rest[12 : 12 + length])
            rest = rest[length + 16 :]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda _: io.BufferedWriter(disk))
    return disk


def test_a_full_disk_fails_each_row_of_events_and_leaves_the_file_whole(
    disk: Disk, tmp_path: Path
) -> None:
    writer = MetricsWriter(tmp_path, update=0)
    for update in range(1, 41):
        disk.full = 10 < update <= 30  # more than a buffer holds
        if disk.full:
            with pytest.raises(OSError, match="No space left"):
                writer.write(row(update))
        else:
            writer.write(row(update))
    writer.close()
    _, start, *rows = disk.events()
    assert (start.step, start.session_log.status) == (1, start.session_log.START)
    assert [event.step for event in rows] == [*range(1, 12), *range(31, 41)]
    values = {value.tag: value.simple_value for value in rows[0].summary.value}
    assert (values["learner/weights_version"], values["learner/staleness"]) == (1, 0.5)
    assert rows[0].wall_time == 101.0


def test_a_learner_ends_on_a_full_disk_too(disk: Disk, tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path, update=0)
    disk.full = True
    with pytest.raises(OSError, match="No space left"):
        writer.write(row(1))
    writer.close()


def test_a_table_from_before_it_was_told_what_computes_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "updates.csv"
    path.write_text("wall_time,update,loss\n100.0,1,0.5\n")
    MetricsWriter(tmp_path, update=1).write(row(2))
    with path.open(newline="") as file:
        found = [(row["update"], row["loss"], row["learner"]) for row in csv.DictReader(file)]
    assert found == [("1", "0.5", ""), ("2", "0.25", "float32 AVX2, 1 thread")]


def test_each_loss_of_a_method_has_a_column(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path, update=0)
    writer.write(row(1))
    writer.write(row(2, another=0.75))
    with (tmp_path / "updates.csv").open(newline="") as file:
        assert [row["another"] for row in csv.DictReader(file)] == ["", "0.75"]
