"""The networks against the plain layers that they stand for, and the way of pixels to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_model.networks import Decoder, Encoder, Frames, from_blocks, preprocess


def random_images(*lead: int, cameras: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (*lead, 64, 64 * cameras, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def as_image(blocks: Tensor) -> Tensor:
    """Blocks [n, 32, 32, 16] as PyTorch's image [n, 3, 64, 64]."""
    return from_blocks(blocks).permute(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [1, 5, 8])
def test_preprocessed_pixels_keep_their_leading_bits_and_their_place(
    bits: int, dtype: torch.dtype
) -> None:
    images = random_images(2, 3, cameras=2)
    found = preprocess(images, bits, None, dtype)
    for camera, blocks in enumerate(found):
        assert blocks.dtype == dtype
        assert blocks.shape == (2, 3, 32, 32, 16)
        assert not blocks[..., 12:].any()
        seen = from_blocks(blocks.flatten(0, 1)).float()
        image = images[..., 64 * camera : 64 * (camera + 1), :].flatten(0, 1)
        assert torch.equal(((seen + 0.5) * 2**bits).floor(), (image >> (8 - bits)).float())


def test_dequantisation_noise_fills_the_width_of_a_bit_evenly() -> None:
    image = torch.full((4, 64, 64, 3), 200, dtype=torch.uint8)
    (blocks,) = preprocess(image, 5, torch.Generator().manual_seed(0))
    seen = from_blocks(blocks)
    fraction = (seen + 0.5) * 32 % 1
    assert float(fraction.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(fraction.var()) == pytest.approx((1 - 8**-2) / 12, rel=0.03)
    assert float(seen.mean()) == pytest.approx((200 // 8 + 0.5) / 32 - 0.5, abs=1e-3)


def test_at_full_depth_there_is_no_noise() -> None:
    images = random_images(2)
    first, second = (preprocess(images, 8, None)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_the_same_generator_draws_the_same_noise() -> None:
    first, second, third = (
        preprocess(random_images(2), 5, torch.Generator().manual_seed(seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_cameras_are_split_in_the_order_in_which_they_stand() -> None:
    images = torch.zeros(1, 64, 192, 3, dtype=torch.uint8)
    images[:, :, 64:128] = 128
    images[:, :, 128:] = 255
    means = [float(from_blocks(image).mean()) for image in preprocess(images, 8, None)]
    assert means == pytest.approx([-0.5, 0.0, 0.5], abs=0.01)


def plain_encoder(encoder: Encoder, image: Tensor) -> Tensor:
    x = image
    for conv in (encoder.conv1, encoder.conv2, encoder.conv3, encoder.conv4):
        x = F.relu(conv(x))
    embedding: Tensor = encoder.output(x.permute(0, 2, 3, 1).flatten(1))
    return embedding


def plain_decoder(decoder: Decoder, features: Tensor) -> Tensor:
    """The mean image [n, 3, 64, 64] by transposed convolutions alone."""
    depth = decoder.depth
    x = decoder.input(features)[:, :, None, None]
    # deconv1's outputs run over y, x, channel.
    weight = decoder.deconv1.weight.view(5, 5, 4 * depth, 32 * depth).permute(3, 2, 0, 1)
    bias = decoder.deconv1.bias.view(5, 5, 4 * depth).permute(2, 0, 1)
    x = F.relu(F.conv_transpose2d(x, weight) + bias)
    x = F.relu(decoder.deconv2(x))
    x = F.relu(decoder.deconv3(x))
    # deconv4 is the kernel-6 stride-2 transposed convolution: output pixel 2 i + p gets input
    # pixel i + q - 2 through tap p + 2 (2 - q).
    w = decoder.deconv4.weight.view(2, 2, 3, depth, 3, 3).flip(-1, -2)  # py, px, out, in, qy, qx
    weight = w.permute(3, 2, 4, 0, 5, 1).reshape(depth, 3, 6, 6)
    bias = decoder.deconv4.bias.view(2, 2, 3).permute(2, 0, 1).repeat(1, 32, 32)
    return F.conv_transpose2d(x, weight, stride=2) + bias


def gradients(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def random_biases(module: nn.Module) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)


@pytest.mark.parametrize("embedding_size", [128, 20])
def test_the_encoder_and_its_gradient_are_those_of_plain_convolutions(embedding_size: int) -> None:
    torch.manual_seed(0)
    encoder = Encoder(4, embedding_size)
    random_biases(encoder)
    (blocks,) = preprocess(random_images(3), 5, None)
    found, expected = encoder(blocks), plain_encoder(encoder, as_image(blocks))
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    ours = gradients(encoder, (encoder(blocks) * weight).sum())
    plain = gradients(encoder, (plain_encoder(encoder, as_image(blocks)) * weight).sum())
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_the_decoder_its_loss_and_its_gradient_are_those_of_transposed_convolutions() -> None:
    torch.manual_seed(0)
    decoder = Decoder(9, 4)
    random_biases(decoder)
    (blocks,) = preprocess(random_images(3), 5, None)
    features = torch.randn(3, 9)
    mean = plain_decoder(decoder, features)
    torch.testing.assert_close(decoder(features).permute(0, 3, 1, 2), mean)
    likelihood = torch.distributions.Normal(mean, 1.0).log_prob(as_image(blocks)).sum()
    constant = 3 * 64 * 64 * 3 * 0.5 * torch.log(torch.tensor(2 * torch.pi))
    loss = decoder.loss(features, blocks, torch.arange(len(blocks)))
    torch.testing.assert_close(loss, -likelihood - constant, rtol=1e-4, atol=1e-2)
    ours, plain = gradients(decoder, loss), gradients(decoder, -likelihood)
    torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-2)


def test_the_decoders_loss_reaches_what_made_the_features() -> None:
    torch.manual_seed(0)
    decoder = Decoder(9, 2)
    (blocks,) = preprocess(random_images(2), 5, None)
    features = torch.randn(2, 9, requires_grad=True)
    (found,) = torch.autograd.grad(
        decoder.loss(features, blocks, torch.arange(len(blocks))), features
    )
    plain = 0.5 * (plain_decoder(decoder, features) - as_image(blocks)).square().sum()
    (expected,) = torch.autograd.grad(plain, features)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_bfloat16_gives_the_embedding_loss_and_gradient_of_float32_to_a_few_percent() -> None:
    torch.manual_seed(0)
    encoder, decoder, images = Encoder(8, 256), Decoder(256, 8), random_images(8)

    def run(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        (blocks,) = preprocess(images, 5, torch.Generator().manual_seed(0), dtype)
        embedding = encoder(blocks)
        assert embedding.dtype == torch.float32
        loss = decoder.loss(embedding, blocks, torch.arange(len(blocks)))
        assert loss.dtype == torch.float32
        grads = {**gradients(nn.ModuleList([encoder, decoder]), loss)}
        assert all(g.dtype == torch.float32 for g in grads.values())
        return embedding, loss, torch.cat([g.flatten() for g in grads.values()])

    for plain, fast in zip(run(torch.float32), run(torch.bfloat16), strict=True):
        assert (fast - plain).norm() < 0.05 * plain.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cameras", [1, 2])
def test_frames_read_where_they_lie_are_seen_as_a_tensor_of_them_is(
    cameras: int, dtype: torch.dtype
) -> None:
    store = torch.randint(0, 256, (20, 64, 64 * cameras, 3), dtype=torch.uint8)
    rows = torch.tensor([[3, 4, 5, 6], [18, 19, 0, 0], [0, 0, 0, 0]])
    mask = torch.tensor([[True] * 4, [True] * 3 + [False], [True] + [False] * 3])
    found, expected = (
        preprocess(x, 5, torch.Generator().manual_seed(0), dtype)
        for x in (Frames(store, rows), store[rows])
    )
    assert len(found) == cameras
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[mask], other[mask], rtol=0, atol=0)
