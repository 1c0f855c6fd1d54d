from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from planet_model.config import ModelConfig
from planet_model.transition import Belief
from planet_model.world_model import WorldModel


def small_config(cameras: int = 2, termination_head: bool = True) -> ModelConfig:
    return ModelConfig(
        cameras=tuple(f"camera_{i}" for i in range(cameras)),
        action_size=3,
        deterministic_size=12,
        stochastic_size=5,
        hidden_size=16,
        embedding_size=20,
        conv_depth=2,
        termination_head=termination_head,
    )


def random_images(*lead: int, cameras: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (*lead, 64, 64 * cameras, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_the_prior_at_t_depends_on_the_last_action_but_not_on_the_observation() -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config())
    action, noise = torch.rand(1, 3, 3), torch.randn(1, 3, 5)
    observation = model.preprocess(random_images(1, 3))
    prior = model.infer(action, observation, noise).prior.mean[:, 2]
    unseen = observation._replace(
        cameras=tuple(torch.cat([o[:, :2], -o[:, 2:]], 1) for o in observation.cameras)
    )
    torch.testing.assert_close(model.infer(action, unseen, noise).prior.mean[:, 2], prior)
    other = action.clone()
    other[:, 2] = -1
    assert not torch.allclose(model.infer(other, observation, noise).prior.mean[:, 2], prior)


def test_imagination_follows_the_transition_and_the_prior() -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config())
    start = Belief(torch.randn(4, 12), torch.randn(4, 5))
    action, noise = torch.rand(4, 3, 3), torch.randn(4, 3, 5)
    path = model.imagine(start, action, noise)
    belief = start
    for t in range(3):
        x = F.relu(model.rssm.input(torch.cat([belief.stochastic, action[:, t]], 1)))
        h = model.rssm.cell(x, belief.deterministic)
        mean, std = model.rssm.prior_net(h).split(5, 1)
        belief = Belief(h, mean + (F.softplus(std) + 0.1) * noise[:, t])
        torch.testing.assert_close(path.deterministic[:, t], belief.deterministic)
        torch.testing.assert_close(path.stochastic[:, t], belief.stochastic)


def test_the_posterior_is_one_layer_over_state_and_embedding() -> None:
    torch.manual_seed(0)
    rssm = WorldModel(small_config()).rssm
    h, e = torch.randn(7, 12), torch.randn(7, 40)
    joint = nn.Linear(52, 16)
    with torch.no_grad():
        joint.weight.copy_(torch.cat([rssm.posterior_h.weight, rssm.posterior_e.weight], 1))
        joint.bias.copy_(rssm.posterior_e.bias)
    mean, std = rssm.posterior_out(F.relu(joint(torch.cat([h, e], 1)))).split(5, 1)
    found = rssm.posterior(h, rssm.posterior_e(e))
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.std, F.softplus(std) + 0.1)


@pytest.mark.parametrize("cameras", [1, 2, 3])
def test_late_fusion_gives_each_camera_its_own_encoder_and_decoder(cameras: int) -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config(cameras))
    observation = model.preprocess(random_images(4, cameras=cameras))
    assert [o.shape for o in observation.cameras] == [(4, 32, 32, 16)] * cameras
    embedding = model.encode(observation)
    assert embedding.shape == (4, 20 * cameras)
    *others, last = observation.cameras
    changed = model.encode(observation._replace(cameras=(*others, -last)))
    same = (changed == embedding).all(0)
    assert same[:-20].all()
    assert not same[-20:].all()
    decoded = model.decode(torch.randn(4, 17))
    assert decoded is not None
    assert [image.shape for image in decoded.cameras] == [(4, 64, 64, 3)] * cameras


def test_initial_weights_are_glorot_uniform_and_biases_zero() -> None:
    torch.manual_seed(0)
    layer = WorldModel(small_config()).rssm.input
    weight = layer.weight.detach()
    bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
    assert not layer.bias.any()
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.15)
