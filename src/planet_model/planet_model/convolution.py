"""The convolutions of one camera on a CPU in float32, faster than by oneDNN.

What :class:`planet_model.networks.Encoder` and :class:`planet_model.networks.Decoder` compute by
PyTorch's convolutions, and its gradient, as lists of operations that convolution.c follows for a
few frames at a time. Weights have PyTorch's shapes, images the layout [n, height, width, channels].

A convolution of stride 2 sees a window for each pixel of its output, k segments of k C numbers. A
transposed convolution of stride 2, or the gradient of a convolution, is four convolutions of stride
1: one for the pixels of each parity of row and column, with the taps of that parity.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from planet_model import convolution_kernel
from planet_model.convolution_kernel import (
    BLOCK,
    GATE,
    MINUS,
    PLAIN,
    RELU,
    Images,
    Program,
    grid,
    numbers,
)

FEWER_THAN = 16
"""Depths below this are faster here than with oneDNN in bfloat16, where the CPU has that."""


def usable(x: Tensor, depth: int) -> bool:
    """Whether images like `x` go through convolution.c, in a network of this depth."""
    ours = x.device.type == "cpu" and x.dtype == torch.float32 and depth % 8 == 0
    plain = not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))
    return ours and plain and convolution_kernel.library() is not None


def blocks(store: Tensor, rows: Tensor, noise: Tensor, low: int) -> tuple[Tensor, ...]:
    """The rows of uint8 [n, 64, 64 N, 3] as N cameras' blocks, float32 [*rows.shape, 32, 32, 16].

    The bits of `low` are those of `noise`, as many bytes as the rows have. See
    :func:`planet_model.networks.preprocess`.
    """
    found = convolution_kernel.library()
    assert found is not None
    cameras = store.shape[2] // store.shape[1]
    out = torch.empty(cameras, *rows.shape, 32, 32, BLOCK)
    store, rows = store.contiguous(), rows.contiguous()
    images, words, numbers, to = (ctypes.c_void_p(x.data_ptr()) for x in (store, noise, rows, out))
    count, threads = rows.numel(), torch.get_num_threads()
    found.blocks(images, words, numbers, count, cameras, low, to, threads)
    return out.unbind(0)


def _whole(data: Tensor, local: bool = False, border: int = 0) -> Images:
    """All pixels of frames [n, h, w, C] but a border."""
    h, w, channels = data.shape[1:]
    size = (h - 2 * border, w - 2 * border)
    pixels = grid(*size, w * channels, channels, border * (w + 1) * channels)
    return Images(data, pixels, local)


def _windows(data: Tensor, kernel: int, local: bool = False) -> tuple[Images, Tensor]:
    """The windows of stride 2 that a kernel sees of frames [n, h, w, C]; and their segments."""
    h, w, channels = data.shape[1:]
    size = ((h - kernel) // 2 + 1, (w - kernel) // 2 + 1)
    pixels = grid(*size, 2 * w * channels, 2 * channels)
    return Images(data, pixels, local), numbers(*(i * w * channels for i in range(kernel)))


def _parity(
    data: Tensor,
    corner: tuple[int, int],
    size: tuple[int, int],
    border: int = 0,
    local: bool = False,
) -> Images:
    """Every second pixel of frames [n, h, w, C] from a corner on, which a border shifts."""
    w, channels = data.shape[2:]
    first = (border + corner[0]) * w * channels + (border + corner[1]) * channels
    return Images(data, grid(*size, 2 * w * channels, 2 * channels, first), local)


def _taps(weight: Tensor) -> Tensor:
    """A kernel [O, C, k, k] as the matrix [k, k C, O] that is multiplied with windows."""
    return weight.permute(2, 3, 1, 0).flatten(1, 2)


def _of_taps(gradient: Tensor, weight: Tensor) -> Tensor:
    """The way back of :func:`_taps`, of a gradient [threads, k, k C, O]."""
    out, channels, k, _ = weight.shape
    return gradient.sum(0).view(k, k, channels, out).permute(3, 2, 0, 1)


def _transposed(
    program: Program,
    a: Tensor,
    weight: Tensor,
    out: Tensor,
    *,
    a_local: bool = False,
    out_local: bool = False,
    border: int = 0,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> None:
    """out[2 y + i, 2 x + j] += a[y, x] weight[:, :, i, j]; `out` is written but for its border.

    `a` [n, h + 2 q, w + 2 q, C] has a border of zeros, q = (k + 1) // 2 - 1; weight [C, O, k, k];
    with `mask` [n, >= h, >= w, O], of out without its border, it is zero where that is not
    positive; with `bias` it ends with a relu.
    """
    k = weight.shape[2]
    q = (k + 1) // 2 - 1
    _, width, channels = a.shape[1:]
    h, w = (size - 2 * q for size in a.shape[1:3])
    # Where both parities of a column have as many taps they see the same, and are written together.
    columns: list[tuple[int, ...]] = [(0, 1)] if k % 2 == 0 else [(0,), (1,)]
    for top in (0, 1):
        for lefts in columns:
            parts = [weight[:, :, top::2, left::2].flip(-1) for left in lefts]
            taps = torch.stack(parts).permute(3, 4, 1, 0, 2)
            high, wide = taps.shape[:2]
            size = (h + high - 1, w + wide - 1)
            first = (q * width + q - (wide - 1)) * channels
            segments = numbers(*(-i * width * channels for i in range(high)))
            corner = (top, lefts[0])
            program.product(
                Images(a, grid(*size, width * channels, channels, first), a_local),
                segments,
                taps.reshape(high, wide * channels, -1),
                _parity(out, corner, size, border, out_local),
                None if bias is None else bias.repeat(len(lefts)),
                GATE if bias is None else RELU,
                None if mask is None else _parity(mask, corner, size),
            )


def _of_blocks(data: Tensor) -> tuple[Images, Tensor]:
    """The windows that a kernel 4 of stride 2 sees of blocks [n, 32, 32, 16]; their segments."""
    pixels = grid(31, 31, 32 * BLOCK, BLOCK)
    return Images(data, pixels), numbers(*((32 * i + j) * BLOCK for i in (0, 1) for j in (0, 1)))


class Encode(torch.autograd.Function):
    """The encoder's three convolutions of stride 2, each with a relu.

    Blocks [n, 32, 32, 16], and weight [O, C, 4, 4] and bias [O] of each, to [n, 6, 6, O].
    """

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, *parameters: Tensor) -> Tensor:
        """Compute the three layers, one after the other."""
        weight1, bias1, weight2, bias2, weight3, bias3 = parameters
        n = len(blocks)
        blocks = blocks.contiguous()
        x1 = blocks.new_empty(n, 31, 31, len(weight1))
        x2 = blocks.new_empty(n, 14, 14, len(weight2))
        x3 = blocks.new_empty(n, 6, 6, len(weight3))
        program = Program()
        # A kernel of pixels as one of blocks: block's row and column, pixel's row and column in it.
        taps = weight1.view(-1, 3, 2, 2, 2, 2).permute(2, 4, 3, 5, 1, 0).reshape(4, 12, -1)
        program.product(*_of_blocks(blocks), taps, _whole(x1), bias1, RELU)
        program.product(*_windows(x1, 4), _taps(weight2), _whole(x2), bias2, RELU)
        program.product(*_windows(x2, 4), _taps(weight3), _whole(x3), bias3, RELU)
        program.run(n)
        ctx.save_for_backward(blocks, x1, x2, x3, weight1, weight2, weight3)
        return x3

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of weights and biases; pixels have none."""
        blocks, x1, x2, x3, weight1, weight2, weight3 = ctx.saved_tensors
        program = Program()
        g3 = F.pad(gradients[0] * (x3 > 0), (0, 0, 1, 1, 1, 1)).contiguous()
        g2 = program.local(16, 16, len(weight2))
        g1 = program.local(31, 31, len(weight1))

        inner3 = _whole(g3, border=1)
        taps3 = program.gradient(
            *_windows(x2, 4), 4 * len(weight2), inner3, numbers(0, 0, 0, 0), len(weight3)
        )
        bias3 = program.sum(inner3, len(weight3))
        _transposed(program, g3, weight3, g2, out_local=True, border=1, mask=x2)
        inner2 = _whole(g2, local=True, border=1)
        taps2 = program.gradient(
            *_windows(x1, 4), 4 * len(weight1), inner2, numbers(0, 0, 0, 0), len(weight2)
        )
        bias2 = program.sum(inner2, len(weight2))
        _transposed(program, g2, weight2, g1, a_local=True, out_local=True, mask=x1)
        all1 = _whole(g1, local=True)
        taps1 = program.gradient(*_of_blocks(blocks), 12, all1, numbers(0, 0, 0, 0), len(weight1))
        bias1 = program.sum(all1, len(weight1))
        program.run(len(blocks))
        of_blocks = taps1.sum(0).view(2, 2, 2, 2, 3, -1).permute(5, 4, 0, 2, 1, 3)
        return (
            None,
            of_blocks.reshape(weight1.shape),
            bias1.sum(0),
            _of_taps(taps2, weight2),
            bias2.sum(0),
            _of_taps(taps3, weight3),
            bias3.sum(0),
        )


