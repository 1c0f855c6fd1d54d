"""Checkpoints: whole or absent, the last few kept, the newest whole one found again.

``checkpoints/checkpoint_<number>_<update>.<crc>.safetensors`` holds tensors and, in its metadata,
JSON values. ``checkpoints/run.json`` holds the run's id and the last version of weights that was
published, so that a version is never given to two sets of weights, even after a crash.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from planet_core import durable, run_id
from planet_core.method import State

FORMAT = "robo_planet.checkpoint.1"
KEPT = 3
_STEM = re.compile(r"checkpoint_(?P<number>[0-9]{6,})_(?P<update>[0-9]+)\Z")


@dataclass(frozen=True)
class Checkpoint:
    """What was saved."""

    path: Path
    state: State
    """Of the trainer."""
    values: dict[str, Any]
    """What else was saved with it, as JSON."""


class Checkpoints:
    """The checkpoints and the run's id in `directory`, which one process at a time may hold.

    Raises:
        durable.DirectoryError: the directory cannot be used.
    """

    def __init__(self, directory: Path, log: logging.Logger | None = None) -> None:
        self._directory = directory
        self._log = log or logging.getLogger(__name__)
        self._lock = durable.open_directory(directory)
        self._number = max((number for number, _ in self._found()), default=0)
        self._run_path = directory / "run.json"
        try:
            self.run_id, self.version = self._open_run()
            """The run's id, and the last version of its weights that was published."""
        except OSError as error:
            raise durable.DirectoryError(
                f"{self._run_path} cannot be used: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Let another process have the directory."""
        self._lock.close()

    def next_version(self) -> None:
        """Count `version` up, and remember it durably.

        Raises:
            OSError: it is counted, but not remembered.
        """
        self.version += 1
        self._write_run(self.run_id, self.version)

    def save(self, update: int, state: State, values: Mapping[str, Any]) -> Path:
        """Write a checkpoint durably, then delete all but the last few.

        Raises:
            OSError: it was not written; the earlier ones are untouched.
        """
        metadata = {"format": FORMAT, "values": json.dumps({"trainer": state.values, **values})}
        data = safetensors.numpy.save(state.tensors, metadata)
        self._number += 1
        path = durable.write(self._directory, f"checkpoint_{self._number:06d}_{update}", data)
        for _, old in self._found()[:-KEPT]:
            old.unlink()
        return path

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; one that is not is set aside with a warning."""
        for path in durable.files(self._directory):
            if path.name.endswith(durable.PARTIAL_SUFFIX):  # its writer was killed
                path.unlink()
        for _, path in reversed(self._found()):
            try:
                return read(path)
            except (durable.CorruptFileError, safetensors.SafetensorError, ValueError) as error:
                self.set_aside(path, f"it is corrupt ({error})")
        return None

    def set_aside(self, path: Path, reason: str) -> None:
        """Move a checkpoint to where it is not found again, and tell why."""
        target = durable.set_aside(path)
        self._log.warning(
            "%s is moved to %s, since %s; the one before it is used", path, target, reason
        )

    def _found(self) -> list[tuple[int, Path]]:
        """Checkpoints by number."""
        found = []
        for path in durable.files(self._directory):
            match = _STEM.match(durable.stem(path) or "")
            if match is not None:
                found.append((int(match["number"]), path))
        return sorted(found)

    def _open_run(self) -> tuple[str, int]:
        if not self._run_path.exists():
            first = run_id.new()
            self._write_run(first, 0)
            return first, 0
        try:
            run = json.loads(self._run_path.read_text())
            return str(run["run_id"]), int(run["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise durable.DirectoryError(
                f"{self._run_path} is damaged; delete it to go on under a new run id"
            ) from error

    def _write_run(self, run_id: str, version: int) -> None:
        text = json.dumps({"run_id": run_id, "version": version}) + "\n"
        durable.replace(self._run_path, text.encode())


def read(path: Path) -> Checkpoint:
    """Return the checkpoint in a file, which has its checksum in its name or another name.

    Raises:
        durable.CorruptFileError, safetensors.SafetensorError, ValueError: it is none, or damaged.
        OSError: it cannot be read.
    """
    data = path.read_bytes() if durable.stem(path) is None else durable.read(path)
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    if metadata.get("format") != FORMAT:
        raise durable.CorruptFileError(f"its format is not {FORMAT}")
    values = json.loads(metadata["values"])
    return Checkpoint(path, State(safetensors.numpy.load(data), values.pop("trainer")), values)
