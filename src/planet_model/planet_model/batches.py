"""Batches drawn from the mirror, in the memory of the device that trains on them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from planet_core.experience import Draw, Experience, Span
from planet_model.networks import Frames
from planet_model.objective import Batch


class Batches:
    """Draws from `experience` for `device`; no frame is copied for it.

    On a CPU a batch points into the mirror itself, and is good until an episode is added. Another
    device keeps a copy of the mirror, to which each episode moves once, when it is first seen.

    Args:
        copied: keep such a copy.
    """

    def __init__(self, experience: Experience, device: torch.device, copied: bool) -> None:
        self.experience = experience
        self._device = device
        self._copied = copied
        self._spans: frozenset[Span] = frozenset()
        held = experience.rows()
        rows = {name: torch.from_numpy(held[name]) for name in Batch._fields if name in held}
        self._rows: dict[str, Tensor] = (
            {name: torch.empty_like(values, device=device) for name, values in rows.items()}
            if copied
            else rows
        )

    def draw(
        self, batch_size: int, length: int, rng: np.random.Generator, clipped_starts: bool
    ) -> Batch:
        """Draw chunks as the experience does; padding is zero, but for its frames."""
        return self._batch(self.experience.draw(batch_size, length, rng, clipped_starts))

    def evaluation(self, episodes: int, length: int) -> Batch:
        """Return evaluation episodes as the experience does, padded as in `draw`."""
        return self._batch(self.experience.evaluation(episodes, length))

    def _batch(self, draw: Draw) -> Batch:
        if self._copied:
            self._refresh()
        rows = torch.from_numpy(draw.rows).to(self._device)
        mask = torch.from_numpy(draw.mask).to(self._device)
        small = {name: held[rows] for name, held in self._rows.items() if name != "images"}
        for values in small.values():
            values[~mask] = 0
        return Batch(images=Frames(self._rows["images"], rows), mask=mask, **small)

    def _refresh(self) -> None:
        spans = self.experience.spans
        for span in spans:
            if span not in self._spans:
                places = self.experience.places(span)
                where = torch.from_numpy(places).to(self._device)
                held = self.experience.rows()
                for name, rows in self._rows.items():
                    rows[where] = torch.from_numpy(held[name][places]).to(self._device)
        self._spans = frozenset(spans)
