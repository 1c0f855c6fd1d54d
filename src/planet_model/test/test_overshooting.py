"""Latent overshooting, eq. 7 of the paper, against the two loops over t and d that it is."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.objective import Batch, Losses, objective
from planet_model.transition import Belief
from planet_model.world_model import Trajectory, WorldModel

CHUNKS, LENGTH = 3, 6
CONFIG = ModelConfig(
    cameras=("front",),
    action_size=3,
    deterministic_size=12,
    stochastic_size=5,
    hidden_size=16,
    embedding_size=20,
    conv_depth=2,
)
# Nothing but the KL terms, so that they are not lost in the rounding of the image loss.
KL_ONLY = ObjectiveConfig(
    image_weight=0.0, reward_weight=0.0, termination_weight=0.0, free_nats=0.0
)
stochastic = pytest.mark.parametrize("transition", ["rssm", "ssm"])


def make_model(transition: str) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(dataclasses.replace(CONFIG, transition=transition))


def make_batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(CHUNKS, LENGTH, dtype=torch.bool)
    mask[1, 4:] = False
    mask[2, 1:] = False
    return Batch(
        torch.randint(0, 256, (CHUNKS, LENGTH, 64, 64, 3), dtype=torch.uint8, generator=g),
        torch.rand(CHUNKS, LENGTH, 3, generator=g) * 2 - 1,
        torch.zeros(CHUNKS, LENGTH),
        mask,
        torch.zeros_like(mask),
        mask,
        torch.zeros(CHUNKS, LENGTH, 4),
    )


def run(model: WorldModel, config: ObjectiveConfig) -> tuple[Losses, dict[str, Tensor]]:
    model.zero_grad()
    losses = objective(model, make_batch(), config, torch.Generator().manual_seed(5))
    losses.loss.backward()  # type: ignore[no-untyped-call]
    return losses, gradients(model)


def gradients(model: WorldModel) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


def eq_7(
    model: WorldModel, path: Trajectory, config: ObjectiveConfig, noise: dict[int, Tensor]
) -> Tensor:
    """1/D sum_d beta_d mean_t E[KL[q(s_t) || p(s_t | s_{t-1})]], s_{t-1} ~ p(s_{t-1} | s_{t-d}).

    D counts the distances that there are; noise[k] is what the k-th state after a start is drawn
    with.
    """
    batch, distance = make_batch(), min(config.overshooting_distance, LENGTH)
    total = torch.zeros(())
    for d in range(1, distance + 1):
        beta = config.overshooting_weights[min(d, len(config.overshooting_weights)) - 1]
        terms = []
        for b in range(CHUNKS):
            for t in range(LENGTH):
                start = t - d  # -1: the zero belief before the chunk
                if not batch.mask[b, t] or start < -1:
                    continue
                belief = model.initial_belief(1)
                if start >= 0:
                    belief = Belief(*(x[b : b + 1, start] for x in path.belief))
                if d > 1:
                    belief = Belief(*(x.detach() for x in belief))
                for k in range(1, d + 1):
                    context = model.rssm.transition(belief, batch.action[b, start + k][None])
                    prior = model.rssm.prior(context)
                    if k < d:
                        s = prior.mean + prior.std * noise[k][b, start + 1]
                        h = context if model.config.transition == "rssm" else context[:, :0]
                        belief = Belief(h, s)
                mean, std = path.posterior.mean[b, t], path.posterior.std[b, t]
                if d > 1:
                    mean, std = mean.detach(), std.detach()
                q = Independent(Normal(mean, std), 1)
                p = Independent(Normal(prior.mean[0], prior.std[0]), 1)
                terms.append(kl_divergence(q, p).clamp(min=config.free_nats))
        total = total + beta * torch.stack(terms).mean()
    return total / distance


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("distance", [1, 2, 4, LENGTH, LENGTH + 3])
@stochastic
def test_it_is_the_double_loop_of_eq_7_in_value_and_gradient(
    transition: str, distance: int, free: bool
) -> None:
    model = make_model(transition)
    free_nats = float(run(model, KL_ONLY)[0].kl) if free else 0.0  # some terms below, some above
    config = dataclasses.replace(
        KL_ONLY,
        free_nats=free_nats,
        overshooting_distance=distance,
        overshooting_weights=(1.0, 0.5, 2.0),
    )
    losses, found = run(model, config)

    g = torch.Generator().manual_seed(5)
    model.zero_grad()
    batch = make_batch()
    observation = model.preprocess(batch.images, g)
    path = model.infer(batch.action, observation, torch.randn(CHUNKS, LENGTH, 5, generator=g))
    noise = {
        k: torch.randn(CHUNKS, LENGTH - k + 1, 5, generator=g)
        for k in range(1, min(distance, LENGTH) + 1)
    }
    expected = eq_7(model, path, config, noise)
    torch.testing.assert_close(losses.loss, expected, rtol=1e-5, atol=1e-6)
    expected.backward()  # type: ignore[no-untyped-call]
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    if free:
        bare = dataclasses.replace(config, free_nats=0.0)
        assert losses.loss > run(model, bare)[0].loss
        assert any(gradient.any() for gradient in found.values())


@pytest.mark.parametrize("distance", [1, 2, 3, LENGTH, 50])
def test_a_constant_kl_costs_the_same_at_every_distance(distance: int) -> None:
    config = dataclasses.replace(KL_ONLY, free_nats=1000.0, overshooting_distance=distance)
    losses, _ = run(make_model("rssm"), config)  # every KL is far below its free nats
    torch.testing.assert_close(losses.loss, torch.tensor(1000.0))


def test_a_distance_that_no_chunk_is_long_enough_for_is_not_counted() -> None:
    model, batch = make_model("rssm"), make_batch()
    batch.mask[:, 2:] = False
    reached, further = (
        objective(
            model,
            batch,
            dataclasses.replace(KL_ONLY, overshooting_distance=distance),
            torch.Generator().manual_seed(5),
        )
        for distance in (2, 4)
    )
    assert reached.loss == further.loss


@stochastic
def test_distance_one_is_the_standard_bound(transition: str) -> None:
    model = make_model(transition)
    standard, gradient = run(model, ObjectiveConfig())
    written, other = run(
        model, ObjectiveConfig(overshooting_distance=1, overshooting_weights=(1.0, 7.0))
    )
    assert standard.loss == written.loss
    assert all(torch.equal(gradient[name], other[name]) for name in gradient)
    alone = dataclasses.replace(KL_ONLY, overshooting_distance=3, overshooting_weights=(1.0, 0.0))
    torch.testing.assert_close(run(model, alone)[0].loss * 3, run(model, KL_ONLY)[0].loss)


@stochastic
def test_what_is_inferred_learns_nothing_from_distances_above_one(transition: str) -> None:
    model = make_model(transition)
    config = dataclasses.replace(KL_ONLY, overshooting_distance=3, overshooting_weights=(0.0, 1.0))
    _, gradient = run(model, config)
    inferring = [n for n in gradient if "posterior" in n or n.startswith("encoders")]
    learning = [n for n in gradient if n.startswith("rssm") and n not in inferring]
    assert len(inferring) > 5
    assert not any(gradient[name].any() for name in inferring)
    assert learning
    assert all(gradient[name].any() for name in learning)
    _, standard = run(model, KL_ONLY)
    assert all(standard[name].any() for name in inferring)


def test_the_deterministic_model_has_nothing_to_overshoot() -> None:
    losses, gradient = run(make_model("rnn"), dataclasses.replace(KL_ONLY, overshooting_distance=3))
    assert losses.loss == 0
    assert losses.kl == 0
    assert not any(g.any() for g in gradient.values())


def test_the_global_prior_pulls_the_posterior_alone() -> None:
    model = make_model("rssm")
    config = dataclasses.replace(KL_ONLY, overshooting_weights=(0.0,), global_prior_weight=1.0)
    losses, gradient = run(model, config)
    assert losses.loss > 0
    assert gradient["rssm.posterior_out.weight"].any()
    assert not gradient["rssm.prior_net.0.weight"].any()
    twice = dataclasses.replace(config, global_prior_weight=2.0)
    torch.testing.assert_close(run(model, twice)[0].loss, 2 * losses.loss)
