"""C sources as libraries: compiled for this CPU when they are first needed, kept in the cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_COMPILERS = ("cc", "gcc", "clang")
OPTIMISE = ("-O3", "-ffp-contract=fast")
_OPTIONS = (*OPTIMISE, "-shared", "-fPIC")


class CompileError(Exception):
    """A library cannot be had; one sentence says why."""


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


def compiled(source: Path, flags: Sequence[str]) -> ctypes.CDLL:
    """`source`, which may include headers beside it, as a library.

    `flags` tell the compiler of the instruction set.

    The first compiler that can do it does; one that lacks OpenMP is used without when no other has
    it. Raises :class:`CompileError`.
    """
    compilers = [path for name in _COMPILERS if (path := shutil.which(name))]
    if not compilers:
        raise CompileError(f"there is no C compiler ({', '.join(_COMPILERS)})")
    commands = [
        [compiler, *_OPTIONS, *flags, *openmp, str(source)]
        for openmp in (["-fopenmp"], [])
        for compiler in compilers
    ]
    texts = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    key = hashlib.sha256(repr(commands).encode() + b"".join(texts)).hexdigest()
    try:
        file = _cache() / f"{source.stem}-{key[:16]}.so"
        try:
            return ctypes.CDLL(str(file))
        except OSError:  # there is none yet, or it is damaged
            _build(commands, file)
            return ctypes.CDLL(str(file))
    except OSError as error:
        raise CompileError(f"{source.name} cannot be loaded: {error}") from error


def _cache() -> Path:
    """The folder of the libraries. Nobody else can write to it, for what lies there is run."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise CompileError("there is no home directory and no XDG_CACHE_HOME") from error
    folder = home / "robo_planet" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise CompileError(f"others can write to {folder}, where libraries are kept")
    return folder


def _build(commands: Sequence[Sequence[str]], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        reasons = []
        for command in commands:
            done = subprocess.run(
                [*command, "-o", str(made)], check=False, capture_output=True, text=True
            )
            if done.returncode == 0:
                break
            line = next((x for x in done.stderr.splitlines() if "error" in x), done.stderr.strip())
            reasons.append(f"{command[0]}: {line}")
        else:
            raise CompileError(f"{path.stem} was not compiled: {'; '.join(dict.fromkeys(reasons))}")
        with made.open("rb") as file:
            os.fsync(file.fileno())  # a short file under this name would stay for ever
        made.replace(path)
