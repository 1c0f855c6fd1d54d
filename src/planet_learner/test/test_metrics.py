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

ROW = (1, 2, 3, *[0.5] * 10, "float32 AVX2, 1 thread")  # all after `update`


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
        row = Metrics(100.0 + update, update, *ROW)
        if disk.full:
            with pytest.raises(OSError, match="No space left"):
                writer.write(row)
        else:
            writer.write(row)
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
        writer.write(Metrics(100.0, 1, *ROW))
    writer.close()


def test_a_table_from_before_it_was_told_what_computes_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "updates.csv"
    MetricsWriter(tmp_path, update=0).write(Metrics(100.0, 1, *ROW))
    lines = [line.rsplit(",", 1)[0].removesuffix(',"float32 AVX2') for line in path.open()]
    path.write_text("\n".join(lines) + "\n")
    MetricsWriter(tmp_path, update=1).write(Metrics(101.0, 2, *ROW))
    with path.open(newline="") as file:
        found = [(row["update"], row["learner"]) for row in csv.DictReader(file)]
    assert found == [("1", ""), ("2", "float32 AVX2, 1 thread")]
