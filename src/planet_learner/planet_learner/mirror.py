"""The learner's copy of the replay in memory, and the chunk sampler.

Rows follow the package-wide time convention: row t holds (o_t, a_{t-1}, r_t). A chunk is L
consecutive rows of one episode. Frames are kept as uint8 in one preallocated ring, so a chunk is a
slice of it, and drawing one copies nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from planet_core.episode import Episode

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_ROWS = ("images", "action", "reward", "reward_valid", "terminated", "state")


class MirrorError(ValueError):
    """The mirror cannot hold what it was asked to; the message is one sentence."""


@dataclass(frozen=True)
class Draw:
    """B chunks of L rows: where they lie in the mirror, until the next `add`."""

    rows: npt.NDArray[np.int64]
    """[B, L], consecutive rows of one episode; padding repeats the chunk's last row."""
    mask: npt.NDArray[np.bool_]
    """Whether the row is of the chunk, [B, L]; padding comes last."""


@dataclass(frozen=True, eq=False)
class Span:
    """An episode in the mirror; equal to itself alone, whatever else was at its place before."""

    sequence: int
    start: int
    """Its first row."""
    length: int


class Mirror:
    """The newest training episodes, at most `capacity_steps` rows of them.

    Evaluation episodes are not held, and so never sampled.

    Args:
        capacity_steps: rows (observations) preallocated; the oldest episodes make room.
        image_shape: (64, 64 N, 3).
        action_size: A.
        state_size: P, positions and velocities of a row; 0 leaves them out.

    Raises:
        MirrorError: the machine has less memory available than that.
    """

    def __init__(
        self,
        capacity_steps: int,
        image_shape: tuple[int, int, int],
        action_size: int,
        state_size: int = 0,
    ) -> None:
        check_memory(capacity_steps, image_shape, action_size, state_size)
        self._capacity = capacity_steps
        # Pages are taken by the kernel when they are first written to.
        self._images = np.empty((capacity_steps, *image_shape), np.uint8)
        self._action = np.empty((capacity_steps, action_size), np.float32)
        self._reward = np.empty(capacity_steps, np.float32)
        self._reward_valid = np.empty(capacity_steps, np.bool_)
        self._terminated = np.empty(capacity_steps, np.bool_)
        self._state = np.empty((capacity_steps, state_size), np.float32)
        self._spans: deque[Span] = deque()  # oldest first, in the ring's order
        self._head = 0
        self._newest_sequence = 0
        self._index: tuple[npt.NDArray[np.int64], ...] | None = None
        """Of the episodes: ends when laid one after the other, lengths, first rows."""

    @property
    def episodes(self) -> int:
        """Number of (training) episodes held."""
        return len(self._spans)

    @property
    def steps(self) -> int:
        """Number of rows held."""
        return sum(span.length for span in self._spans)

    @property
    def newest_sequence(self) -> int:
        """The newest sequence given to `add`, evaluation episodes included; 0 for none."""
        return self._newest_sequence

    def clear(self) -> None:
        """Forget every episode and sequence."""
        self._spans.clear()
        self._head = 0
        self._newest_sequence = 0
        self._index = None

    def add(self, episode: Episode, sequence: int) -> None:
        """Copy an episode in, over the oldest ones when there is no room.

        Raises:
            MirrorError: its shapes are not the mirror's, or it is longer than the whole mirror.
        """
        shape, own = episode.images.shape[1:], self._images.shape[1:]
        if shape != own or episode.action.shape[1] != self._action.shape[1]:
            raise MirrorError(
                f"episode '{episode.id}' has images {shape} and {episode.action.shape[1]} actions, "
                f"where images {own} and {self._action.shape[1]} actions are learnt from"
            )
        state_size = self._state.shape[1]
        if state_size not in (0, 2 * episode.position.shape[1]):
            raise MirrorError(
                f"episode '{episode.id}' has {episode.position.shape[1]} joints, where the "
                f"positions and velocities of {state_size // 2} are learnt from"
            )
        length = episode.frame_count
        if length > self._capacity:
            raise MirrorError(
                f"episode '{episode.id}' has {length} observations, "
                f"more than capacity_steps = {self._capacity}"
            )
        if episode.policy != "evaluation":
            start = self._make_room(length)
            rows = slice(start, start + length)
            self._images[rows] = episode.images
            self._action[rows] = episode.action
            self._reward[rows] = episode.reward
            self._reward_valid[rows] = episode.reward_valid
            self._terminated[rows] = episode.terminated
            if state_size:
                self._state[rows] = np.hstack([episode.position, episode.velocity])
            self._spans.append(Span(sequence, start, length))
            self._head = start + length
            self._index = None
        self._newest_sequence = max(self._newest_sequence, sequence)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where the episodes lie, oldest first."""
        return tuple(self._spans)

    @property
    def capacity(self) -> int:
        """Number of rows allocated."""
        return self._capacity

    def rows(self, span: slice | None = None) -> dict[str, npt.NDArray[np.generic]]:
        """Views of these rows of the mirror's memory, by name:

        images uint8 [n, 64, 64 N, 3] of o_t, action float32 [n, A] (a_{t-1}), reward float32 [n],
        reward_valid and terminated bool [n], state float32 [n, P] (joint positions in rad |
        velocities in rad/s; P = 0 when they are not held).
        """
        return {name: getattr(self, f"_{name}")[span or slice(None)] for name in _ROWS}

    def draw(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Draw:
        """Draw `batch_size` chunks of `length` rows, none of which crosses an episode.

        An episode is drawn with probability proportional to its number of rows n, then a start
        uniformly: from [0, n - L], or with `clipped_starts` from [-L/2, n - L + L/2] and clipped
        to [0, n - L], so that an episode's last rows, where touches are, are as frequent as its
        middle ones. An episode shorter than L is padded at its end. Nothing is copied.

        Raises:
            MirrorError: there is no episode to draw from.
        """
        if not self._spans:
            raise MirrorError("there is no training episode to draw from yet")
        if self._index is None:
            lengths = np.array([span.length for span in self._spans])
            starts = np.array([span.start for span in self._spans])
            self._index = (np.cumsum(lengths), lengths, starts)
        ends, lengths, firsts = self._index
        drawn = np.searchsorted(ends, rng.integers(ends[-1], size=batch_size), side="right")
        n = lengths[drawn]
        last = np.maximum(n - length, 0)
        if clipped_starts:
            half = length // 2
            starts = rng.integers(-half, n - length + half, endpoint=True)
            starts = np.clip(starts, 0, last)
        else:
            starts = rng.integers(0, last, endpoint=True)
        step = np.arange(length)
        count = np.minimum(length, n - starts)[:, None]
        first = (firsts[drawn] + starts)[:, None]
        return Draw(rows=first + np.minimum(step, count - 1), mask=step < count)

    def _make_room(self, length: int) -> int:
        """Evict until `length` contiguous rows are free; return the first of them."""
        if self._head + length > self._capacity:
            while self._spans and self._spans[0].start >= self._head:
                self._spans.popleft()
            self._head = 0
        end = self._head + length
        while self._spans and self._head <= self._spans[0].start < end:
            self._spans.popleft()
        return self._head


def check_memory(
    capacity_steps: int, image_shape: tuple[int, int, int], action_size: int, state_size: int = 0
) -> None:
    """Raise MirrorError when a mirror of this size does not fit into the memory available."""
    row = int(np.prod(image_shape)) + 4 * (action_size + state_size) + 4 + 1 + 1
    available = available_memory()
    if available is not None and capacity_steps * row > available:
        raise MirrorError(
            f"capacity_steps = {capacity_steps} needs {capacity_steps * row / 1e9:.1f} GB of "
            f"memory for images {image_shape} and {available / 1e9:.1f} GB are available: "
            f"set it to {available // row} or less"
        )


def available_memory() -> int | None:
    """Return the bytes that this process can still take, None where Linux does not tell.

    The lower of the machine's MemAvailable and what this process's container leaves.
    """
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = {name: int(rest.split()[0]) * 1024 for name, rest in (s.split(":") for s in lines)}
    available = found.get("MemAvailable")
    if available is None:
        return None
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        stat = (_CGROUP / "memory.stat").read_text().split()
    except OSError:
        return available  # no container, or one that does not limit memory
    if limit == "max":
        return available
    # Of what the container holds, only anonymous memory cannot be given back.
    anonymous = int(stat[stat.index("anon") + 1])
    return max(0, min(available, int(limit) - anonymous))
