"""convolution.c against PyTorch's convolutions and their gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from planet_model import convolution, convolution_kernel
from planet_model.compiled import CompileError, compiled
from planet_model.networks import Decoder, Encoder, preprocess

needs_kernel = pytest.mark.skipif(
    convolution_kernel.library() is None, reason="convolution.c needs AVX2 or NEON and a C compiler"
)


@pytest.fixture(params=["avx2", "best"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each instruction set of this CPU in turn."""
    if request.param == "avx2":
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    found = convolution_kernel.library.__wrapped__()
    monkeypatch.setattr(convolution_kernel, "library", lambda: found)


@contextmanager
def pytorch() -> Iterator[None]:
    """Everything within goes through PyTorch's convolutions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution_kernel, "library", lambda: None)
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def with_random_biases(network: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)


def encoded(encoder: Encoder, blocks: Tensor) -> list[Tensor]:
    """The embedding, and the gradient of a function of it."""
    embedding = encoder(blocks)
    weight = torch.linspace(-1, 1, embedding.numel()).view_as(embedding)
    gradients = torch.autograd.grad((embedding * weight).sum(), list(encoder.parameters()))
    return [embedding, *gradients]


def decoded(decoder: Decoder, features: Tensor, blocks: Tensor, rows: Tensor) -> list[Tensor]:
    """The loss of what `rows` show, and three times its gradient."""
    features = features.clone().requires_grad_()
    loss = decoder.loss(features, blocks, rows)
    return [loss, *torch.autograd.grad(3 * loss, [features, *decoder.parameters()])]


@needs_kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("depth", [8, 16, 24, 32])
@pytest.mark.parametrize(("frames", "count"), [(1, 1), (7, 1), (11, 2)])
def test_an_embedding_and_its_gradient_are_those_of_pytorch(
    depth: int, frames: int, count: int
) -> None:
    torch.manual_seed(0)
    encoder = Encoder(depth, 20)
    with_random_biases(encoder)
    blocks = torch.rand(frames, 32, 32, 16) - 0.5
    blocks[..., 12:] = 0
    with threads(count):
        found = encoded(encoder, blocks)
    with pytorch():
        expected = encoded(encoder, blocks)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@needs_kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("depth", [8, 16, 24, 32])
@pytest.mark.parametrize(("frames", "count"), [(1, 1), (7, 1), (11, 2)])
def test_a_decoders_loss_and_its_gradient_are_those_of_pytorch(
    depth: int, frames: int, count: int
) -> None:
    torch.manual_seed(0)
    decoder = Decoder(9, depth)
    with_random_biases(decoder)
    blocks = torch.rand(20, 32, 32, 16) - 0.5
    blocks[..., 12:] = 0
    features, rows = torch.randn(frames, 9), torch.randperm(20)[:frames]
    with threads(count):
        found = decoded(decoder, features, blocks, rows)
    with pytorch():
        expected = decoded(decoder, features, blocks, rows)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


@needs_kernel
@pytest.mark.usefixtures("kernel")
def test_a_decoded_image_and_its_gradient_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    decoder = Decoder(9, 8)
    with_random_biases(decoder)
    features = torch.randn(5, 9)

    def found() -> list[Tensor]:
        image = decoder(features)
        return [image, *torch.autograd.grad(image.square().sum(), list(decoder.parameters()))]

    ours = found()
    with pytorch():
        torch.testing.assert_close(ours, found(), rtol=1e-3, atol=1e-2)


@needs_kernel
@pytest.mark.usefixtures("kernel")
def test_a_gradient_may_lie_in_memory_in_another_order() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 20)
    layers = (encoder.conv1, encoder.conv2, encoder.conv3)
    parameters = [p for layer in layers for p in layer.parameters()]
    found = convolution.Encode.apply(torch.rand(3, 32, 32, 16) - 0.5, *parameters)
    gradient = torch.randn(3, 6, 6, 32)
    other = gradient.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    expected = torch.autograd.grad(found, parameters, gradient, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(found, parameters, other), expected)


@needs_kernel
@pytest.mark.usefixtures("kernel")
def test_what_a_decoder_explains_may_lie_in_memory_in_another_order() -> None:
    torch.manual_seed(0)
    decoder = Decoder(9, 8)
    features, blocks = torch.randn(3, 9), torch.rand(5, 32, 32, 16)
    rows = torch.tensor([[3, -1], [0, -1], [4, -1]])[:, 0]
    expected = decoder.loss(features, blocks, rows.clone())
    other = blocks.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(decoder.loss(features, other, rows.int()), expected)
    torch.testing.assert_close(decoder.loss(features, other, rows), expected)


@needs_kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3"])
def test_an_encoder_that_has_broken_down_gives_no_finite_embedding(layer: str) -> None:
    encoder = Encoder(8, 20)
    with torch.no_grad():
        encoder.get_submodule(layer).weight.fill_(torch.nan)
    assert encoder(torch.zeros(3, 32, 32, 16)).isnan().all()


@needs_kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("layer", ["deconv2", "deconv3", "deconv4"])
def test_a_decoder_that_has_broken_down_has_no_finite_loss(layer: str) -> None:
    decoder = Decoder(9, 8)
    with torch.no_grad():
        decoder.get_submodule(layer).weight.fill_(torch.nan)
    loss = decoder.loss(torch.zeros(3, 9), torch.zeros(3, 32, 32, 16), torch.arange(3))
    assert loss.isnan()


@needs_kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("cameras", [1, 2, 3])
def test_blocks_of_pixels_are_those_of_pytorch(cameras: int) -> None:
    images = torch.randint(0, 256, (2, 3, 64, 64 * cameras, 3), dtype=torch.uint8)
    found = preprocess(images, 5, torch.Generator().manual_seed(0))
    with pytorch():
        expected = preprocess(images, 5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_depth_that_vectors_do_not_fit_is_left_to_pytorch() -> None:
    assert not convolution.usable(torch.zeros(1, 32, 32, 16), 12)


def test_without_a_compiler_pytorch_computes_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(source: Path, flags: object) -> ctypes.CDLL:
        raise CompileError("there is no C compiler (cc)")

    monkeypatch.setattr(convolution_kernel, "compiled", none)
    monkeypatch.setattr(convolution_kernel, "instruction_set", lambda: ())
    assert convolution_kernel.library.__wrapped__() is None
    assert caplog.messages == [
        "the learner's convolutions are PyTorch's, which are slower: there is no C compiler (cc)"
    ]


def test_a_source_that_does_not_compile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "odd.c"
    source.write_text("no C\n")
    with pytest.raises(CompileError, match=r"odd.*was not compiled|no C compiler"):
        compiled(source, [])
    assert not list((tmp_path / "cache").rglob("*.so"))
