"""The mirror in a device's own memory, so that drawing a batch moves no image over the bus."""

from __future__ import annotations

import numpy as np
import torch
from planet_model.objective import Batch
from planet_replay.mirror import Mirror, Span
from torch import Tensor


class DeviceMirror:
    """A copy of `mirror` on `device`, brought up to date before each draw.

    Each episode moves once, when it is first seen. What is drawn is what :meth:`Mirror.sample`
    draws from the same generator.
    """

    def __init__(self, mirror: Mirror, device: torch.device) -> None:
        self.mirror = mirror
        self._device = device
        self._spans: frozenset[Span] = frozenset()
        self._rows: dict[str, Tensor] = {
            name: torch.empty(
                (mirror.capacity, *rows.shape[1:]),
                dtype=torch.from_numpy(rows).dtype,
                device=device,
            )
            for name, rows in mirror.rows(slice(0, 0)).items()
        }

    def sample(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Batch:
        """See :meth:`Mirror.sample`; the batch is on the device."""
        self._refresh()
        draw = self.mirror.draw(batch_size, length, rng, clipped_starts)
        rows = torch.from_numpy(draw.rows).to(self._device)
        mask = torch.from_numpy(draw.mask).to(self._device)
        chunks = {name: held[rows] for name, held in self._rows.items()}
        for chunk in chunks.values():
            chunk[~mask] = 0
        return Batch(**chunks, mask=mask)

    def _refresh(self) -> None:
        spans = self.mirror.spans
        for span in spans:
            if span not in self._spans:
                where = slice(span.start, span.start + span.length)
                for name, rows in self.mirror.rows(where).items():
                    self._rows[name][where] = torch.from_numpy(rows).to(self._device)
        self._spans = frozenset(spans)
