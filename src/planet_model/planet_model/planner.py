"""The planner: cross-entropy method in the space of action sequences (paper, Algorithm 2).

As printed, with amendments that the authors' code has too: the standard deviation (not the mean
absolute deviation) of the elites is fitted, candidates are clipped to [-1, 1], a sequence has H
actions (not H + 1), all candidates start from the one belief that was drawn. The mean is returned;
exploration noise is added by whoever acts.

In real time a fraction of the samples does: a search that starts from the last plan, shifted by one
step (``warm_start``), with its best candidates among the first ones (``kept_elites``), needs two or
three iterations.

In real time it is an anytime search, too: it has a deadline, and the plan is what its last
iteration before that has found. At least one is made.

The candidates are followed by the model itself or by what is faster (``kernel``, see the module
``fast_path``); the search is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from planet_model.config import PlannerConfig
from planet_model.fast_path import choose
from planet_model.imagination import CompiledImagination
from planet_model.transition import Belief
from planet_model.world_model import WorldModel


class PlanningError(RuntimeError):
    """No candidate has a finite score: the model's weights or the belief are broken."""


TimeLeft = Callable[[], float]
"""Tells how long it is until a plan's deadline, s."""


class Planner(Protocol):
    """What chooses actions."""

    config: PlannerConfig
    """Its budget, which may be changed between plans."""
    title: str
    """What computes, for people."""
    warning: str
    """Why nothing faster does; empty where nothing is wrong."""
    iterations: int
    """That the last plan had."""

    def plan(
        self, belief: Belief, generator: torch.Generator, time_left: TimeLeft | None = None
    ) -> Tensor:
        """The next action [A] in [-1, 1] from a belief of one row.

        Without `time_left` the plan takes as long as it takes, and depends on nothing else.
        """

    def reset(self) -> None:
        """Forgets what it kept from the last decision; called at the start of an episode."""

    def renew(self) -> None:
        """Takes notice that the model has other weights."""


def make_planner(model: WorldModel, config: PlannerConfig) -> Planner:
    """The planner that `config` names.

    Raises ValueError when a termination bonus is asked of a model without termination head.
    """
    if config.planner == "random":
        return RandomPlanner(model.config.action_size, config)
    if config.planner == "random_shooting":  # a search of one iteration that keeps the best
        config = dataclasses.replace(
            config, iterations=1, elites=1, warm_start=False, kept_elites=0
        )
    return CrossEntropyPlanner(model, config)


class RandomPlanner:
    """Uniform actions; looks at nothing."""

    def __init__(self, action_size: int, config: PlannerConfig) -> None:
        self.action_size = action_size
        self.config = config
        self.title, self.warning, self.iterations = "random actions", "", 0

    def plan(
        self, belief: Belief, generator: torch.Generator, time_left: TimeLeft | None = None
    ) -> Tensor:
        """See :class:`Planner`."""
        device = belief.stochastic.device
        return torch.rand(self.action_size, generator=generator, device=device) * 2 - 1

    def reset(self) -> None:
        """See :class:`Planner`."""

    def renew(self) -> None:
        """See :class:`Planner`."""


class CrossEntropyPlanner:
    """CEM over H actions with I iterations, J candidates and K elites.

    It uses the weights that `model` has when the planner is made, or renewed.
    """

    def __init__(self, model: WorldModel, config: PlannerConfig) -> None:
        if config.termination_bonus != 0.0 and not model.config.termination_head:
            raise ValueError(
                f"PlannerConfig.termination_bonus is {config.termination_bonus},"
                " but the model has no termination head"
            )
        self.model = model
        self.config = config
        self.iterations = 0
        self._choose()

    def reset(self) -> None:
        """See :class:`Planner`."""
        self._last_mean: Tensor | None = None
        self._last_elites: Tensor | None = None

    def renew(self) -> None:
        """See :class:`Planner`."""
        # A compiled graph reads the model's weights where they are; to record it again takes long.
        if not isinstance(self._imagine, CompiledImagination):
            self._choose()

    def _choose(self) -> None:
        self._imagine, self.warning = choose(self.model, self.config.kernel)
        self.title = self._imagine.title
        self.reset()

    @torch.inference_mode()
    def plan(
        self, belief: Belief, generator: torch.Generator, time_left: TimeLeft | None = None
    ) -> Tensor:
        """See :class:`Planner`. Raises :class:`PlanningError`."""
        c = self.config
        device = belief.stochastic.device
        mean = torch.zeros(c.horizon, self.model.config.action_size, device=device)
        if c.warm_start and self._last_mean is not None:
            mean[:-1] = self._last_mean[1:]
        std = torch.ones_like(mean)
        before = time_left() if time_left else 0.0
        longest = 0.0
        for iteration in range(c.iterations):
            if iteration > 0 and time_left and before < longest:
                break
            self.iterations = iteration + 1
            noise = torch.randn((c.candidates, *mean.shape), generator=generator, device=device)
            actions = (mean + std * noise).clamp(-1, 1)
            if iteration == 0 and self._last_elites is not None:
                kept = self._last_elites[: c.kept_elites]
                actions[: len(kept), :-1] = kept[:, 1:]  # the last action is a fresh one
            score = self.score(belief, actions, generator)
            elites = actions[best(score, c.elites)]
            std, mean = torch.std_mean(elites, dim=0, correction=0)
            if time_left:
                left = time_left()
                longest, before = max(longest, before - left), left
        self._last_mean, self._last_elites = mean, elites
        return mean[0].clone()

    def score(self, belief: Belief, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Imagined return [J] of action sequences [J, H, A] from a belief of one row."""
        size = (*actions.shape[:2], self.model.config.stochastic_size)
        noise = torch.randn(size, generator=generator, device=actions.device)
        reward, logit = self._imagine(belief, actions, noise)
        if logit is None:
            return reward.sum(-1)
        return terminating_return(reward, logit.sigmoid(), self.config.termination_bonus)


def best(score: Tensor, count: int) -> Tensor:
    """Indices of the `count` best finite scores, best first (fewer when fewer are finite).

    Raises :class:`PlanningError` when none is finite.
    """
    finite = score.isfinite()
    available = int(finite.sum())
    if available == 0:
        raise PlanningError(f"planner: none of {len(score)} candidates has a finite score")
    return score.where(finite, -torch.inf).topk(min(count, available)).indices


def terminating_return(reward: Tensor, probability: Tensor, bonus: float) -> Tensor:
    """Return of a horizon [..., H] that ends at step t with `probability` p_t.

    sum_t alive_t (p_t bonus + (1 - p_t) r_t), alive_1 = 1, alive_{t+1} = alive_t (1 - p_t): the
    bonus is paid once and nothing after the end counts.
    """
    survived = (1 - probability).cumprod(-1)  # alive_{t+1}
    alive = torch.cat([torch.ones_like(survived[..., :1]), survived[..., :-1]], -1)
    return (alive * probability * bonus + survived * reward).sum(-1)
