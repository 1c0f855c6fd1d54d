"""The learner's numbers: a row of ``updates.csv`` and TensorBoard events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from planet_core import durable
from planet_core.tables import Table

COLUMNS = ("wall_time", "update")
"""Those that each table has; the others are as the rows bring them."""


@dataclass(frozen=True)
class Metrics:
    """One row: means over the updates since the last row, in planet_msgs/Metrics' units."""

    wall_time: float
    """Unix seconds."""
    update: int
    weights_version: int
    replay_sequence: int
    episodes: int
    losses: Mapping[str, float]
    """What the method calls its losses, by name."""
    updates_per_second: float
    data_wait: float
    """Share of the time that was spent waiting for data."""
    staleness: float
    """Seconds since the newest episode trained on was received."""
    learner: str
    """What computes: precision, instruction set or device, threads."""

    def columns(self) -> dict[str, Any]:
        """Return the row by column, the losses among the others."""
        fields = dict(vars(self))
        return fields | dict(fields.pop("losses"))


@dataclass(frozen=True)
class Average:
    """What the updates since the last row come to, as in :class:`Metrics`."""

    losses: dict[str, float]
    updates_per_second: float
    data_wait: float


@dataclass
class Window:
    """The updates since the last row."""

    begin: float
    """Seconds, on a monotonic clock."""
    waited: float = 0.0
    """Seconds spent waiting for data."""
    updates: list[Mapping[str, float]] = field(default_factory=list)
    """Their losses by name."""

    def average(self, now: float) -> Average:
        """Return the means until `now`; there is at least one update."""
        elapsed = max(now - self.begin, 1e-9)
        count = len(self.updates)
        losses = {name: sum(u[name] for u in self.updates) / count for name in self.updates[0]}
        return Average(losses, count / elapsed, self.waited / elapsed)


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
            keep=lambda row: row["update"].isdigit() and int(row["update"]) <= update,
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
        row = metrics.columns()
        self._table.append(
            {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()}
            | {"wall_time": f"{metrics.wall_time:.3f}"}
        )
        # First what a full disk has refused: then there is room in the buffer for a whole event.
        self._events.flush()
        scalars = [
            Summary.Value(tag=f"learner/{name}", simple_value=value)
            for name, value in row.items()
            if name not in (*COLUMNS, "learner")
        ]
        self._events.write_event(
            Event(wall_time=metrics.wall_time, step=metrics.update, summary=Summary(value=scalars))
        )
        self._events.flush()

    def close(self) -> None:
        """Close the events' file."""
        with contextlib.suppress(OSError):  # what is not written yet, `write` has told of
            self._events.close()
