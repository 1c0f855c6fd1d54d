"""Episodes that wait for the replay: on the disk, so that none is lost with the process.

An entry is written aside, synced and renamed, so that a name in the directory means a whole
episode; it is deleted once the replay has acknowledged it. Adding an episode twice stores it once
(the replay knows ids), so an entry whose deletion was lost does no harm.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from planet_core import durable
from planet_core.clocks import Clock
from planet_core.episode import Episode
from planet_core.episode_format import EpisodeError, read_header

_NAME = re.compile(r"([0-9]{12})_([A-Za-z0-9._-]{1,128})\.safetensors")
_RETRY_FIRST, _RETRY_LAST = 0.5, 5.0  # s between attempts to deliver
_REMEMBERED = 256  # newest sequences of training episodes that were acknowledged


class SpoolError(Exception):
    """The spool cannot be read or written; one sentence says where and why."""


class DeliveryError(Exception):
    """The replay did not take an episode; one sentence says why. It will be tried again."""


@dataclass(frozen=True)
class Entry:
    """An episode in the spool."""

    path: Path
    id: str
    training: bool
    """Whether it counts towards the seed episodes (an evaluation does not)."""


class Spool:
    """A directory of episodes in the order in which they were put; not thread-safe."""

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        """Open or create `directory`; raises SpoolError.

        A broken file is set aside into `directory`/corrupt, with a warning.
        """
        self._directory = directory
        try:
            self._lock = durable.open_directory(directory)
            for path in directory.glob(f".*{durable.PARTIAL_SUFFIX}"):
                path.unlink()  # its episode was never said to be safe
            names = sorted(path.name for path in directory.iterdir())
        except (durable.DirectoryError, OSError) as error:
            raise SpoolError(f"the spool cannot be used: {error}") from error
        self.entries: list[Entry] = []
        self._next = 1
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            self._next = int(match[1]) + 1
            path = directory / name
            try:
                header = read_header(path)
            except EpisodeError as error:
                warn(f"set aside as {self._set_aside(path)}: {error}")
            else:
                self.entries.append(Entry(path, header.id, header.policy != "evaluation"))

    def put(self, episode: Episode) -> Entry:
        """Write an episode; it is on the disk when this returns. Raises SpoolError."""
        path = self._directory / f"{self._next:012d}_{episode.id}.safetensors"
        try:
            durable.replace(path, episode.to_bytes())
        except OSError as error:
            raise SpoolError(
                f"episode {episode.id} cannot be spooled in {self._directory}: "
                f"{error.strerror or error}"
            ) from error
        self._next += 1
        entry = Entry(path, episode.id, episode.policy != "evaluation")
        self.entries.append(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Delete an entry, once the replay has it. Raises SpoolError."""
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(
                f"{entry.path} cannot be deleted: {error.strerror or error}"
            ) from error
        self.entries.remove(entry)

    def close(self) -> None:
        """Leave the directory to another process; a killed process leaves it too."""
        self._lock.close()

    def set_aside(self, entry: Entry) -> None:
        """Move an entry that cannot be read out of the way. Raises SpoolError."""
        self._set_aside(entry.path)
        self.entries.remove(entry)

    def _set_aside(self, path: Path) -> Path:
        try:
            return durable.set_aside(path)
        except OSError as error:
            raise SpoolError(f"{path} cannot be set aside: {error.strerror or error}") from error


class Courier:
    """Delivers the spool's episodes to the replay, oldest first, in a thread of its own.

    `send` gets an episode's bytes and header fields and returns the sequence under which it is
    stored; it raises DeliveryError. `report` is told why episodes wait, or None when all is well.
    `changed` is called after each delivery. `fail` is told what ends the thread before `stop`.
    """

    def __init__(
        self,
        spool: Spool,
        send: Callable[[Episode, bytes], int],
        clock: Clock,
        report: Callable[[str | None, int], None],
        changed: Callable[[], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._spool = spool
        self._send = send
        self._clock = clock
        self._report = report
        self._changed = changed
        self._fail = fail
        self._condition = threading.Condition()
        self._acknowledged: deque[int] = deque(maxlen=_REMEMBERED)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin to deliver, first of all what a former process has left."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not delivered stays in the spool."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def submit(self, episode: Episode) -> None:
        """Put an episode into the spool; it is safe when this returns. Raises SpoolError."""
        with self._condition:
            self._spool.put(episode)
            self._condition.notify_all()

    @property
    def waiting(self) -> int:
        """Episodes in the spool."""
        with self._condition:
            return len(self._spool.entries)

    def training_beyond(self, sequence: int) -> int:
        """Training episodes in the spool, or stored later than `sequence`."""
        with self._condition:
            return sum(entry.training for entry in self._spool.entries) + sum(
                stored > sequence for stored in self._acknowledged
            )

    def _run(self) -> None:
        delay = 0.0
        try:
            while self._next_entry(delay) is not None:
                delay = 0.0 if self._deliver() else min(max(_RETRY_FIRST, 2 * delay), _RETRY_LAST)
        except Exception as error:  # noqa: BLE001 -- nothing would be delivered, and nobody notice
            if not self._stopped:  # else it is the node that goes away
                self._fail(error)

    def _next_entry(self, delay: float) -> Entry | None:
        """Wait for `delay` seconds, then for an entry; None when stopped."""
        deadline = self._clock.now() + delay
        with self._condition:
            while not self._stopped:
                remaining = deadline - self._clock.now()
                if remaining > 0.0:
                    self._clock.wait(self._condition, remaining)
                elif self._spool.entries:
                    return self._spool.entries[0]
                else:
                    self._condition.wait()
        return None

    def _deliver(self) -> bool:
        """Send the oldest entry; whether the next may follow at once."""
        with self._condition:
            entry = self._spool.entries[0]
        try:
            data = entry.path.read_bytes()
            episode = Episode.from_bytes(data)
        except (OSError, EpisodeError) as error:
            with self._condition:
                self._spool.set_aside(entry)
            self._report(
                f"a spooled episode cannot be read and is set aside: {error}", self.waiting
            )
            return True
        try:
            sequence = self._send(episode, data)
        except DeliveryError as error:
            self._report(str(error), self.waiting)
            return False
        with self._condition:
            self._spool.remove(entry)
            while self._acknowledged and self._acknowledged[-1] >= sequence:
                self._acknowledged.pop()  # of a replay that was replaced: this one counts from 1
            if entry.training:
                self._acknowledged.append(sequence)
            waiting = len(self._spool.entries)
        self._report(None, waiting)
        self._changed()
        return True
