"""C sources as libraries."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from planet_model import compiled as module
from planet_model.compiled import CompileError, compiled


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source, and a header beside it."""
    (tmp_path / "number.h").write_text("#define NUMBER 41\n")
    path = tmp_path / "number.c"
    path.write_text('#include "number.h"\nint number(void) { return NUMBER + MORE; }\n')
    return path


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "robo_planet" / "compiled"


def number(source: Path, more: int = 1) -> int:
    found: int = compiled(source, [f"-DMORE={more}"]).number()
    return found


def compiler(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_it_is_compiled_once_for_each_set_of_flags(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [number(source), number(source, 2)] == [42, 43]
    assert len(list(cache.iterdir())) == 2

    def run(*arguments: object, **options: object) -> None:
        pytest.fail("it was compiled again")

    monkeypatch.setattr("subprocess.run", run)
    assert number(source) == 42


def test_a_changed_header_is_compiled_anew(source: Path) -> None:
    assert number(source) == 42
    source.with_name("number.h").write_text("#define NUMBER 50\n")
    assert number(source) == 51


@pytest.mark.parametrize("damaged", [b"", b"no library"])
def test_a_damaged_library_is_replaced(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bytes
) -> None:
    number(source)
    (file,) = cache.iterdir()
    # Elsewhere: what has been loaded is not loaded again from the same place.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    other = tmp_path / "other" / "robo_planet" / "compiled" / file.name
    other.parent.mkdir(mode=0o700, parents=True)
    other.write_bytes(damaged)
    assert number(source) == 42
    assert other.stat().st_size == file.stat().st_size


def test_a_folder_that_others_can_write_to_is_not_trusted(source: Path, cache: Path) -> None:
    number(source)
    cache.chmod(0o770)
    with pytest.raises(CompileError, match="others can write to"):
        number(source)


def test_another_users_folder_is_not_trusted(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number(source)
    owner = cache.stat().st_uid
    monkeypatch.setattr(module.os, "geteuid", lambda: owner + 1)
    with pytest.raises(CompileError, match="others can write to"):
        number(source)


def test_a_new_folder_is_the_users_alone_whatever_the_umask(source: Path, cache: Path) -> None:
    before = os.umask(0)
    try:
        assert number(source) == 42
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_without_a_home_directory_the_error_says_so(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(module.Path, "home", none)
    with pytest.raises(CompileError, match="there is no home directory"):
        number(source)


def test_where_nothing_can_be_kept_the_error_says_so(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder\n")
    with pytest.raises(CompileError, match=r"cannot be loaded: .*cache"):
        number(source)


def test_without_a_compiler_the_error_says_so(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(CompileError, match="there is no C compiler"):
        number(source)


def test_where_a_compiler_lacks_openmp_the_next_one_is_tried(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = shutil.which("gcc")
    compiler(tmp_path, "cc", "echo 'error: no OpenMP' >&2; exit 1")
    compiler(tmp_path, "gcc", f'exec {works} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert number(source) == 42


def test_where_all_lack_openmp_it_is_done_without(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = shutil.which("gcc")
    for name in ("cc", "gcc", "clang"):
        lacks = f'case "$*" in *-fopenmp*) exit 1 ;; *) exec {works} "$@" ;; esac'
        compiler(tmp_path, name, lacks)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert number(source) == 42


def test_what_no_compiler_can_make_is_told_with_what_each_of_them_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cc", "gcc", "clang"):
        compiler(tmp_path, name, f"echo 'error of {name}' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CompileError, match=r"error of cc.*error of gcc.*error of clang"):
        number(source)
