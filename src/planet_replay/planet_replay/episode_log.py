"""``episodes.csv``: one row per episode ever stored, for people and for plots."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from planet_model.episode import Episode

from planet_replay import durable

COLUMNS = (
    "sequence",
    "id",
    "wall_time",  # unix seconds, of storing
    "robot",
    "policy",
    "steps",
    "return",
    "touched",  # 0 or 1
    "weights_version",
    "planner",  # what computed the plans: precision, instruction set or device, threads
)


class EpisodeLog:
    """Appends rows to a CSV file that outlives restarts, never the same episode twice.

    Raises:
        durable.DirectoryError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(errors="replace") if path.exists() else ""
            # A row without its newline was being written when the process died.
            whole = text[: text.rfind("\n") + 1]
            whole = durable.widened(whole, COLUMNS) if whole else _line(COLUMNS)
            if whole != text:
                durable.replace(path, whole.encode())
        except OSError as error:
            raise durable.DirectoryError(f"{path} cannot be written: {error.strerror}") from error
        rows = list(csv.reader(io.StringIO(whole)))
        if rows[0] != list(COLUMNS):
            raise durable.DirectoryError(
                f"{path} is not an episode log (its first row is not "
                f"{','.join(COLUMNS)}): move it away"
            )
        self._ids = {row[1] for row in rows[1:] if len(row) == len(COLUMNS)}

    def __contains__(self, episode_id: str) -> bool:
        return episode_id in self._ids

    def append(self, sequence: int, wall_time: float, episode: Episode) -> None:
        """Write one row, unless the episode has one; on OSError the file is as it was."""
        if episode.id in self._ids:
            return
        row = _line(
            (
                sequence,
                episode.id,
                f"{wall_time:.3f}",
                episode.robot,
                episode.policy,
                episode.steps,
                f"{episode.episode_return:.6g}",
                int(episode.touched_any),
                episode.weights_version,
                episode.metadata.get("planner", ""),
            )
        )
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(row.encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise
        self._ids.add(episode.id)


def _line(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
