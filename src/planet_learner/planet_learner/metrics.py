"""The learner's numbers: a row of ``updates.csv`` and TensorBoard events."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from planet_replay import durable


@dataclass(frozen=True)
class Metrics:
    """One row: means over the updates since the last row, in planet_msgs/Metrics' units."""

    wall_time: float
    """Unix seconds."""
    update: int
    weights_version: int
    replay_sequence: int
    episodes: int
    loss: float
    image_loss: float
    state_loss: float
    reward_loss: float
    termination_loss: float
    kl: float
    gradient_norm: float
    updates_per_second: float
    data_wait: float
    """Share of the time that was spent waiting for data."""
    staleness: float
    """Seconds since the newest episode trained on was received."""
    learner: str
    """What computes: precision, instruction set or device, threads."""


COLUMNS = tuple(field.name for field in dataclasses.fields(Metrics))
_TAGS = COLUMNS[2:-1]


class MetricsWriter:
    """Appends to `directory`/updates.csv and `directory`/tensorboard.

    Rows of updates after `update`, which a crash undid, are dropped when it is made.

    Raises:
        durable.DirectoryError: the files cannot be read or written.
    """

    def __init__(self, directory: Path, update: int) -> None:
        self._path = directory / "updates.csv"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            text = self._path.read_text(errors="replace") if self._path.exists() else ""
            kept = _until(text, update)
            if kept is None:
                raise durable.DirectoryError(
                    f"{self._path} is not the learner's (its first row is not "
                    f"{','.join(COLUMNS)}): move it away"
                )
            if kept != text:
                durable.replace(self._path, kept.encode())
            (directory / "tensorboard").mkdir(exist_ok=True)
            # Not SummaryWriter: its thread dies of a full disk, and then each `add` waits for ever.
            self._events = EventsWriter(str(directory / "tensorboard" / "events"))
            start = SessionLog(status=SessionLog.START)  # what follows in older files is undone
            self._events.write_event(
                Event(wall_time=time.time(), step=update + 1, session_log=start)
            )
        except OSError as error:
            raise durable.DirectoryError(
                f"{self._path} cannot be written: {error.strerror}"
            ) from error

    def write(self, metrics: Metrics) -> None:
        """Append one row; on OSError the CSV is as it was, or it is the event that is missing."""
        values = dataclasses.astuple(metrics)
        texts = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in values]
        texts[0] = f"{metrics.wall_time:.3f}"
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(_line(texts).encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise
        # First what a full disk has refused: then there is room in the buffer for a whole event.
        self._events.flush()
        scalars = [
            Summary.Value(tag=f"learner/{tag}", simple_value=getattr(metrics, tag)) for tag in _TAGS
        ]
        self._events.write_event(
            Event(wall_time=metrics.wall_time, step=metrics.update, summary=Summary(value=scalars))
        )
        self._events.flush()

    def close(self) -> None:
        """Close the events' file."""
        with contextlib.suppress(OSError):  # what is not written yet, `write` has told of
            self._events.close()


def _until(text: str, update: int) -> str | None:
    """Return the header and the whole rows up to `update`; None when it is another file."""
    header = _line(list(COLUMNS))
    whole = text[: text.rfind("\n") + 1]
    if not whole:
        return header
    whole = durable.widened(whole, COLUMNS)
    if not whole.startswith(header):
        return None
    rows = [
        row
        for row in csv.reader(io.StringIO(whole[len(header) :]))
        if len(row) == len(COLUMNS) and row[1].isdigit() and int(row[1]) <= update
    ]
    return header + "".join(map(_line, rows))


def _line(values: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
