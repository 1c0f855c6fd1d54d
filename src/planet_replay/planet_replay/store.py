"""The durable episode store: one safetensors file per episode, and an index in memory.

A file is named ``<sequence>_<id>.<crc>.safetensors``. Sequences count from 1 in the order of
arrival and are never given twice, also across restarts. An episode that `add` has returned is on
the disk; one that is not whole is never served: it is moved into ``corrupt/``, with a warning.
"""

from __future__ import annotations

import bisect
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from planet_core import durable
from planet_core.episode import Episode
from planet_core.episode_format import EpisodeError, EpisodeHeader, read_header

_STEM = re.compile(r"(?P<sequence>[0-9]{12,20})_(?P<id>.+)\Z", re.DOTALL)


class RefusedError(Exception):
    """An episode was not stored, and nothing of it remains; the message says why."""


@dataclass(frozen=True)
class StoredEpisode:
    """What the index knows of one stored episode."""

    sequence: int
    header: EpisodeHeader
    path: Path
    size: int
    """Bytes of the file."""


@dataclass(frozen=True)
class Status:
    """What the store holds; a sequence of 0 means none."""

    episodes: int
    steps: int
    training_episodes: int
    """Ever stored, whether or not they are still held."""
    oldest_sequence: int
    newest_sequence: int
    """The newest sequence ever given, whether or not its episode is still held."""


@dataclass(frozen=True)
class Added:
    """The answer to `add`: where the episode is, and whether this call stored it."""

    entry: StoredEpisode
    new: bool
    episode: Episode


