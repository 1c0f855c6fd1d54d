from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import kl_divergence as reference_kl

from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.networks import from_blocks
from planet_model.objective import Batch, kl_divergence, objective
from planet_model.transition import Belief, Gaussian
from planet_model.world_model import WorldModel

CONFIG = ModelConfig(
    cameras=("front", "side"),
    action_size=3,
    deterministic_size=12,
    stochastic_size=5,
    hidden_size=16,
    embedding_size=20,
    conv_depth=2,
    termination_head=True,
)


OBSERVED = {"images": 0, "state": 4, "images_and_state": 4}
MODELS = [
    dataclasses.replace(CONFIG, transition=transition, observation=observation, state_size=size)
    for transition in ("rssm", "ssm", "rnn")
    for observation, size in OBSERVED.items()
]
every_model = pytest.mark.parametrize(
    "model_config", MODELS, ids=[f"{c.transition}-{c.observation}" for c in MODELS]
)


def make_batch(chunks: int = 3, length: int = 4) -> Batch:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(chunks, length, dtype=torch.bool)
    mask[1, 2:] = False
    valid = mask.clone()
    valid[0, 0] = False
    terminated = torch.zeros_like(mask)
    terminated[1, 1] = True
    return Batch(
        torch.randint(0, 256, (chunks, length, 64, 128, 3), dtype=torch.uint8, generator=g),
        torch.rand(chunks, length, 3, generator=g) * 2 - 1,
        torch.randn(chunks, length, generator=g),
        valid,
        terminated,
        mask,
        torch.randn(chunks, length, 4, generator=g),
    )


def model_and_loss(  # type: ignore[no-untyped-def]
    batch: Batch, config: ObjectiveConfig | None = None, model_config: ModelConfig = CONFIG
):
    torch.manual_seed(0)
    model = WorldModel(model_config)
    losses = objective(model, batch, config or ObjectiveConfig(), torch.Generator().manual_seed(5))
    losses.loss.backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


def test_kl_equals_torch_distributions() -> None:
    q = Gaussian(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    p = Gaussian(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    reference = reference_kl(Independent(Normal(*q), 1), Independent(Normal(*p), 1))
    torch.testing.assert_close(kl_divergence(q, p), reference)


def test_the_kl_to_the_standard_normal_prior_equals_its_closed_form() -> None:
    q = Gaussian(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    normal = Gaussian(torch.zeros(()), torch.ones(()))
    closed = 0.5 * (q.mean.square() + q.std.square() - 1 - 2 * q.std.log()).sum(-1)
    torch.testing.assert_close(kl_divergence(q, normal), closed)


@every_model
def test_the_loss_equals_the_bound_written_with_torch_distributions(
    model_config: ModelConfig,
) -> None:
    batch = make_batch()
    config = ObjectiveConfig(
        free_nats=0.0,
        reward_scale=10.0,
        image_weight=0.01,
        state_weight=0.5,
        reward_weight=3.0,
        termination_weight=2.0,
        global_prior_weight=0.7,
    )
    losses, _ = model_and_loss(batch, config, model_config)
    torch.manual_seed(0)
    model = WorldModel(model_config)
    g = torch.Generator().manual_seed(5)
    observation = model.preprocess(batch.images, g, batch.state)
    path = model.infer(batch.action, observation, torch.randn(3, 4, 5, generator=g))
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))

    def surprise(mean: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return -(Normal(mean, 1.0).log_prob(value) + constant).sum()

    terms: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("image", "state", "reward", "termination", "kl", "normal")
    }
    for b, t in batch.mask.nonzero().tolist():
        features = Belief(*(x[b, t] for x in path.explaining)).features
        decoded = model.decode(features[None])
        assert decoded is not None
        images = [
            surprise(mean[0], from_blocks(o[b, t][None])[0])
            for mean, o in zip(decoded.cameras, observation.cameras, strict=True)
        ]
        terms["image"].append(torch.stack([torch.zeros(()), *images]).sum())
        terms["state"].append(surprise(decoded.state[0], observation.state[b, t]))
        end = batch.terminated[b, t]
        logit = model.termination_logit(features)
        terms["termination"].append(-Bernoulli(logits=logit).log_prob(end.float()))
        if batch.reward_valid[b, t] and not end:
            terms["reward"].append(surprise(model.reward(features), 10.0 * batch.reward[b, t]))
        q = Normal(path.posterior.mean[b, t], path.posterior.std[b, t])
        p = Normal(path.prior.mean[b, t], path.prior.std[b, t])
        terms["kl"].append(reference_kl(q, p).sum())
        standard = Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
        terms["normal"].append(reference_kl(q, standard).sum())
    means = {name: torch.stack(values).mean() for name, values in terms.items()}
    found = {
        "image": losses.image_loss,
        "state": losses.state_loss,
        "reward": losses.reward_loss,
        "termination": losses.termination_loss,
        "kl": losses.kl,
    }
    for name, value in found.items():
        torch.testing.assert_close(value, means[name], rtol=1e-5, atol=1e-5)
    weights = {
        "image": 0.01,
        "state": 0.5,
        "reward": 3.0,
        "termination": 2.0,
        "kl": 1.0,
        "normal": 0.7,
    }
    total = torch.stack([weight * means[name] for name, weight in weights.items()]).sum()
    torch.testing.assert_close(losses.loss, total)
    sees = model_config.observation
    assert (found["image"] > 0) == (sees != "state")
    assert (found["state"] > 0) == (sees != "images")
    assert (found["kl"] > 0) == (model_config.transition != "rnn")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"outcome_overshooting": True},
        {"overshooting_distance": 3, "free_nats": 0.0, "global_prior_weight": 1.0},
        {"decoded_fraction": 0.5},
    ],
    ids=["plain", "outcomes", "latents", "share"],
)
@every_model
def test_a_padded_step_has_no_influence_on_loss_and_gradient(
    model_config: ModelConfig, options: dict[str, Any]
) -> None:
    batch = make_batch()
    config = ObjectiveConfig(**options)
    losses, gradients = model_and_loss(batch, config, model_config)
    changed = Batch(*(x.clone() for x in batch))
    changed.images[1, 2:] = 255
    changed.action[1, 2:] = -1
    changed.reward[1, 2:] = 1e6
    changed.reward_valid[1, 2:] = True
    changed.terminated[1, 2] = True  # and the step after it has a reward
    changed.state[1, 2:] = 1e3
    others, other_gradients = model_and_loss(changed, config, model_config)
    for one, other in zip(losses, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], rtol=1e-5, atol=1e-6)


