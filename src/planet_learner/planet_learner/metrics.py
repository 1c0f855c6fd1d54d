"""The learner's numbers: a row of ``updates.csv`` and TensorBoard events."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from planet_core import durable
from planet_core.tables import Table


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
        self._table = Table(
            directory / "updates.csv",
            COLUMNS,
            keep=lambda row: row[1].isdigit() and int(row[1]) <= update,
        )
        events = directory / "tensorboard"
        try:
            events.mkdir(exist_ok=True)
            # Not SummaryWriter: its thread dies of a full disk, and then each `add` waits for ever.
            self._events = EventsWriter(str(events / "events"))
            start = SessionLog(status=SessionLog.START)  # what follows in older files is undone
            self._events.write_event(
                Event(wall_time=time.time(), step=update + 1, session_log=start)
            )
        except OSError as error:
            raise durable.DirectoryError(f"{events} cannot be written: {error.strerror}") from error

    def write(self, metrics: Metrics) -> None:
        """Append one row; on OSError the CSV is as it was, or it is the event that is missing."""
        values = dataclasses.astuple(metrics)
        texts = [f"{v:.6g}" if isinstance(v, float) else v for v in values]
        self._table.append([f"{metrics.wall_time:.3f}", *texts[1:]])
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
