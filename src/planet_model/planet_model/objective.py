"""The loss: the negative variational bound of PlaNet (eq. 3 and 7), per valid step.

    L = image_weight       mean_t sum_pixels 1/2 (o_t - dec(b_t))^2
      + state_weight       mean_t sum_joints 1/2 (x_t - dec(b_t))^2     if the state is observed
      + reward_weight      mean_t 1/2 (reward_scale r_t - reward(b_t))^2
      + termination_weight mean_t BCE(d_t, termination(b_t))            if there is the head
      + 1/D sum_{d=1}^D beta_d mean_t max(free_nats, KL_d(t))           D = 1: the bound of eq. 3
      + global_prior_weight mean_t KL[q(s_t) || N(0, I)]

    KL_1(t) = KL[q(s_t | h_t, e_t) || p(s_t | h_t)]
    KL_d(t) = KL[stop_gradient(q(s_t)) || p(s_t | b_{t-d}, a_{t-d}, ..., a_{t-1})],  d > 1

with one sample of q per step. Everything observed is Gaussian of unit variance; the constants
1/2 ln 2 pi are dropped. Each mean runs over the valid steps of its term: over the rows that are not
padding and, for the reward, have a valid one or, for KL_d, a d-step prior.

Latent overshooting (eq. 7, for any D): the d-step prior of s_t imagines the states between b_{t-d}
and s_t with one sample each. What is inferred learns nothing from d > 1, neither as the target nor
as the start: the gradient reaches the transition and the prior alone. b_{t-d} is a belief of the
chunk or the zero belief before its first step, from which the step's KL at d = 1 starts too; a
prior that would start earlier than that does not exist. A distance at which no step of the batch
has one is left out, and not counted in D. So a KL that is the same at each (t, d) has the same loss
for every D, however short the chunks are.

A model with a termination head predicts the reward of a step that does not terminate: what the
terminating step is worth is the planner's ``termination_bonus``, so its reward is not learnt (a
rare spike, such as +1 for the touch, would blur the reward all around it).

With ``outcome_overshooting`` the reward and termination terms are added once more for imagined
beliefs, several steps after the last image: what the planner asks for is then learnt directly, and
does not have to pass through the KL alone (observation overshooting, section 4 and figure 3b, of
the two heads).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from planet_model.config import ObjectiveConfig
from planet_model.networks import Frames
from planet_model.transition import Belief, Gaussian
from planet_model.world_model import Trajectory, WorldModel


class Batch(NamedTuple):
    """B chunks of L steps; step t holds (o_t, a_{t-1}, r_t)."""

    images: Tensor | Frames
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
    state: Tensor
    """float [B, L, 2 J]: joint positions (rad) | velocities (rad/s); used if it is observed."""


class Losses(NamedTuple):
    """The loss, and its parts before their weights as detached tensors (kl before free nats)."""

    loss: Tensor
    image_loss: Tensor
    state_loss: Tensor
    reward_loss: Tensor
    termination_loss: Tensor
    kl: Tensor


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
    if model.decoders is None:
        raise ValueError("objective: the model has no decoders, so it cannot be trained")
    observation = model.preprocess(batch.images, generator, batch.state)
    size = (*batch.mask.shape, model.config.stochastic_size)
    noise = torch.randn(size, generator=generator, device=batch.mask.device)
    path = model.infer(batch.action, observation, noise)

    valid = batch.mask.flatten().nonzero().squeeze(1)
    if len(valid) == 0:
        raise ValueError("objective: the batch has no valid step")
    features = path.explaining.features.flatten(0, 1)
    zero = torch.zeros((), device=features.device)

    # The mean over a random share of the valid frames has the mean over all as its expectation.
    image_loss = zero
    count = max(1, round(config.decoded_fraction * len(valid)))
    shown = valid
    if count < len(valid):
        order = torch.randperm(len(valid), generator=generator, device=valid.device)
        shown = valid[order[:count]]
    for decoder, image in zip(model.decoders, observation.cameras, strict=True):
        loss = decoder.loss(features[shown], image.flatten(0, 1), shown)  # type: ignore[operator]
        image_loss = image_loss + loss / count

    state_loss = zero
    if model.state_decoder is not None:
        error = model.state_decoder(features[valid]) - observation.state.flatten(0, 1)[valid]
        state_loss = 0.5 * error.square().sum() / len(valid)

    reward_loss, termination_loss = _outcome_loss(model, path.explaining.features, batch, config)

    kl = kl_divergence(path.posterior, path.prior).flatten()[valid]
    loss = (
        config.image_weight * image_loss
        + config.state_weight * state_loss
        + config.reward_weight * reward_loss
        + config.termination_weight * termination_loss
    )
    if config.outcome_overshooting:
        loss = loss + _outcome_overshooting(model, path.belief, batch, config, generator)
    distances = [config.overshooting_weight(1) * kl.clamp(min=config.free_nats).mean()]
    if config.overshooting_distance > 1:
        distances += _latent_overshooting(model, path, batch, config, generator)
    kl_loss = torch.stack(distances).mean()
    if config.global_prior_weight > 0:
        normal = Gaussian(zero, torch.ones_like(zero))
        to_normal = kl_divergence(path.posterior, normal).flatten()[valid].mean()
        kl_loss = kl_loss + config.global_prior_weight * to_normal
    return Losses(
        loss + kl_loss,
        image_loss.detach(),
        state_loss.detach(),
        reward_loss.detach(),
        termination_loss.detach(),
        kl.detach().mean(),
    )


def _latent_overshooting(
    model: WorldModel,
    path: Trajectory,
    batch: Batch,
    config: ObjectiveConfig,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """beta_d mean_t max(free_nats, KL_d(t)) for d = 2, ..., D, as far as a step has a d-step prior.

    Imagines from all beliefs of all chunks at once, one distance after the other.
    """
    chunks, length = batch.mask.shape
    target = Gaussian(*(x.detach() for x in path.posterior))
    start = model.initial_belief(chunks)
    belief = Belief(
        *(
            torch.cat([first[:, None], later[:, :-1].detach()], 1)
            for first, later in zip(start, path.belief, strict=True)
        )
    )
    found = []
    for distance in range(1, min(config.overshooting_distance, length) + 1):
        # Row i of `belief` was imagined from b_{i-1}; the step that it reaches now is t.
        t = slice(distance - 1, length)
        shape = (chunks, length - distance + 1)
        context = model.rssm.transition(
            Belief(*(x[:, : shape[1]].flatten(0, 1) for x in belief)),
            batch.action[:, t].flatten(0, 1),
        )
        size = (*shape, model.config.stochastic_size)
        noise = torch.randn(size, generator=generator, device=context.device)
        imagined, prior = model.rssm.imagine(context, noise.flatten(0, 1))
        belief = Belief(*(x.view(*shape, x.shape[-1]) for x in imagined))
        if distance > 1:
            kl = kl_divergence(Gaussian(*(x[:, t].flatten(0, 1) for x in target)), prior)
            kl = kl.clamp(min=config.free_nats)[batch.mask[:, t].flatten()]
            if len(kl) > 0:
                found.append(config.overshooting_weight(distance) * kl.mean())
    return found


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


def _outcome_overshooting(
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
    rest = Batch(batch.images, *(x[:, start + 1 :] for x in batch[1:]))  # no frame is looked at
    size = (*rest.mask.shape, model.config.stochastic_size)
    noise = torch.randn(size, generator=generator, device=rest.mask.device)
    seen = Belief(*(x[:, start] for x in belief))
    imagined = model.imagine(seen, rest.action, noise)
    reward_loss, termination_loss = _outcome_loss(model, imagined.features, rest, config)
    return config.reward_weight * reward_loss + config.termination_weight * termination_loss