class EpisodeStore:
    """Episodes in `directory`, at most `capacity_steps` observations of them. Thread-safe.

    Args:
        directory: made if need be; one process at a time may hold it.
        capacity_steps: when there are more observations, the oldest episodes are deleted. The
            newest is always kept.
        log: is told of evictions (info) and of files that were set aside (warning).
        on_change: called after the index has changed, from whatever thread changed it.

    Raises:
        durable.DirectoryError: the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        capacity_steps: int,
        log: logging.Logger | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._capacity = capacity_steps
        self._log = log or logging.getLogger(__name__)
        self._on_change = on_change
        self._index_lock = threading.RLock()
        self._add_lock = threading.Lock()
        self._entries: list[StoredEpisode] = []  # by sequence
        self._by_id: dict[str, StoredEpisode] = {}
        self._frames = 0
        self._newest = 0
        self._training = 0  # training episodes ever stored
        self._directory_lock = durable.open_directory(directory)
        try:
            self._rebuild()
        except OSError as error:
            self.close()
            raise durable.DirectoryError(
                f"the episodes in {directory} cannot be read: {error}"
            ) from error

    def close(self) -> None:
        """Let another process have the directory."""
        self._directory_lock.close()

    def status(self) -> Status:
        """Return what the store holds now."""
        with self._index_lock:
            return Status(
                episodes=len(self._entries),
                steps=sum(entry.header.steps for entry in self._entries),
                training_episodes=self._training,
                oldest_sequence=self._entries[0].sequence if self._entries else 0,
                newest_sequence=self._newest,
            )

    def remember(self, training_episodes: int) -> None:
        """Take notice that so many training episodes were stored once, some of which are gone."""
        with self._index_lock:
            self._training = max(self._training, training_episodes)

    def entries(self) -> list[StoredEpisode]:
        """Return what is held, by sequence."""
        with self._index_lock:
            return list(self._entries)

    def add(self, data: bytes, **declared: str | int) -> Added:
        """Store an episode's bytes durably; the same id again stores nothing.

        Args:
            declared: what the sender says of the episode (id, robot, policy, weights_version).

        Raises:
            RefusedError: the bytes are no valid episode, are another one than declared, or could
                not be written.
        """
        try:
            episode = Episode.from_bytes(data)
            header = read_header(data)
        except EpisodeError as error:
            raise RefusedError(str(error)) from error
        for name, value in declared.items():
            if getattr(episode, name) != value:
                raise RefusedError(
                    f"episode '{episode.id}' says {name} = {getattr(episode, name)!r}, "
                    f"but was sent as {value!r}"
                )
        if episode.frame_count > self._capacity:
            raise RefusedError(
                f"episode '{episode.id}' has {episode.frame_count} observations, "
                f"more than capacity_steps = {self._capacity}"
            )
        with self._add_lock:
            with self._index_lock:
                known = self._by_id.get(episode.id)
            if known is not None:
                return Added(known, new=False, episode=episode)
            sequence = self._newest + 1
            try:
                path = durable.write(self._directory, f"{sequence:012d}_{episode.id}", data)
            except OSError as error:
                raise RefusedError(
                    f"episode '{episode.id}' could not be written to {self._directory}: "
                    f"{error.strerror or error}"
                ) from error
            entry = StoredEpisode(sequence, header, path, len(data))
            with self._index_lock:
                self._insert(entry)
                self._newest = sequence
            self._evict()
        self._on_change()
        return Added(entry, new=True, episode=episode)

    def get(
        self, after_sequence: int, max_bytes: int
    ) -> tuple[list[tuple[StoredEpisode, bytes]], Status]:
        """Return the oldest episodes with a sequence above `after_sequence`, and the status.

        As many as fit into `max_bytes`, and at least one when there is one. The status is of the
        same moment: when no episode is returned, there is none up to its newest sequence.
        """
        with self._index_lock:
            status = self.status()
            keys = [entry.sequence for entry in self._entries]
            wanted = self._entries[bisect.bisect_right(keys, after_sequence) :]
        found: list[tuple[StoredEpisode, bytes]] = []
        total = 0
        for entry in wanted:
            if found and total + entry.size > max_bytes:
                break
            data = self._read(entry)
            if data is not None:
                found.append((entry, data))
                total += len(data)
        return found, status

    def read(self, entry: StoredEpisode) -> Episode | None:
        """Return a stored episode, None when it was evicted or set aside meanwhile."""
        data = self._read(entry)
        return None if data is None else Episode.from_bytes(data)

    def _read(self, entry: StoredEpisode) -> bytes | None:
        try:
            return durable.read(entry.path)
        except FileNotFoundError:
            with self._index_lock:
                held = self._by_id.get(entry.header.id) is entry
            if held:
                self._log.warning("%s was deleted by somebody else", entry.path)
        except OSError as error:  # the disk's fault, not the file's: who starts anew may have it
            self._log.warning("%s cannot be read and is not served now: %s", entry.path, error)
            return None
        except durable.CorruptFileError as error:
            self._set_aside(entry.path, str(error))
        with self._index_lock:
            held = self._by_id.get(entry.header.id) is entry
            if held:
                self._remove(entry)
        if held:
            self._on_change()
        return None

    def _rebuild(self) -> None:
        """Read every file's header; set aside what is not whole."""
        corrupt = self._directory / durable.CORRUPT_DIRECTORY
        if corrupt.is_dir():
            for path in durable.files(corrupt):
                self._newest = max(self._newest, _sequence_of(path))
        for path in durable.files(self._directory):
            self._newest = max(self._newest, _sequence_of(path))
            try:
                self._insert(self._check(path))
            except (EpisodeError, durable.CorruptFileError) as error:
                self._set_aside(path, str(error))
        self._entries.sort(key=lambda entry: entry.sequence)
        self._evict()

    def _check(self, path: Path) -> StoredEpisode:
        stem = durable.stem(path)
        match = None if stem is None else _STEM.match(stem)
        if path.name.endswith(durable.PARTIAL_SUFFIX):
            raise durable.CorruptFileError("it was not written to its end")
        if match is None:
            raise durable.CorruptFileError("its name is not <sequence>_<id>.<crc>.safetensors")
        header = read_header(path)
        sequence = int(match["sequence"])
        if header.id != match["id"]:
            raise durable.CorruptFileError(f"it holds episode '{header.id}'")
        if header.id in self._by_id or any(e.sequence == sequence for e in self._entries[-1:]):
            raise durable.CorruptFileError("its id or sequence is that of another file")
        return StoredEpisode(sequence, header, path, path.stat().st_size)

    def _set_aside(self, path: Path, reason: str) -> None:
        try:
            target = durable.set_aside(path)
        except OSError as error:
            self._log.warning("%s is corrupt (%s) and cannot be moved: %s", path, reason, error)
        else:
            self._log.warning("%s is corrupt (%s): moved to %s", path, reason, target)

    def _insert(self, entry: StoredEpisode) -> None:
        self._entries.append(entry)
        self._by_id[entry.header.id] = entry
        self._frames += entry.header.frame_count
        self._training += entry.header.policy != "evaluation"

    def _remove(self, entry: StoredEpisode) -> None:
        self._entries.remove(entry)
        del self._by_id[entry.header.id]
        self._frames -= entry.header.frame_count

    def _evict(self) -> None:
        while True:
            with self._index_lock:
                if self._frames <= self._capacity or len(self._entries) <= 1:
                    return
                oldest = self._entries[0]
                self._remove(oldest)
            try:
                oldest.path.unlink(missing_ok=True)
            except OSError as error:
                self._log.warning("%s cannot be evicted: %s", oldest.path, error)
            else:
                self._log.info(
                    "evicted episode %s (sequence %d): capacity_steps = %d is reached",
                    oldest.header.id,
                    oldest.sequence,
                    self._capacity,
                )


def _sequence_of(path: Path) -> int:
    """Return the sequence in a file's name, also of a partial or corrupt one; 0 for none."""
    match = re.match(r"\.?([0-9]{12,20})_", path.name)
    return 0 if match is None else int(match[1])