def test_the_steps_before_the_padding_do_have_an_influence() -> None:
    batch = make_batch()
    config = dataclasses.replace(CONFIG, observation="images_and_state", state_size=4)
    losses, _ = model_and_loss(batch, None, config)
    for name in ("images", "action", "reward", "terminated", "state"):
        changed = Batch(*(x.clone() for x in batch))
        row = getattr(changed, name)[1]
        step = 0 if name == "reward" else 1  # a terminating reward is not learnt
        row[step] = ~row[step] if name == "terminated" else row[step] + 1
        assert model_and_loss(changed, None, config)[0].loss != losses.loss, name


def test_overshooting_adds_the_outcome_of_imagined_steps_as_a_loop_finds_it() -> None:
    batch = make_batch(length=6)
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    config = ObjectiveConfig(reward_scale=2.0, reward_weight=3.0, termination_weight=5.0)
    with torch.no_grad():
        plain = objective(model, batch, config, torch.Generator().manual_seed(5)).loss
        over = dataclasses.replace(config, outcome_overshooting=True)
        total = objective(model, batch, over, torch.Generator().manual_seed(5)).loss

        g = torch.Generator().manual_seed(5)
        observation = model.preprocess(batch.images, g)
        noise = torch.randn(3, 6, CONFIG.stochastic_size, generator=g)
        belief = model.infer(batch.action, observation, noise).belief
        start = int(torch.randint(1, 2, (1,), generator=g))
        imagined_noise = torch.randn(3, 5 - start, CONFIG.stochastic_size, generator=g)
        errors, surprises = [], []
        for chunk in range(3):
            now = Belief(*(x[chunk : chunk + 1, start] for x in belief))
            for t in range(start + 1, 6):
                step_noise = imagined_noise[chunk : chunk + 1, t - start - 1][:, None]
                path = model.imagine(now, batch.action[chunk, t][None, None], step_noise)
                now = Belief(*(x[:, 0] for x in path))
                if not batch.mask[chunk, t]:
                    continue
                logit = model.termination_logit(now.features)
                assert logit is not None
                ended = batch.terminated[chunk, t]
                surprises.append(-Bernoulli(logits=logit[0]).log_prob(ended.float()))
                if batch.reward_valid[chunk, t] and not ended:
                    error = model.reward(now.features)[0] - 2.0 * batch.reward[chunk, t]
                    errors.append(0.5 * error.square())
    expected = 3.0 * torch.stack(errors).mean() + 5.0 * torch.stack(surprises).mean()
    torch.testing.assert_close(total - plain, expected, rtol=1e-4, atol=1e-3)


def test_overshooting_teaches_the_transition_what_the_actions_do() -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    config = ObjectiveConfig(outcome_overshooting=True, free_nats=1e6)
    objective(model, make_batch(), config, torch.Generator().manual_seed(5)).loss.backward()
    # With that many free nats nothing else reaches the prior.
    gradient = model.rssm.prior_net[0].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("length", [2, 3])
def test_overshooting_works_on_the_shortest_chunks(length: int) -> None:
    losses, _ = model_and_loss(
        make_batch(length=length), ObjectiveConfig(outcome_overshooting=True)
    )
    assert losses.loss.isfinite()


