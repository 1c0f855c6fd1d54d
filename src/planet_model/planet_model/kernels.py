"""Which of the planner's kernels this computer has: rollout.c, built for an instruction set.

A kernel is compiled when it is first needed, for the CPU that it runs on, and kept in the user's
cache. ``KERNELS`` lists them, best first.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("rollout.c", "vectors.h"))
_COMPILERS = ("cc", "gcc", "clang")
_OPTIONS = ("-O3", "-ffp-contract=fast", "-fopenmp")
_X86, _ARM = "x86_64", "aarch64"


class KernelError(Exception):
    """A kernel cannot be had; one sentence says why."""


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
    """What the compiler is told of the instruction set."""

    def __str__(self) -> str:
        """The name for people, such as "int8 AVX-512 VNNI"."""
        return f"{self.precision} {self.title}"

    def command(self, compiler: str, *arguments: str | Path) -> list[str]:
        """The command that compiles it; `arguments` say what is made of it."""
        kind = f"-DLARGE={self.precision.upper()}"
        return [compiler, *_OPTIONS, *self.flags, kind, *map(str, arguments), str(_SOURCES[0])]


def _x86(name: str, title: str, precision: str, *features: str) -> Kernel:
    flags = tuple(f"-m{feature.replace('_', '')}" for feature in features)
    return Kernel(name, title, precision, _X86, frozenset(features), flags)


def _arm(name: str, title: str, precision: str, march: str, *features: str) -> Kernel:
    return Kernel(name, title, precision, _ARM, frozenset(features), (f"-march={march}",))


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


@cache
def cpu_features() -> frozenset[str]:
    """The CPU's features by Linux' names; empty where Linux does not tell.

    Those that PyTorch is told not to use (ATEN_CPU_CAPABILITY) are left out.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    of_cpu = (line.split() for line in lines if line.startswith(("flags", "Features")))
    features = next(map(frozenset, of_cpu), frozenset[str]())
    if os.environ.get("ATEN_CPU_CAPABILITY") in ("avx2", "default"):
        features = frozenset(f for f in features if not f.startswith("avx512"))
    return features


def runnable() -> list[Kernel]:
    """The kernels that this CPU can run, best first."""
    machine, features = platform.machine(), cpu_features()
    return [k for k in KERNELS if k.machine == machine and k.needs <= features]


@cache
def library(kernel: Kernel) -> ctypes.CDLL:
    """A kernel as a library, compiled where it has not been yet. Raises :class:`KernelError`."""
    compilers = [path for name in _COMPILERS if (path := shutil.which(name))]
    if not compilers:
        raise KernelError(f"there is no C compiler ({', '.join(_COMPILERS)}) for the kernel")
    try:
        file = _cached(kernel, compilers)
        if not file.exists() or file.stat().st_size == 0:
            _build(kernel, compilers, file)
        found = ctypes.CDLL(str(file))
        found.rollout.restype = ctypes.c_int
        found.layout.restype = None
    except (OSError, RuntimeError, AttributeError) as error:
        raise KernelError(f"the kernel {kernel.name} cannot be loaded: {error}") from error
    return found


def _cached(kernel: Kernel, compilers: Sequence[str]) -> Path:
    """Where a kernel lies once it is compiled."""
    commands = "\n".join(" ".join(kernel.command(compiler)) for compiler in compilers)
    key = hashlib.sha256(commands.encode() + b"".join(s.read_bytes() for s in _SOURCES))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "robo_planet" / f"rollout-{kernel.name}-{key.hexdigest()[:16]}.so"


def _build(kernel: Kernel, compilers: Sequence[str], path: Path) -> None:
    """Compile a kernel with the first compiler that can: some lack OpenMP, or an instruction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        reasons = []
        for compiler in compilers:
            command = kernel.command(compiler, "-shared", "-fPIC", "-o", made)
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                break
            reasons.append(f"{compiler}: {done.stderr.strip()}")
        else:
            raise KernelError(f"the kernel {kernel.name} was not compiled: {'; '.join(reasons)}")
        with made.open("rb") as file:
            os.fsync(file.fileno())  # a short file under this name would stay for ever
        made.replace(path)