class Decode(torch.autograd.Function):
    """The decoder's two transposed convolutions, each with a relu, and its last convolution.

    x [n, 5, 5, C], and weight and bias of each, to blocks [n, 32, 32, 16]. Without `target`: their
    image. With `target`, [.., 32, 32, 16], and the `rows` of it that they explain: the sum of half
    the squared error.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor | None, rows: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        """Compute the layers, and the loss if there is a target."""
        weight2, bias2, weight3, bias3, weight4, bias4 = parameters
        if target is not None and rows is not None:
            target, rows = target.contiguous(), rows.long().contiguous()
        n, channels2, channels3 = len(x), weight2.shape[1], weight3.shape[1]
        x1 = F.pad(x, (0, 0, 2, 2, 2, 2))
        x2 = x.new_zeros(n, 17, 17, channels2)
        x3 = x.new_zeros(n, 34, 34, channels3)
        blocks = x.new_empty(n, 32, 32, BLOCK)
        program = Program()
        _transposed(program, x1, weight2, x2, border=2, bias=bias2)
        _transposed(program, x2, weight3, x3, border=2, bias=bias3)
        row, fill = 34 * channels3, BLOCK - len(weight4)
        program.product(
            Images(x3, grid(32, 32, row, channels3)),
            numbers(0, row, 2 * row),
            F.pad(_taps(weight4), (0, fill)),
            _whole(blocks),
            F.pad(bias4, (0, fill)),
            PLAIN if target is None else MINUS,
            None if target is None else _whole(target)._replace(rows=rows),
        )
        if target is None:
            program.run(n)
            ctx.save_for_backward(x1, x2, x3, weight2, weight3, weight4)
            return blocks
        squares = program.sum(_whole(blocks), BLOCK, squares=True)
        program.run(n)
        ctx.save_for_backward(x1, x2, x3, weight2, weight3, weight4, blocks)
        return 0.5 * squares.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of x, weights and biases."""
        x1, x2, x3, weight2, weight3, weight4, *error = ctx.saved_tensors
        # The loss' gradient is a factor of the error, and of all that comes of it.
        g4, factor = (error[0], gradients[0]) if error else (gradients[0].contiguous(), 1)
        n, out = len(x1), len(weight4)
        channels1, channels2, channels3 = x1.shape[3], weight2.shape[1], weight3.shape[1]
        program = Program()
        g3 = program.local(30, 30, channels3)
        g2 = program.local(13, 13, channels2)
        g1 = x1.new_empty(n, 5, 5, channels1)

        offsets = [(i, j) for i in range(3) for j in range(3)]
        taps4 = program.gradient(
            _whole(g4),
            numbers(*[0] * 9),
            out,
            Images(x3, grid(32, 32, 34 * channels3, channels3)),
            numbers(*((34 * i + j) * channels3 for i, j in offsets)),
            channels3,
        )
        bias4 = program.sum(_whole(g4), BLOCK)
        inner3 = _whole(x3, border=2)
        program.product(
            Images(g4, grid(30, 30, 32 * BLOCK, BLOCK, 2 * 33 * BLOCK)),
            numbers(*(-(32 * i + j) * BLOCK for i, j in offsets)),
            factor * weight4.permute(2, 3, 0, 1).flatten(0, 1),
            _whole(g3, local=True),
            end=GATE,
            d=inner3,
        )
        inner2 = _whole(x2, border=2)
        windows3 = _windows(g3, 6, local=True)
        taps3 = program.gradient(*windows3, 6 * channels3, inner2, numbers(*[0] * 6), channels2)
        bias3 = program.sum(_whole(g3, local=True), channels3)
        program.product(*windows3, _taps(weight3), _whole(g2, local=True), None, GATE, inner2)
        inner1 = _whole(x1, border=2)
        windows2 = _windows(g2, 5, local=True)
        taps2 = program.gradient(*windows2, 5 * channels2, inner1, numbers(*[0] * 5), channels1)
        bias2 = program.sum(_whole(g2, local=True), channels2)
        program.product(*windows2, _taps(weight2), _whole(g1))
        program.run(n)
        return (
            g1,
            None,
            None,
            _of_taps(taps2, weight2),
            bias2.sum(0),
            _of_taps(taps3, weight3),
            bias3.sum(0),
            factor * taps4.sum(0).view(3, 3, out, channels3).permute(2, 3, 0, 1),
            factor * bias4.sum(0)[:out],
        )