def test_an_invalid_reward_has_no_influence() -> None:
    batch = make_batch()
    changed = Batch(*(x.clone() for x in batch))
    changed.reward[0, 0] = 1e6
    assert model_and_loss(batch)[0] == model_and_loss(changed)[0]


def test_the_terminating_reward_is_learnt_only_without_a_termination_head() -> None:
    batch = make_batch()
    changed = Batch(*(x.clone() for x in batch))
    changed.reward[1, 1] += 10
    assert changed.terminated[1, 1]
    assert model_and_loss(batch)[0] == model_and_loss(changed)[0]
    torch.manual_seed(0)
    model = WorldModel(dataclasses.replace(CONFIG, termination_head=False))
    first, second = (
        objective(model, b, ObjectiveConfig(), torch.Generator().manual_seed(5)).reward_loss
        for b in (batch, changed)
    )
    assert first != second


def test_no_valid_reward_at_all_costs_nothing() -> None:
    batch = make_batch()
    batch = batch._replace(reward_valid=torch.zeros_like(batch.mask))
    losses, gradients = model_and_loss(batch)
    assert losses.reward_loss == 0.0
    assert all(g is None or g.isfinite().all() for g in gradients.values())


def test_a_batch_of_padding_is_refused() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match="no valid step"):
        objective(
            WorldModel(CONFIG), batch._replace(mask=batch.mask & False), ObjectiveConfig(), None
        )


def test_below_the_free_nats_the_kl_is_constant_and_has_no_gradient() -> None:
    batch = make_batch()
    losses, gradients = model_and_loss(batch, ObjectiveConfig(free_nats=1e4))
    free, _ = model_and_loss(batch, ObjectiveConfig(free_nats=0.0))
    parts = losses.image_loss + losses.reward_loss + losses.termination_loss
    assert losses.loss.item() == pytest.approx(float(parts) + 1e4, rel=1e-6)
    assert float(losses.kl) == pytest.approx(float(free.kl))  # reported before the free nats
    prior = [g for name, g in gradients.items() if "prior_net" in name]
    # The prior is touched by nothing but the KL in training.
    assert prior
    assert all(g is None or not g.any() for g in prior)


def test_free_nats_apply_to_each_step_after_summing_its_dimensions() -> None:
    batch = make_batch()
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    g = torch.Generator().manual_seed(5)
    observation = model.preprocess(batch.images, g)
    path = model.infer(batch.action, observation, torch.randn(3, 4, 5, generator=g))
    kl = kl_divergence(path.posterior, path.prior)[batch.mask]
    threshold = kl.median().item()  # some steps below, some above
    losses, _ = model_and_loss(batch, ObjectiveConfig(free_nats=threshold))
    parts = losses.image_loss + losses.reward_loss + losses.termination_loss
    expected = sum(max(float(k), threshold) for k in kl.detach()) / len(kl)
    assert losses.loss.item() - float(parts) == pytest.approx(expected, abs=1e-3)


def test_a_share_of_the_frames_gives_the_image_loss_of_all_in_the_mean() -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    batch = make_batch()
    full, part = ObjectiveConfig(), ObjectiveConfig(decoded_fraction=0.3)
    with torch.no_grad():
        for parameter in model.rssm.posterior_out.parameters():
            parameter.zero_()  # a small effect of the noise, so that few draws tell
        exact = objective(model, batch, full).image_loss
        draws = torch.tensor([objective(model, batch, part).image_loss for _ in range(300)])
    error = draws.std() / len(draws) ** 0.5
    assert draws.std() > 1.0  # it is a random share
    assert abs(draws.mean() - exact) < 4 * error


@pytest.mark.parametrize("head", [False, True])
def test_it_overfits_one_batch(head: bool) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(
        CONFIG,
        termination_head=head,
        deterministic_size=32,
        hidden_size=32,
        embedding_size=128,
        conv_depth=4,
    )
    model = WorldModel(config)
    length = 6
    images = torch.zeros(2, length, 64, 128, 3, dtype=torch.uint8)
    for t in range(length):  # a square that moves in both cameras
        images[:, t, 10:30, 8 * t : 8 * t + 16] = 255
        images[:, t, 40:60, 64 + 8 * t : 80 + 8 * t] = 200
    batch = Batch(
        images,
        torch.zeros(2, length, 3),
        torch.arange(length).float().expand(2, length) / length,
        torch.ones(2, length, dtype=torch.bool),
        (torch.arange(length) == length - 1).expand(2, length),
        torch.ones(2, length, dtype=torch.bool),
        torch.zeros(2, length, 4),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    g = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(250):
        result = objective(model, batch, ObjectiveConfig(reward_weight=30.0), g)
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        losses.append(result)
    observation = model.preprocess(images)
    mean_image = sum(0.5 * (o - o.mean((0, 1))).square().sum() for o in observation.cameras) / (
        2 * length
    )
    assert losses[-1].image_loss < 0.3 * mean_image
    assert losses[-1].reward_loss < 0.1 * losses[0].reward_loss
    assert not head or losses[-1].termination_loss < 0.1
