"""convolution.c as a library, and the lists of operations that it follows."""

from __future__ import annotations

import ctypes
import logging
import platform
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from planet_model.compiled import CompileError, compiled, cpu_features

_log = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("convolution.c")
PRODUCT, GRADIENT, SUM, SQUARES = range(4)
PLAIN, RELU, GATE, MINUS = range(4)
BLOCK = 16  # channels of a 2 x 2 block of pixels, of which 12 are used
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def instruction_set() -> tuple[str, ...] | None:
    """What tells a compiler of this CPU's vectors; None where convolution.c would be slow."""
    if platform.machine() == "aarch64":
        return ("-march=armv8-a",)
    features = cpu_features()
    if features >= _AVX512:
        return (*(f"-m{feature}" for feature in sorted(_AVX512)), "-mfma")
    return ("-mavx2", "-mfma") if features >= {"avx2", "fma"} else None


def title() -> str:
    """The instruction set of convolution.c on this CPU, for people."""
    if platform.machine() == "aarch64":
        return "NEON"
    return "AVX-512" if cpu_features() >= _AVX512 else "AVX2"


@cache
def library() -> ctypes.CDLL | None:
    """convolution.c as a library; None, with a line in the log, where it cannot be had."""
    flags = instruction_set()
    if flags is None:
        return None
    try:
        return compiled(_SOURCE, flags)
    except CompileError as error:
        _log.warning("the learner's convolutions are PyTorch's, which are slower: %s", error)
        return None


class _Operand(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("local", ctypes.c_int32),
        ("rows", ctypes.c_void_p),
    )


class _Operation(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "n", "pixels", "segments", "length", "end")),
        *((name, _Operand) for name in ("a", "b", "c", "d")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "bias",
                "a_pixel",
                "b_pixel",
                "c_pixel",
                "d_pixel",
                "a_segment",
                "b_segment",
            )
        ),
    )


class Images(NamedTuple):
    """Frames, [n, height, width, channels], and the pixels of them that an operation is about."""

    data: Tensor
    pixels: Tensor
    """int32: where in a frame each pixel, or the first one of its window, lies."""
    local: bool = False
    """They are those that an operation works on at the time, and not all."""
    rows: Tensor | None = None
    """int64: which of the frames they are; all of them without."""


class Program:
    """A list of operations in the making."""

    def __init__(self) -> None:
        found = library()
        assert found is not None
        self._library = found
        self._threads = torch.get_num_threads()
        self._operations: list[_Operation] = []
        self._kept: list[Tensor] = []

    def local(self, *shape: int) -> Tensor:
        """Zeros [frames that are worked on at a time, *shape]."""
        return torch.zeros(self._threads * self._library.block(), *shape)

    def product(
        self,
        a: Images,
        segments: Tensor,
        matrix: Tensor,
        c: Images,
        bias: Tensor | None = None,
        end: int = PLAIN,
        d: Images | None = None,
    ) -> None:
        """Add c = windows of a times matrix [segments, length, N] (+ bias), ended as `end` says."""
        length, n = matrix.shape[1:]
        width = self._library.width(n)
        panels = matrix.reshape(-1, n // width, width).transpose(0, 1).contiguous()
        self._add(
            kind=PRODUCT,
            n=n,
            pixels=len(c.pixels),
            segments=len(segments),
            length=length,
            end=end,
            a=self._images(a),
            b=_Operand(self._at(panels)),
            c=self._images(c),
            d=_Operand() if d is None else self._images(d),
            bias=None if bias is None else self._at(bias.contiguous()),
            a_pixel=self._at(a.pixels),
            c_pixel=self._at(c.pixels),
            d_pixel=None if d is None else self._at(d.pixels),
            a_segment=self._at(segments),
        )

    def gradient(
        self, a: Images, a_segments: Tensor, length: int, b: Images, b_segments: Tensor, n: int
    ) -> Tensor:
        """[threads, segments, length, N]: sums over the pixels of a's windows times b's."""
        total = torch.zeros(self._threads, len(a_segments), length, n)
        self._add(
            kind=GRADIENT,
            n=n,
            pixels=len(a.pixels),
            segments=len(a_segments),
            length=length,
            a=self._images(a),
            b=self._images(b),
            c=_Operand(self._at(total), total.stride(0)),
            a_pixel=self._at(a.pixels),
            b_pixel=self._at(b.pixels),
            a_segment=self._at(a_segments),
            b_segment=self._at(b_segments),
        )
        return total

    def sum(self, b: Images, n: int, squares: bool = False) -> Tensor:
        """[threads, N]: sums over the pixels of b, or of their squares."""
        total = torch.zeros(self._threads, n)
        self._add(
            kind=SQUARES if squares else SUM,
            n=n,
            pixels=len(b.pixels),
            b=self._images(b),
            c=_Operand(self._at(total), n),
            b_pixel=self._at(b.pixels),
        )
        return total

    def run(self, frames: int) -> None:
        """Follow the list."""
        operations = (_Operation * len(self._operations))(*self._operations)
        self._library.convolve(operations, len(operations), frames, self._threads)

    def _add(self, **fields: Any) -> None:
        self._operations.append(_Operation(**fields))

    def _at(self, x: Tensor) -> int:
        self._kept.append(x)
        return x.data_ptr()

    def _images(self, x: Images) -> _Operand:
        rows = None if x.rows is None else self._at(x.rows)
        return _Operand(self._at(x.data), x.data.stride(0), x.local, rows)


@cache
def numbers(*values: int) -> Tensor:
    """Whole numbers as convolution.c takes them."""
    return torch.tensor(values, dtype=torch.int32)


@cache
def grid(rows: int, columns: int, row: int, column: int, first: int = 0) -> Tensor:
    """Where the pixels of a grid lie: `row` from row to row, `column` from column to column."""
    y, x = torch.arange(rows)[:, None], torch.arange(columns)
    return (first + y * row + x * column).flatten().to(torch.int32)
