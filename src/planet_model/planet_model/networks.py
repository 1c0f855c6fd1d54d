"""The convolutional and fully connected networks, and how pixels come to them.

Images have one layout throughout, height x width x colour ("channels last"), and the networks see
them as 2 x 2 blocks of pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_core.episode_format import IMAGE_SIZE
from planet_model import convolution, convolution_kernel

POSITION_UNIT = 0.1
"""rad: what the model takes for 1, and so its standard deviation of an observed position."""
VELOCITY_UNIT = 1.0
"""rad/s: the same for an observed velocity."""


class NetworkInput(NamedTuple):
    """o_t as the networks see it."""

    cameras: tuple[Tensor, ...]
    """For each camera [..., 32, 32, 16] (:func:`preprocess`); none when only the state is seen."""
    state: Tensor
    """Scaled positions and velocities (:func:`scale_state`), [..., P]; P = 0 when not observed."""


def scale_state(state: Tensor) -> Tensor:
    """Positions (rad) | velocities (rad/s), [..., 2 J], in the model's units."""
    position, velocity = state.chunk(2, -1)
    return torch.cat([position / POSITION_UNIT, velocity / VELOCITY_UNIT], -1)


BLOCK = 16
"""Channels of a 2 x 2 block of RGB pixels: 12, and zeros, because 16 are faster than 12."""


