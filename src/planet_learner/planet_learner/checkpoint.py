"""Checkpoints: whole or absent, the last few kept, the newest whole one found again.

``checkpoints/checkpoint_<number>_<update>.<crc>.safetensors`` holds tensors and, in its metadata,
JSON values. ``checkpoints/run.json`` holds the run's id and the last version of weights that was
published, so that a version is never given to two sets of weights, even after a crash.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from planet_core import durable

FORMAT = "robo_planet.checkpoint.1"
KEPT = 3
_STEM = re.compile(r"checkpoint_(?P<number>[0-9]{6,})_(?P<update>[0-9]+)\Z")


@dataclass(frozen=True)
class Checkpoint:
    """What was saved."""

    path: Path
    tensors: dict[str, Tensor]
    values: dict[str, Any]


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

    def save(self, update: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Path:
        """Write a checkpoint durably, then delete all but the last few.

        Raises:
            OSError: it was not written; the earlier ones are untouched.
        """
        metadata = {"format": FORMAT, "values": json.dumps(values)}
        data = safetensors.torch.save(dict(tensors), metadata)
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
                return _read(path)
            except (durable.CorruptFileError, safetensors.SafetensorError, ValueError) as error:
                target = durable.set_aside(path)
                self._log.warning(
                    "%s is corrupt (%s): moved to %s; the one before it is used",
                    path,
                    error,
                    target,
                )
        return None

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
            run_id = uuid.uuid4().hex
            self._write_run(run_id, 0)
            return run_id, 0
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


def _read(path: Path) -> Checkpoint:
    data = durable.read(path)
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    if metadata.get("format") != FORMAT:
        raise durable.CorruptFileError(f"its format is not {FORMAT}")
    return Checkpoint(path, safetensors.torch.load(data), json.loads(metadata["values"]))
