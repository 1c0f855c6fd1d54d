"""Which kernels a CPU can run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from planet_model import kernels
from planet_model.compiled import CompileError, cpu_features
from planet_model.kernels import KERNELS, library, runnable


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


def test_a_kernel_that_does_not_compile_is_not_tried_again_with_every_new_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def fail(source: Path, flags: object) -> None:
        tried.append(flags)
        raise CompileError("there is no stdlib.h")

    monkeypatch.setattr(kernels, "compiled", fail)
    kernel = dataclasses.replace(KERNELS[0], name="broken")
    for _ in range(2):
        with pytest.raises(CompileError, match=r"there is no stdlib\.h"):
            library(kernel)
    assert len(tried) == 1


def test_each_machine_has_a_kernel_in_float32_to_fall_back_to() -> None:
    exact = {kernel.machine for kernel in KERNELS if kernel.precision == "float32"}
    assert exact == {kernel.machine for kernel in KERNELS}
