from __future__ import annotations

import dataclasses

import pytest
import torch
from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.objective import Batch, kl_divergence, objective
from planet_model.world_model import Belief, Gaussian, WorldModel
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import kl_divergence as reference_kl

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
    )


def model_and_loss(batch: Batch, config: ObjectiveConfig | None = None):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    losses = objective(model, batch, config or ObjectiveConfig(), torch.Generator().manual_seed(5))
    losses.loss.backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


def test_kl_equals_torch_distributions() -> None:
    q = Gaussian(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    p = Gaussian(torch.randn(7, 5), torch.rand(7, 5) + 0.1)
    reference = reference_kl(Independent(Normal(*q), 1), Independent(Normal(*p), 1))
    torch.testing.assert_close(kl_divergence(q, p), reference)


def test_the_loss_equals_the_bound_written_with_torch_distributions() -> None:
    batch = make_batch()
    config = ObjectiveConfig(
        free_nats=0.0, reward_scale=10.0, reward_weight=3.0, termination_weight=2.0
    )
    losses, _ = model_and_loss(batch, config)
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    g = torch.Generator().manual_seed(5)
    observation = model.preprocess(batch.images, g)
    noise = torch.randn(3, 4, 5, generator=g)
    path = model.infer(batch.action, observation, noise)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    image, reward, termination, kl = [], [], [], []
    for b in range(3):
        for t in range(4):
            if not batch.mask[b, t]:
                continue
            features = Belief(*(x[b, t] for x in path.belief)).features
            images = model.decode(features[None])
            assert images is not None
            image.append(
                -sum(
                    (Normal(mean[0], 1.0).log_prob(o[b, t]) + constant).sum()
                    for mean, o in zip(images, observation, strict=True)
                )
            )
            end = batch.terminated[b, t]
            termination.append(
                -Bernoulli(logits=model.termination_logit(features)).log_prob(end.float())
            )
            if batch.reward_valid[b, t] and not end:
                r = Normal(model.reward(features), 1.0)
                reward.append(-r.log_prob(10.0 * batch.reward[b, t]) - constant)
            q = Normal(path.posterior.mean[b, t], path.posterior.std[b, t])
            p = Normal(path.prior.mean[b, t], path.prior.std[b, t])
            kl.append(reference_kl(q, p).sum())
    means = [torch.stack(x).mean() for x in (image, reward, termination, kl)]
    found = (losses.image_loss, losses.reward_loss, losses.termination_loss, losses.kl)
    for one, mean in zip(found, means, strict=True):
        assert one == pytest.approx(mean.item(), rel=1e-5)
    total = means[0] + 3.0 * means[1] + 2.0 * means[2] + means[3]
    torch.testing.assert_close(losses.loss, total)


@pytest.mark.parametrize("overshooting", [False, True])
def test_a_padded_step_has_no_influence_on_loss_and_gradient(overshooting: bool) -> None:
    batch = make_batch()
    config = ObjectiveConfig(overshooting=overshooting)
    loss, gradients = model_and_loss(batch, config)
    changed = Batch(*(x.clone() for x in batch))
    changed.images[1, 2:] = 255
    changed.action[1, 2:] = -1
    changed.reward[1, 2:] = 1e6
    changed.reward_valid[1, 2:] = True
    changed.terminated[1, 2:] = True
    other, other_gradients = model_and_loss(changed, config)
    assert torch.equal(loss.loss, other.loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], rtol=1e-5, atol=1e-6)
    real = Batch(*(x.clone() for x in batch))
    real.reward[1, 0] += 1
    assert model_and_loss(real, config)[0].reward_loss != loss.reward_loss


def test_overshooting_adds_the_outcome_of_imagined_steps_as_a_loop_finds_it() -> None:
    batch = make_batch(length=6)
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    config = ObjectiveConfig(reward_scale=2.0, reward_weight=3.0, termination_weight=5.0)
    with torch.no_grad():
        plain = objective(model, batch, config, torch.Generator().manual_seed(5)).loss
        over = dataclasses.replace(config, overshooting=True)
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
    config = ObjectiveConfig(overshooting=True, free_nats=1e6)
    objective(model, make_batch(), config, torch.Generator().manual_seed(5)).loss.backward()
    # With that many free nats nothing else reaches the prior.
    gradient = model.rssm.prior_net[0].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("length", [2, 3])
def test_overshooting_works_on_the_shortest_chunks(length: int) -> None:
    losses, _ = model_and_loss(make_batch(length=length), ObjectiveConfig(overshooting=True))
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
    assert losses.loss.item() == pytest.approx(parts + 1e4, rel=1e-6)
    assert losses.kl == pytest.approx(free.kl)  # reported before the free nats
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
    assert losses.loss.item() - parts == pytest.approx(expected, abs=1e-3)


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
    mean_image = sum(0.5 * (o - o.mean((0, 1))).square().sum() for o in observation) / (2 * length)
    assert losses[-1].image_loss < 0.3 * mean_image
    assert losses[-1].reward_loss < 0.1 * losses[0].reward_loss
    assert not head or losses[-1].termination_loss < 0.1
