"""Which imagination the planner gets: the fastest one that agrees with the model.

On a CPU that is a kernel (see the modules ``kernels`` and ``rollout``), on a GPU the model in
bfloat16 as one CUDA graph. A kernel of whole numbers is compared with the model whenever there are
new weights: a unit that saturates takes the resolution from all others.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

import torch

from planet_model.compiled import CompileError
from planet_model.imagination import CompiledImagination, Imagination, PlainImagination
from planet_model.kernels import Kernel, library, runnable
from planet_model.rollout import Rollout
from planet_model.transition import RSSM, Belief
from planet_model.world_model import WorldModel

AGREEMENT = 0.9
"""Share of the model's elites that a kernel must find."""
_STEPS = (0, 4, 8, 16)  # random actions from the first belief to those that are compared from
_CANDIDATES, _HORIZON, _ELITES = 100, 8, 10


class Choice(NamedTuple):
    """What follows the candidates, and why nothing faster does."""

    imagination: Imagination
    warning: str
    """One sentence; empty where nothing is wrong."""


def choose(model: WorldModel, kernel: str) -> Choice:
    """What follows the candidates of `model`, with its present weights.

    `kernel` is PlannerConfig's. Raises ValueError when it names one that cannot be had.
    """
    plain = PlainImagination(model)
    if kernel == "model":
        return Choice(plain, "")
    if model.device.type == "cuda":
        return _on_gpu(model)
    single = all(p.dtype == torch.float32 for p in model.parameters())
    fits = model.device.type == "cpu" and isinstance(model.rssm, RSSM) and single
    if kernel != "auto":
        return Choice(_named(model, kernel, fits), "")
    if not fits:
        return Choice(plain, "")
    kernels = runnable()
    reasons: list[str] = (
        [] if kernels else ["this CPU has none of the instruction sets of the kernels"]
    )
    agreed = True
    for found in kernels:
        if found.precision != "float32" and not agreed:
            continue
        try:
            imagination = Rollout(model, library(found), str(found))
        except CompileError as error:
            reasons.append(str(error))
            continue
        if found.precision != "float32":
            elites = agreement(model, imagination)
            agreed = elites >= AGREEMENT
            if not agreed:
                reasons.append(f"{found} finds {100 * elites:.0f} % of the model's elites")
                continue
        return Choice(imagination, _warning(imagination, reasons))
    return Choice(plain, _warning(plain, reasons))


def _on_gpu(model: WorldModel) -> Choice:
    if find_spec("triton") is None:
        plain = PlainImagination(model)
        return Choice(plain, _warning(plain, ["Triton, which compiles for GPUs, is not installed"]))
    half = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if half else torch.float32
    return Choice(CompiledImagination(model, dtype, mode="reduce-overhead"), "")


def agreement(model: WorldModel, imagination: Imagination) -> float:
    """Share of the model's elites that are elites of `imagination`, too, from a few beliefs.

    All that is random is the same at each call.
    """
    config, plain = model.config, PlainImagination(model)
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    steps = max(_STEPS)
    common = 0
    with torch.inference_mode():
        actions = normal(1, steps, config.action_size).clamp(-1, 1)
        noise = normal(1, steps, config.stochastic_size)
        path = model.imagine(model.initial_belief(1), actions, noise)
        for step in _STEPS:
            belief = model.initial_belief(1)
            if step > 0:
                belief = Belief(path.deterministic[:, step - 1], path.stochastic[:, step - 1])
            actions = normal(_CANDIDATES, _HORIZON, config.action_size).clamp(-1, 1)
            noise = normal(_CANDIDATES, _HORIZON, config.stochastic_size)
            elites = [
                set(follow(belief, actions, noise).reward.sum(1).topk(_ELITES).indices.tolist())
                for follow in (plain, imagination)
            ]
            common += len(elites[0] & elites[1])
    return common / (len(_STEPS) * _ELITES)


def _named(model: WorldModel, kernel: str, fits: bool) -> Rollout:
    found: dict[str, Kernel] = {each.name: each for each in runnable()} if fits else {}
    asked = f"PlannerConfig.kernel is '{kernel}'"
    if kernel not in found:
        names = ", ".join(["auto", "model", *found])
        raise ValueError(f"{asked}, expected one that this CPU and this model can have: {names}")
    try:
        return Rollout(model, library(found[kernel]), str(found[kernel]))
    except CompileError as error:
        raise ValueError(f"{asked}, but {error}") from error


def _warning(imagination: Imagination, reasons: list[str]) -> str:
    if not reasons:
        return ""
    why = "; ".join(dict.fromkeys(reasons))
    return f"the planner computes in {imagination.title}, which is slower: {why}"
