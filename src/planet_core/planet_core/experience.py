"""What a trainer sees of the episodes: the learner's copy of them in memory.

Rows follow the time convention of :mod:`planet_core`: row t holds (o_t, a_{t-1}, r_t). A chunk is
up to L consecutive rows of one episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Draw:
    """B chunks of up to L rows: where they lie, until the next episode is added."""

    rows: npt.NDArray[np.int64]
    """[B, L], successive rows of one episode; padding repeats the chunk's last row."""
    mask: npt.NDArray[np.bool_]
    """Whether the row is of the chunk, [B, L]; padding comes last."""


@dataclass(frozen=True, eq=False)
class Span:
    """Where an episode lies; equal to itself alone, whatever else was at its place before."""

    sequence: int
    start: int
    """Its first row; the others follow around the ring."""
    length: int
    evaluation: bool
    """Whether it is an evaluation episode, which is never trained on."""


class Experience(Protocol):
    """The newest episodes, one after the other in a ring of rows."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where the episodes lie, oldest first."""

    @property
    def capacity(self) -> int:
        """Number of rows allocated."""

    def rows(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all rows, by name; what no episode holds is arbitrary.

        images uint8 [n, 64, 64 N, 3] of o_t (N = 0 when they are not held), action float32 [n, A]
        (a_{t-1}), reward float32 [n], reward_valid, terminated and truncated bool [n], state
        float32 [n, P] (joint positions in rad | velocities in rad/s; P = 0 when they are not held).
        """

    def places(self, span: Span) -> npt.NDArray[np.int64]:
        """Return the rows that an episode lies in, [length]."""

    def draw(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Draw:
        """Draw `batch_size` chunks of at most `length` rows, each from one training episode."""

    def evaluation(self, episodes: int, length: int) -> Draw:
        """Return the first `length` rows of the newest evaluation episodes, oldest of them first.

        There are fewer chunks than `episodes` when fewer are held; without one, [0, 0].
        """
