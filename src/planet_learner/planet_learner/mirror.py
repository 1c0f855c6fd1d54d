"""The learner's copy of the replay in memory, and the chunk sampler.

Rows follow the package-wide time convention: row t holds (o_t, a_{t-1}, r_t). A chunk is up to L
consecutive rows of one episode. Frames are kept as uint8 in one preallocated ring, in which an
episode may go on from the last row to the first. A chunk names rows of the ring, so drawing one
copies nothing.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet_core.episode import Episode
from planet_core.experience import Draw, Span

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_FLAGS = ("reward_valid", "terminated", "truncated")


class MirrorError(ValueError):
    """The mirror cannot hold what it was asked to; the message is one sentence."""


class Mirror:
    """The newest episodes, at most `capacity_steps` rows of them.

    The rule is the replay's own: an episode in turn evicts the oldest ones until all rows held,
    those of evaluation episodes included, are at most `capacity_steps`. So a mirror that was given
    every episode and one that is filled anew from the replay hold the same, if their capacities
    are the replay's. Evaluation episodes are never drawn to be trained on.

    Args:
        capacity_steps: rows (observations) preallocated.
        image_shape: (64, 64 N, 3); without a camera, N = 0, images are left out.
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
        self._rows: dict[str, npt.NDArray[Any]] = {
            "images": np.empty((capacity_steps, *image_shape), np.uint8),
            "state": np.empty((capacity_steps, state_size), np.float32),
            "action": np.empty((capacity_steps, action_size), np.float32),
            "reward": np.empty(capacity_steps, np.float32),
            **{name: np.empty(capacity_steps, np.bool_) for name in _FLAGS},
        }
        self._spans: deque[Span] = deque()  # oldest first, in the ring's order
        self._steps = 0
        self._head = 0
        self._newest_sequence = 0
        self._training: npt.NDArray[np.int64] | None = None
        """First row and length of the training episodes, [2, episodes]; None after a change."""

    @property
    def episodes(self) -> int:
        """Number of training episodes held."""
        return sum(not span.evaluation for span in self._spans)

    @property
    def steps(self) -> int:
        """Number of rows held, those of evaluation episodes included."""
        return self._steps

    @property
    def newest_sequence(self) -> int:
        """The newest sequence given to `add`; 0 for none."""
        return self._newest_sequence

    def clear(self) -> None:
        """Forget every episode and sequence."""
        self._spans.clear()
        self._steps = 0
        self._head = 0
        self._newest_sequence = 0
        self._training = None

    def add(self, episode: Episode, sequence: int) -> None:
        """Copy an episode in, in place of the oldest ones when there is no room.

        Raises:
            MirrorError: its shapes are not the mirror's, or it is longer than the whole mirror.
        """
        held = self._rows
        shape, own = episode.images.shape[1:], held["images"].shape[1:]
        actions, own_actions = episode.action.shape[1], held["action"].shape[1]
        looks = held["images"].size > 0
        if (looks and shape != own) or actions != own_actions:
            raise MirrorError(
                f"episode '{episode.id}' has images {shape} and {actions} actions, "
                f"where images {own} and {own_actions} actions are learnt from"
            )
        state_size = held["state"].shape[1]
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
        while self._steps + length > self._capacity:
            self._steps -= self._spans.popleft().length
        span = Span(sequence, self._head, length, episode.policy == "evaluation")
        rows = self.places(span)
        if looks:
            held["images"][rows] = episode.images
        if state_size:
            held["state"][rows] = np.hstack([episode.position, episode.velocity])
        for name in ("action", "reward", *_FLAGS):
            held[name][rows] = getattr(episode, name)
        self._spans.append(span)
        self._steps += length
        self._head = (self._head + length) % self._capacity
        self._newest_sequence = max(self._newest_sequence, sequence)
        self._training = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where the episodes lie, oldest first."""
        return tuple(self._spans)

    @property
    def capacity(self) -> int:
        """Number of rows allocated."""
        return self._capacity

    def rows(self) -> dict[str, npt.NDArray[np.generic]]:
        """The mirror's memory: see :meth:`planet_core.experience.Experience.rows`."""
        return dict(self._rows)

    def places(self, span: Span) -> npt.NDArray[np.int64]:
        """The rows of the mirror's memory that an episode lies in, [length]."""
        return (span.start + np.arange(span.length)) % self._capacity

    def draw(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Draw:
        """Draw `batch_size` chunks of at most L = `length` rows, each from one training episode.

        With `clipped_starts` every row is equally likely. An episode of n > L rows is overlapped by
        n + L - 1 windows of L rows, and each of its rows lies in L of them; one of n <= L rows
        counts as L windows, each of which holds all of it. One of the W windows of all episodes is
        drawn uniformly and clipped to its episode. So a row is in the chunk with probability L / W,
        wherever it stands in its episode and however short that is.

        Without, an episode is drawn in proportion to max(n, L), then a start uniformly from
        [0, n - L], or 0 if n < L. First and last rows are then rarer than middle ones, but the
        episodes' rows weigh alike on average: a chunk has min(n, L) of the n rows, so the mean
        row is in it with probability max(n, L) / M min(n, L) / n = L / M, M = sum max(n, L).

        Raises:
            MirrorError: there is no episode to draw from.
        """
        if self._training is None:
            spans = [(span.start, span.length) for span in self._spans if not span.evaluation]
            self._training = np.array(spans, np.int64).reshape(-1, 2).T
        origins, lengths = self._training
        if len(origins) == 0:
            raise MirrorError("there is no training episode to draw from yet")
        windows = np.maximum(lengths, length)
        if clipped_starts:
            windows[lengths > length] += length - 1
        ends = np.cumsum(windows)
        window = rng.integers(ends[-1], size=batch_size)
        drawn = np.searchsorted(ends, window, side="right")
        n = lengths[drawn]
        if clipped_starts:
            start = np.where(n > length, window - ends[drawn] + n, 0)  # 1 - L, ..., n - 1
        else:
            start = rng.integers(0, np.maximum(n - length, 0), endpoint=True)
        first = np.maximum(start, 0)
        count = np.minimum(start + length, n) - first
        return self._chunks(origins[drawn] + first, count, length)

    def evaluation(self, episodes: int, length: int) -> Draw:
        """Return the first `length` rows of the newest evaluation episodes, oldest of them first.

        There are fewer chunks than `episodes` when fewer are held, and fewer columns than `length`
        when all of them are shorter; without one, [0, 0].
        """
        newest = [span for span in self._spans if span.evaluation][-episodes:]
        first = np.array([span.start for span in newest], np.int64)
        count = np.array([min(span.length, length) for span in newest], np.int64)
        return self._chunks(first, count, int(count.max(initial=0)))

    def _chunks(
        self, first: npt.NDArray[np.int64], count: npt.NDArray[np.int64], length: int
    ) -> Draw:
        """Chunks of `count` rows from `first` on, both [B], padded to `length`."""
        step = np.arange(length)
        offset = np.minimum(step, count[:, None] - 1)
        return Draw((first[:, None] + offset) % self._capacity, step < count[:, None])


def check_memory(
    capacity_steps: int, image_shape: tuple[int, int, int], action_size: int, state_size: int = 0
) -> None:
    """Raise MirrorError when a mirror of this size does not fit into the memory available."""
    row = int(np.prod(image_shape)) + 4 * (action_size + state_size + 1) + len(_FLAGS)
    available = available_memory()
    if available is not None and capacity_steps * row > available:
        raise MirrorError(
            f"capacity_steps = {capacity_steps} needs {capacity_steps * row / 1e9:.1f} GB of "
            f"memory for images {image_shape}, and {available / 1e9:.1f} GB are available: "
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
