from __future__ import annotations

import pytest
import torch
from planet_model.config import ModelConfig
from planet_model.world_model import Belief, WorldModel, from_blocks, preprocess, to_blocks
from torch import nn
from torch.nn import functional as F  # noqa: N812


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


def test_belief_while_acting_equals_belief_while_training() -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config())
    length = 20
    images, action = random_images(1, length), torch.rand(1, length, 3) * 2 - 1
    action[:, 0] = 0
    noise = torch.randn(1, length, 5)
    observation = model.preprocess(images)
    trained = model.infer(action, observation, noise).belief
    belief = model.initial_belief(1)
    for t in range(length):
        now = tuple(image[:, t] for image in observation)
        belief = model.filter(belief, action[:, t], now, noise[:, t])
        torch.testing.assert_close(belief.deterministic, trained.deterministic[:, t])
        torch.testing.assert_close(belief.stochastic, trained.stochastic[:, t])


def test_the_belief_at_t_ignores_all_that_comes_later() -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config())
    images, action, noise = random_images(1, 6), torch.rand(1, 6, 3), torch.randn(1, 6, 5)
    observation = model.preprocess(images)
    before = model.infer(action, observation, noise)
    action[:, 4:] = 0  # a_3 and later
    observation = tuple(torch.cat([o[:, :4], -o[:, 4:]], 1) for o in observation)
    after = model.infer(action, observation, noise)
    for x, y in zip(before.belief, after.belief, strict=True):
        torch.testing.assert_close(x[:, :4], y[:, :4])
        assert not torch.allclose(x[:, 4], y[:, 4])


def test_the_prior_at_t_depends_on_the_last_action_but_not_on_the_observation() -> None:
    torch.manual_seed(0)
    model = WorldModel(small_config())
    action, noise = torch.rand(1, 3, 3), torch.randn(1, 3, 5)
    observation = model.preprocess(random_images(1, 3))
    prior = model.infer(action, observation, noise).prior.mean[:, 2]
    unseen = tuple(torch.cat([o[:, :2], -o[:, 2:]], 1) for o in observation)
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
    assert [o.shape for o in observation] == [(4, 64, 64, 3)] * cameras
    embedding = model.encode(observation)
    assert embedding.shape == (4, 20 * cameras)
    changed = model.encode((*observation[:-1], -observation[-1]))
    same = (changed == embedding).all(0)
    assert same[:-20].all()
    assert not same[-20:].all()
    images = model.decode(torch.randn(4, 17))
    assert images is not None
    assert [image.shape for image in images] == [(4, 64, 64, 3)] * cameras


def test_images_are_cut_to_five_bits_and_filled_with_noise_of_one_bit() -> None:
    values = torch.arange(256, dtype=torch.uint8).repeat(48 * 4)  # each colour often
    image = values.reshape(4, 64, 64, 3)
    (x,) = preprocess(image, 5, torch.Generator().manual_seed(0))
    bins = (x + 0.5) * 32
    assert torch.equal(bins.floor(), (image // 8).float())
    inside = bins - bins.floor()
    assert abs(inside.mean() - 0.5) < 0.01
    assert abs(inside.var() - 1 / 12) < 0.002
    assert x.min() >= -0.5
    assert x.max() < 0.5


def test_cameras_are_split_in_the_order_in_which_they_stand() -> None:
    images = torch.zeros(1, 64, 192, 3, dtype=torch.uint8)
    images[:, :, 64:128] = 128
    images[:, :, 128:] = 255
    means = [float(image.mean()) for image in preprocess(images, 8, None)]
    assert means == pytest.approx([-0.5, 0.0, 0.5], abs=0.01)


def test_blocks_keep_each_pixel_and_the_last_layer_is_the_deconvolution() -> None:
    image = torch.randn(2, 64, 64, 3)
    assert torch.equal(from_blocks(to_blocks(image)), image)

    # The kernel-6 stride-2 transposed convolution, from the 3 x 3 convolution's weights: output
    # pixel 2 i + p gets input pixel i + q - 2 through tap p + 2 (2 - q).
    conv = nn.Conv2d(4, 12, 3, padding=2).double()
    deconv = nn.ConvTranspose2d(4, 3, 6, stride=2).double()
    with torch.no_grad():
        w = conv.weight.view(2, 2, 3, 4, 3, 3).flip(-1, -2)  # [py, px, colour, in, qy, qx]
        deconv.weight.copy_(w.permute(3, 2, 4, 0, 5, 1).reshape(4, 3, 6, 6))
        deconv.bias.zero_()
        conv.bias.zero_()
    x = torch.randn(2, 4, 30, 30, dtype=torch.float64)
    found = from_blocks(conv(x).permute(0, 2, 3, 1))
    torch.testing.assert_close(found, deconv(x).permute(0, 2, 3, 1))


def test_initial_weights_are_glorot_uniform_and_biases_zero() -> None:
    torch.manual_seed(0)
    layer = WorldModel(small_config()).rssm.input
    weight = layer.weight.detach()
    bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
    assert not layer.bias.any()
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.15)
