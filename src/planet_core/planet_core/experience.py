"""What a trainer sees of the episodes: the learner's copy of them in memory.

Rows follow the time convention of :mod:`planet_core`: row t holds (o_t, a_{t-1}, r_t). A chunk is L
consecutive rows of one episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Draw:
    """B chunks of L rows: where they lie, until the next episode is added."""

    rows: npt.NDArray[np.int64]
    """[B, L], consecutive rows of one episode; padding repeats the chunk's last row."""
    mask: npt.NDArray[np.bool_]
    """Whether the row is of the chunk, [B, L]; padding comes last."""


@dataclass(frozen=True, eq=False)
class Span:
    """Where an episode lies; equal to itself alone, whatever else was at its place before."""

    sequence: int
    start: int
    """Its first row."""
    length: int


class Experience(Protocol):
    """The newest training episodes, one after the other in rows."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where the episodes lie, oldest first."""

    @property
    def capacity(self) -> int:
        """Number of rows allocated."""

    def rows(self, span: slice | None = None) -> dict[str, npt.NDArray[np.generic]]:
        """Return views of these rows (None: of all), by name.

        images uint8 [n, 64, 64 N, 3] of o_t, action float32 [n, A] (a_{t-1}), reward float32 [n],
        reward_valid and terminated bool [n], state float32 [n, P] (joint positions in rad |
        velocities in rad/s; P = 0 when they are not held).
        """

    def draw(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Draw:
        """Draw `batch_size` chunks of `length` rows, none of which crosses an episode."""
