"""The loss: the negative variational bound of PlaNet (eq. 3), per valid step.

    L = mean_t [  sum_pixels 1/2 (o_t - dec(b_t))^2                        image
                + reward_weight 1/2 (reward_scale r_t - reward(b_t))^2     reward
                + termination_weight BCE(d_t, termination(b_t))            termination
                + max(free_nats, KL[q(s_t | h_t, e_t) || p(s_t | h_t)]) ]  KL

with one sample of q per step. Images and rewards are Gaussians of unit variance; their constants
1/2 ln 2 pi are dropped. Each mean runs over the valid steps of its term: image, termination and KL
over the rows that are not padding, the reward over those with a valid reward.

A model with a termination head predicts the reward of a step that does not terminate: what the
terminating step is worth is the planner's ``termination_bonus``, so its reward is not learnt (a
rare spike, such as +1 for the touch, would blur the reward all around it).

With ``overshooting`` the reward and termination terms are added once more for imagined beliefs,
several steps after the last image: what the planner asks for is then learnt directly, and does not
have to pass through the KL alone (observation overshooting, PlaNet appendix, of the two heads).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from planet_model.config import ObjectiveConfig
from planet_model.world_model import Belief, Gaussian, Observation, WorldModel, to_blocks


class Batch(NamedTuple):
    """B chunks of L steps; step t holds (o_t, a_{t-1}, r_t)."""

    images: Tensor
    """uint8 [B, L, 64, 64 N, 3]."""
    action: Tensor
    """float [B, L, A] in [-1, 1]."""
    reward: Tensor
    """float [B, L], the environment's units."""
    reward_valid: Tensor
    """bool [B, L]."""
    terminated: Tensor
    """bool [B, L]."""
    mask: Tensor
    """bool [B, L], true where the row is real; padding comes last and holds finite numbers."""


class Losses(NamedTuple):
    """The loss and, as plain numbers, its parts before their weights (kl before free nats)."""

    loss: Tensor
    image_loss: float
    reward_loss: float
    termination_loss: float
    kl: float


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL[q || p] of diagonal Gaussians, summed over the last dimension."""
    ratio = (q.std / p.std).square()
    distance = ((q.mean - p.mean) / p.std).square()
    return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)


def objective(
    model: WorldModel,
    batch: Batch,
    config: ObjectiveConfig,
    generator: torch.Generator | None = None,
) -> Losses:
    """The loss of a batch; `generator` draws all noise (without it: the global one).

    Raises ValueError when the batch has no valid step or the model no decoders.
    """
    observation = model.preprocess(batch.images, generator)
    size = (*batch.mask.shape, model.config.stochastic_size)
    noise = torch.randn(size, generator=generator, device=batch.mask.device)
    belief, posterior, prior = model.infer(batch.action, observation, noise)

    valid = batch.mask.flatten().nonzero().squeeze(1)
    if len(valid) == 0:
        raise ValueError("objective: the batch has no valid step")
    features = belief.features.flatten(0, 1)

    # The mean over a random share of the valid frames has the mean over all as its expectation.
    count = max(1, round(config.decoded_fraction * len(valid)))
    shown = valid
    if count < len(valid):
        order = torch.randperm(len(valid), generator=generator, device=valid.device)
        shown = valid[order[:count]]
    target = tuple(image.flatten(0, 1)[shown] for image in observation)
    image_loss = _image_loss(model, features[shown], target) / count

    kl = kl_divergence(
        Gaussian(*(x.flatten(0, 1)[valid] for x in posterior)),
        Gaussian(*(x.flatten(0, 1)[valid] for x in prior)),
    )
    kl_loss = kl.clamp(min=config.free_nats).mean()

    reward_loss, termination_loss = _outcome_loss(model, belief.features, batch, config)

    loss = (
        image_loss
        + config.reward_weight * reward_loss
        + config.termination_weight * termination_loss
        + kl_loss
    )
    if config.overshooting:
        loss = loss + _overshooting_loss(model, belief, batch, config, generator)
    return Losses(
        loss, image_loss.item(), reward_loss.item(), termination_loss.item(), kl.mean().item()
    )


def _outcome_loss(
    model: WorldModel, features: Tensor, batch: Batch, config: ObjectiveConfig
) -> tuple[Tensor, Tensor]:
    """Mean loss of the reward and of the termination, unweighted; features [B, L, F]."""
    valid = batch.mask.flatten().nonzero().squeeze(1)
    rewarded = batch.mask & batch.reward_valid
    if model.termination_head is not None:
        rewarded = rewarded & ~batch.terminated
    rewarded = rewarded.flatten().nonzero().squeeze(1)
    features = features.flatten(0, 1)

    scaled = config.reward_scale * batch.reward.flatten()[rewarded]
    error = model.reward(features[rewarded]) - scaled
    reward_loss = 0.5 * error.square().sum() / max(1, len(rewarded))

    logit = model.termination_logit(features[valid])
    if logit is None:
        return reward_loss, torch.zeros((), device=features.device)
    ended = batch.terminated.flatten()[valid].to(logit.dtype)
    bce = F.binary_cross_entropy_with_logits(logit, ended, reduction="sum")
    return reward_loss, bce / max(1, len(valid))


def _overshooting_loss(
    model: WorldModel,
    belief: Belief,
    batch: Batch,
    config: ObjectiveConfig,
    generator: torch.Generator | None,
) -> Tensor:
    """Weighted reward and termination loss of what the planner will see: imagined beliefs.

    From the belief of one early step, drawn in the first third of the chunk, the rest of the chunk
    is imagined with the actions that were taken.
    """
    length = batch.mask.shape[1]
    first = min(1, length - 2)  # a step later than the first knows velocities
    last = max(first + 1, length // 3)
    start = int(torch.randint(first, last, (1,), generator=generator, device=batch.mask.device))
    rest = Batch(*(x[:, start + 1 :] for x in batch))
    size = (*rest.mask.shape, model.config.stochastic_size)
    noise = torch.randn(size, generator=generator, device=rest.mask.device)
    seen = Belief(*(x[:, start] for x in belief))
    imagined = model.imagine(seen, rest.action, noise)
    reward_loss, termination_loss = _outcome_loss(model, imagined.features, rest, config)
    return config.reward_weight * reward_loss + config.termination_weight * termination_loss


def _image_loss(model: WorldModel, features: Tensor, observation: Observation) -> Tensor:
    """Sum of 1/2 (o - dec(b))^2 over frames, cameras and pixels; features [n, F]."""
    if model.decoders is None:
        raise ValueError("objective: the model has no decoders, so it cannot be trained")
    loss = torch.zeros((), device=features.device)
    for decoder, image in zip(model.decoders, observation, strict=True):
        blocks = decoder.blocks(features)  # type: ignore[operator]
        loss = loss + 0.5 * F.mse_loss(blocks, to_blocks(image), reduction="sum")
    return loss
