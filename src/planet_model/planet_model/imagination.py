"""Following candidates: what the planner asks of a model, and the model's own answer.

A faster one is the module ``rollout``'s on a CPU, and on a GPU the model's own, compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from planet_model.transition import Belief
from planet_model.world_model import WorldModel


class Outcomes(NamedTuple):
    """What the planner asks of the imagined steps of J candidates, [J, H]."""

    reward: Tensor
    """Mean of the reward, in scaled units."""
    termination_logit: Tensor | None
    """None without the termination head."""


class Imagination(Protocol):
    """Follows candidates from a belief."""

    title: str
    """Precision, and what computes, for people."""

    def __call__(self, belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        """From a belief of one row, actions [J, H, A] and noise [J, H, S] to their outcomes."""


class PlainImagination:
    """The model's own, in its own precision, for any model and device."""

    def __init__(self, model: WorldModel) -> None:
        self._model = model
        self.title = f"float32 PyTorch on {model.device}"

    def __call__(self, belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        """See :class:`Imagination`."""
        model = self._model
        features = model.imagine(belief.repeat(len(actions)), actions, noise).features
        return Outcomes(model.reward(features), model.termination_logit(features))


class CompiledImagination:
    """The model's own, compiled as one graph; `options` are torch.compile's.

    Weights that are loaded into the model in place are used from then on, by the same graph.
    """

    def __init__(self, model: WorldModel, dtype: torch.dtype, **options: Any) -> None:
        self.title = f"{str(dtype).removeprefix('torch.')} PyTorch, compiled, on {model.device}"
        self._device = model.device.type
        self._dtype = dtype
        self._compiled = torch.compile(PlainImagination(model).__call__, fullgraph=True, **options)

    def __call__(self, belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        """See :class:`Imagination`."""
        half = self._dtype != torch.float32
        with torch.autocast(self._device, self._dtype, enabled=half):
            reward, logit = self._compiled(belief, actions, noise)
        # The next replay of a CUDA graph writes over this one's results.
        return Outcomes(reward.float().clone(), None if logit is None else logit.float().clone())
