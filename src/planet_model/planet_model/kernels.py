"""Which of the planner's kernels this computer has: rollout.c, built for an instruction set.

A kernel is compiled when it is first needed, for the CPU that it runs on, and kept in the user's
cache. ``KERNELS`` lists them, best first.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from planet_model.compiled import CompileError, compiled, cpu_features

SOURCE = Path(__file__).with_name("rollout.c")
_X86, _ARM = "x86_64", "aarch64"


@dataclass(frozen=True)
class Kernel:
    """rollout.c for one instruction set."""

    name: str
    """What the planner's parameter `kernel` calls it."""
    title: str
    precision: str
    """Of its large matrix products: int8 or float32."""
    machine: str
    """x86_64 or aarch64."""
    needs: frozenset[str]
    """Features that the CPU must have, by Linux' names."""
    flags: tuple[str, ...]
    """What the compiler is told of the instruction set, and of the large products."""

    def __str__(self) -> str:
        """The name for people, such as "int8 AVX-512 VNNI"."""
        return f"{self.precision} {self.title}"


def _x86(name: str, title: str, precision: str, *features: str) -> Kernel:
    flags = (f"-m{feature.replace('_', '')}" for feature in features)
    return Kernel(name, title, precision, _X86, frozenset(features), (*flags, _large(precision)))


def _arm(name: str, title: str, precision: str, march: str, *features: str) -> Kernel:
    flags = (f"-march={march}", _large(precision))
    return Kernel(name, title, precision, _ARM, frozenset(features), flags)


def _large(precision: str) -> str:
    return f"-DLARGE={precision.upper()}"


_AVX512 = ("avx512f", "avx512bw", "avx512vl")

KERNELS = (
    _x86("avx512_bf16", "AVX-512 BF16", "int8", *_AVX512, "avx512_vnni", "avx512_bf16"),
    _x86("avx512_vnni", "AVX-512 VNNI", "int8", *_AVX512, "avx512_vnni"),
    _x86("avx_vnni", "AVX-VNNI", "int8", "avx2", "fma", "avx_vnni"),
    _x86("avx512", "AVX-512", "float32", *_AVX512),
    _x86("avx2", "AVX2", "int8", "avx2", "fma"),
    _x86("avx2_float32", "AVX2", "float32", "avx2", "fma"),
    _arm("neon_i8mm", "NEON i8mm", "int8", "armv8.2-a+dotprod+i8mm", "asimddp", "i8mm"),
    _arm("neon_dotprod", "NEON dotprod", "int8", "armv8.2-a+dotprod", "asimddp"),
    _arm("neon", "NEON", "float32", "armv8-a", "asimd"),
)
"""All kernels, best first; a float32 one is what others fall back to."""


def runnable() -> list[Kernel]:
    """The kernels that this CPU can run, best first."""
    machine, features = platform.machine(), cpu_features()
    return [k for k in KERNELS if k.machine == machine and k.needs <= features]


def library(kernel: Kernel) -> ctypes.CDLL:
    """A kernel as a library, compiled where it has not been yet; a process tries that once.

    Raises CompileError.
    """
    found = _tried(kernel)
    if isinstance(found, str):
        raise CompileError(found)
    return found


@cache
def _tried(kernel: Kernel) -> ctypes.CDLL | str:
    """The library, or why there is none."""
    try:
        found = compiled(SOURCE, kernel.flags)
    except CompileError as error:
        return str(error)
    found.rollout.restype = ctypes.c_int
    found.layout.restype = None
    return found
