"""``episodes.csv``: one row per episode ever stored, for people and for plots."""

from __future__ import annotations

from pathlib import Path

from planet_core.episode import Episode
from planet_core.tables import Table

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
        self._table = Table(path, COLUMNS)
        self._ids = {row["id"] for row in self._table.rows}
        self.training_episodes = sum(row["policy"] != "evaluation" for row in self._table.rows)
        """Rows of training episodes that the file held when it was opened."""

    def __contains__(self, episode_id: str) -> bool:
        return episode_id in self._ids

    def append(self, sequence: int, wall_time: float, episode: Episode) -> None:
        """Write one row, unless the episode has one; on OSError the file is as it was."""
        if episode.id in self._ids:
            return
        values = (
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
        self._table.append(dict(zip(COLUMNS, values, strict=True)))
        self._ids.add(episode.id)
