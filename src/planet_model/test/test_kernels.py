"""Which kernels there are, and how they are made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from planet_model.kernels import KERNELS, KernelError, cpu_features, library, runnable

from planet_model import kernels

BEST = runnable()[0]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache of kernels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    yield tmp_path / "robo_planet"
    library.cache_clear()


def compiler(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_kernel_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(BEST)
    library.cache_clear()

    def run(*arguments: object, **options: object) -> None:
        pytest.fail("it was compiled again")

    monkeypatch.setattr(kernels.subprocess, "run", run)
    assert library(BEST).rollout is not None


def test_a_damaged_library_is_not_kept_from_being_replaced(cache: Path) -> None:
    library(BEST)
    (file,) = cache.iterdir()
    file.unlink()  # not in place: it is mapped
    file.touch()
    library.cache_clear()
    library(BEST)
    assert file.stat().st_size > 1000


def test_without_a_compiler_the_error_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.shutil, "which", lambda name: None)
    with pytest.raises(KernelError, match="there is no C compiler"):
        library(BEST)


def test_where_a_compiler_lacks_openmp_the_next_one_is_tried(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    works = shutil.which("gcc")
    compiler(tmp_path, "cc", "echo 'no -fopenmp here' >&2; exit 1")
    compiler(tmp_path, "gcc", f'exec {works} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert library(BEST).rollout is not None


def test_what_no_compiler_can_make_is_told_with_what_each_of_them_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("cc", "gcc", "clang"):
        compiler(tmp_path, name, f"echo 'error of {name}' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(KernelError, match=r"error of cc.*error of gcc.*error of clang"):
        library(BEST)


@pytest.mark.parametrize(
    ("machine", "features", "expected"),
    [
        ("x86_64", "avx2 fma", ["avx2", "avx2_float32"]),
        ("x86_64", "avx2 fma avx_vnni", ["avx_vnni", "avx2", "avx2_float32"]),
        (
            "x86_64",
            "avx2 fma avx512f avx512bw avx512vl",
            ["avx512", "avx2", "avx2_float32"],
        ),
        ("x86_64", "sse4_2", []),
        ("aarch64", "asimd", ["neon"]),
        ("aarch64", "asimd asimddp", ["neon_dotprod", "neon"]),
        ("aarch64", "asimd asimddp i8mm", ["neon_i8mm", "neon_dotprod", "neon"]),
    ],
)
def test_a_cpu_runs_what_its_features_allow_best_first(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: str, expected: list[str]
) -> None:
    monkeypatch.setattr(kernels.platform, "machine", lambda: machine)
    monkeypatch.setattr(kernels, "cpu_features", lambda: frozenset(features.split()))
    assert [kernel.name for kernel in runnable()] == expected


def test_what_pytorch_is_told_not_to_use_no_kernel_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    cpu_features.cache_clear()
    try:
        assert not any("avx512" in feature for kernel in runnable() for feature in kernel.needs)
    finally:
        cpu_features.cache_clear()


def test_each_machine_has_a_kernel_in_float32_to_fall_back_to() -> None:
    exact = {kernel.machine for kernel in KERNELS if kernel.precision == "float32"}
    assert exact == {kernel.machine for kernel in KERNELS}