class Frames(NamedTuple):
    """Frames [B, L] where they lie, so that drawing a batch copies none."""

    store: Tensor
    """uint8 [rows, 64, 64 N, 3]."""
    rows: Tensor
    """int64 [B, L] into `store`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, L, 64, 64 N, 3)."""
        return (*self.rows.shape, *self.store.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self.store.device


def preprocess(
    images: Tensor | Frames,
    bit_depth: int,
    generator: torch.Generator | None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, ...]:
    """uint8 [..., 64, 64 N, 3] to N cameras' blocks [..., 32, 32, 16], of `dtype`.

    Each 2 x 2 block of pixels becomes the channels of one (space to depth): what a stride of 2
    sees is then contiguous. :func:`from_blocks` is the way back.

    Colours in [-0.5, 0.5] are cut to `bit_depth` bits; noise takes the place of the bits cut off,
    so that the likelihood is that of a continuous variable (dequantisation). With 5 bits the noise
    has 8 levels, and the sum is exact in bfloat16. Without generator: the global one.
    """
    low = (1 << (8 - bit_depth)) - 1
    count = math.prod(images.shape)
    # Random words are several times cheaper to draw than random floats or bytes.
    words = torch.empty((count + 7) // 8, dtype=torch.int64, device=images.device)
    noise = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:count]
    if images.device.type == "cpu" and convolution_kernel.library():
        if isinstance(images, Frames):
            store, rows = images
        else:
            store = images.reshape(-1, *images.shape[-3:])
            rows = torch.arange(len(store)).view(images.shape[:-3])
        return tuple(x.to(dtype) for x in convolution.blocks(store, rows, noise, low))
    dithered = noise.view(images.shape).bitwise_and_(low)
    if isinstance(images, Tensor):
        dithered.bitwise_or_(images & (255 - low))
    elif images.device.type == "cpu":  # chunk by chunk, each of which stays in the cache
        for chunk, rows in zip(dithered, images.rows, strict=True):
            chunk.bitwise_or_(images.store[rows] & (255 - low))
    else:
        dithered.bitwise_or_(images.store[images.rows] & (255 - low))

    def camera(image: Tensor) -> Tensor:
        lead = image.shape[:-3]
        blocks = torch.empty((*lead, 32, 32, BLOCK), dtype=dtype, device=image.device)
        pixels = blocks[..., :12].view(*lead, 32, 32, 2, 6)
        rows = image.reshape(*lead, 32, 2, 32, 6)  # a row's pairs of pixels lie together
        pixels.copy_(rows.transpose(-3, -2))
        blocks.sub_(127.5).div_(256)[..., 12:] = 0
        return blocks

    return tuple(camera(image) for image in torch.split(dithered, IMAGE_SIZE, -2))


def from_blocks(blocks: Tensor) -> Tensor:
    """Blocks [n, 32, 32, 16] to the images [n, 64, 64, 3] that they are made of."""
    x = blocks[..., :12].reshape(-1, 32, 32, 2, 6).transpose(2, 3)
    return x.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def to_pixels(cameras: tuple[Tensor, ...]) -> Tensor:
    """N cameras' images as the decoders give them, side by side, uint8 [n, 64, 64 N, 3]."""
    image = torch.cat(cameras, -2)
    return ((image + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)


def mlp(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    """Fully connected network with `layers` hidden ReLU layers."""
    sizes = (inputs, *[hidden] * layers)
    body = [m for pair in pairwise(sizes) for m in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*body, nn.Linear(sizes[-1], outputs))


class Encoder(nn.Module):
    """One camera's embedding; convolutions of Ha & Schmidhuber 2018 (64 -> 31 -> 14 -> 6 -> 2).

    They are computed in the type of their input, from weights in float32.
    """

    def __init__(self, depth: int, embedding_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, depth, 4, stride=2)
        self.conv2 = nn.Conv2d(depth, 2 * depth, 4, stride=2)
        self.conv3 = nn.Conv2d(2 * depth, 4 * depth, 4, stride=2)
        self.conv4 = nn.Conv2d(4 * depth, 8 * depth, 4, stride=2)
        size = 2 * 2 * 8 * depth
        self.output = nn.Identity() if size == embedding_size else nn.Linear(size, embedding_size)

    def forward(self, blocks: Tensor) -> Tensor:
        """[n, 32, 32, 16] to float32 [n, embedding_size]."""
        dtype = blocks.dtype
        layers = (self.conv1, self.conv2, self.conv3)
        if convolution.usable(blocks, self.conv1.out_channels):
            parameters = [p for layer in layers for p in _parameters(layer, dtype)]
            x = convolution.Encode.apply(blocks, *parameters)  # type: ignore[no-untyped-call]
        else:
            weight, bias = _parameters(self.conv1, dtype)
            x = F.relu_(F.conv2d(blocks.permute(0, 3, 1, 2), _of_blocks(weight), bias))
            x = F.relu_(F.conv2d(x, *_parameters(self.conv2, dtype), stride=2))
            x = F.relu_(F.conv2d(x, *_parameters(self.conv3, dtype), stride=2))
            x = x.permute(0, 2, 3, 1)
        # The last one (6 -> 2) sees four windows: a matrix product.
        windows = torch.stack([x[:, i : i + 4, j : j + 4] for i in (0, 2) for j in (0, 2)], 1)
        weight, bias = _parameters(self.conv4, dtype)
        x = F.relu_(F.linear(windows.flatten(2), weight.permute(0, 2, 3, 1).flatten(1), bias))
        embedding: Tensor = self.output(x.flatten(1).float())
        return embedding


class Decoder(nn.Module):
    """One camera's mean image; deconvolutions of Ha & Schmidhuber 2018 (1 -> 5 -> 13 -> 30 -> 64).

    The first one has a 1 x 1 input: a Linear. The last one (kernel 6, stride 2) is written as a
    3 x 3 convolution that gives the four pixels of each 2 x 2 block as 12 channels, which is the
    same function, several times cheaper.
    """

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.input = nn.Linear(features, 32 * depth)
        self.deconv1 = nn.Linear(32 * depth, 5 * 5 * 4 * depth)
        self.deconv2 = nn.ConvTranspose2d(4 * depth, 2 * depth, 5, stride=2)
        self.deconv3 = nn.ConvTranspose2d(2 * depth, depth, 6, stride=2)
        self.deconv4 = nn.Conv2d(depth, 2 * 2 * 3, 3, padding=2)

    def blocks(self, features: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """float32 [n, F] to the image's blocks, [n, 32, 32, 16], computed in `dtype`."""
        x = self._small(features, dtype)
        if convolution.usable(x, self.depth):
            return self._decode(x, None, None)
        x = _Deconvolve.apply(x, *_parameters(self.deconv2, dtype))  # type: ignore[no-untyped-call]
        x = F.relu_(x).permute(0, 3, 1, 2)
        weight, bias = _parameters(self.deconv3, dtype)
        x = F.conv_transpose2d(x, weight, bias.detach(), stride=2)
        x = F.relu_(_BiasGradient.apply(x, bias))  # type: ignore[no-untyped-call]
        # Padding x beforehand, and 16 channels, is what oneDNN has a fast gradient for.
        weight, bias = _parameters(self.deconv4, dtype)
        fill = BLOCK - 12
        weight, bias = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, fill)), F.pad(bias, (0, fill))
        return F.conv2d(F.pad(x, (2, 2, 2, 2)), weight, bias).permute(0, 2, 3, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[n, F] to float [n, 64, 64, 3], nominally in [-0.5, 0.5]."""
        return from_blocks(self.blocks(features))

    def loss(self, features: Tensor, blocks: Tensor, rows: Tensor) -> Tensor:
        """Sum of 1/2 (o - dec(b))^2 over frames and pixels; o are `rows` [n] of the blocks.

        features [n, F], blocks [.., 32, 32, 16].
        """
        if convolution.usable(blocks, self.depth):
            return self._decode(self._small(features, blocks.dtype), blocks, rows)
        found = self.blocks(features, blocks.dtype)
        loss: Tensor = _SquaredError.apply(found, blocks[rows])  # type: ignore[no-untyped-call]
        return loss

    def _small(self, features: Tensor, dtype: torch.dtype) -> Tensor:
        """The first layers' 5 x 5 pixels, [n, 5, 5, 4 depth]."""
        x = F.linear(self.input(features).to(dtype), *_parameters(self.deconv1, dtype))
        return F.relu_(x).view(-1, 5, 5, 4 * self.depth)

    def _decode(self, x: Tensor, target: Tensor | None, rows: Tensor | None) -> Tensor:
        """What :class:`convolution.Decode` finds for the first layers' pixels."""
        layers = (self.deconv2, self.deconv3, self.deconv4)
        parameters = [p for layer in layers for p in _parameters(layer, x.dtype)]
        found: Tensor = convolution.Decode.apply(  # type: ignore[no-untyped-call]
            x, target, rows, *parameters
        )
        return found


class _Deconvolve(torch.autograd.Function):
    """Transposed convolution of stride 2 as a matrix product: oneDNN's is slow on a small input.

    x [n, h, w, C], weight [C, O, k, k], bias [O] to [n, 2 h - 2 + k, 2 w - 2 + k, O].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, h, w, channels = x.shape
        out, k = weight.shape[1:3]
        matrix = weight.permute(0, 3, 2, 1).reshape(channels, -1)  # x, y, out
        ctx.save_for_backward(x, matrix)
        ctx.kernel = k
        columns = (x.reshape(-1, channels) @ matrix).view(n, h, w, k, k, out)
        rows = x.new_zeros(n, h, 2 * w - 2 + k, k, out)
        for i in range(k):
            rows[:, :, i : i + 2 * w - 1 : 2] += columns[:, :, :, i]
        y = bias.repeat(n, 2 * h - 2 + k, 2 * w - 2 + k, 1)
        for i in range(k):
            y[:, i : i + 2 * h - 1 : 2] += rows[..., i, :]
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, matrix = ctx.saved_tensors
        n, h, w, channels = x.shape
        k = ctx.kernel
        g = gradients[0].contiguous()
        _, height, width, out = g.shape
        image, row = height * width * out, width * out
        windows = g.as_strided((n, h, w, k, k, out), (image, 2 * row, 2 * out, out, row, 1))
        columns = windows.reshape(n * h * w, -1)
        weight = (x.reshape(-1, channels).t() @ columns).view(channels, k, k, out)
        return (
            (columns @ matrix.t()).view(x.shape),
            weight.permute(0, 3, 2, 1),
            g.sum((0, 1, 2), dtype=torch.float32).to(g.dtype),
        )


class _BiasGradient(torch.autograd.Function):
    """x [n, C, h, w], to which bias [C] has been added: the bias' gradient.

    oneDNN's of a transposed convolution takes as long as the weight's.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        g = gradients[0]
        return g, g.sum((0, 2, 3), dtype=torch.float32).to(g.dtype)


class _SquaredError(torch.autograd.Function):
    """Sum of 1/2 (x - y)^2 in float32, whatever the type of x and y; differentiable in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        error = x - y
        ctx.save_for_backward(error)
        norm: Tensor = torch.linalg.vector_norm(error, dtype=torch.float32)
        return 0.5 * norm.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (error,) = ctx.saved_tensors
        return error * gradients[0].to(error.dtype), None


def _parameters(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Weight and bias in `dtype`."""
    assert layer.bias is not None
    return layer.weight.to(dtype), layer.bias.to(dtype)


def _of_blocks(weight: Tensor) -> Tensor:
    """A kernel of stride 2, [O, 3, 4, 4], as one of stride 1 over blocks, [O, 16, 2, 2]."""
    w = weight.reshape(-1, 3, 2, 2, 2, 2)  # out, colour, block y, y, block x, x
    w = w.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
    return F.pad(w, (0, 0, 0, 0, 0, BLOCK - 12))


def initialise(model: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as the paper's authors have; the GRU keeps its own.

    A layer's fans are those of the layer as it is written here: ``deconv1`` and ``deconv4`` begin
    larger than the transposed convolutions that they stand for.

    PyTorch's default shrinks the signal at every ReLU layer, which doubles the time until the
    embedding tells where things are.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
