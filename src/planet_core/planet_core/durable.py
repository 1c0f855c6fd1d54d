"""Files that are whole or absent: written aside, fsynced, renamed, and checked when read.

A file's name carries the CRC-32 of its bytes, ``<stem>.<crc>.safetensors``, so that a reader knows
a damaged file without a second file to keep in step. Two processes never write one directory:
the first holds its lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

SUFFIX = ".safetensors"
PARTIAL_SUFFIX = ".partial"
CORRUPT_DIRECTORY = "corrupt"
_NAME = re.compile(r"(?P<stem>.+)\.(?P<crc>[0-9a-f]{8})\.safetensors\Z", re.DOTALL)


class DirectoryError(Exception):
    """A directory cannot be used; the message is one sentence for the operator."""


class CorruptFileError(Exception):
    """A file does not hold the bytes that its name promises; the message says how."""


def open_directory(directory: Path) -> IO[bytes]:
    """Make `directory` if need be, prove that it can be written, and lock it.

    Returns the lock: it is held until it is closed or the process ends, however it ends.

    Raises:
        DirectoryError: it cannot be created or written, or another process holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("wb")
        os.listdir(directory)
    except OSError as error:
        raise DirectoryError(
            f"the directory {directory} cannot be written: {error.strerror}; "
            "choose another data_dir or mend its permissions"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise DirectoryError(
            f"the directory {directory} is in use by another process; "
            "stop that one or choose another data_dir"
        ) from error
    except OSError as error:
        lock.close()
        raise DirectoryError(
            f"the directory {directory} cannot be locked: {error.strerror}; choose a data_dir "
            "on a local disk"
        ) from error
    return lock


def write(directory: Path, stem: str, data: bytes) -> Path:
    """Write `data` under `stem` so that it survives a loss of power once this returns.

    Raises:
        OSError: nothing was stored, and nothing half-written is left.
    """
    path = directory / f"{stem}.{zlib.crc32(data):08x}{SUFFIX}"
    replace(path, data)
    return path


def replace(path: Path, data: bytes) -> None:
    """Make `data` the whole content of `path`, whatever was there; on OSError it is unchanged."""
    partial = path.with_name(f".{path.name}{PARTIAL_SUFFIX}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read(path: Path) -> bytes:
    """Return the bytes of a file that :func:`write` made.

    Raises:
        CorruptFileError: they are not the bytes that were written.
        OSError: it cannot be read.
    """
    match = _NAME.match(path.name)
    if match is None:
        raise CorruptFileError("its name is not <stem>.<crc>.safetensors")
    data = path.read_bytes()
    if zlib.crc32(data) != int(match["crc"], 16):
        raise CorruptFileError(f"its {len(data)} bytes do not match the checksum in its name")
    return data


def stem(path: Path) -> str | None:
    """Return the stem under which :func:`write` made `path`, None for any other file."""
    match = _NAME.match(path.name)
    return None if match is None else match["stem"]


def files(directory: Path) -> Iterator[Path]:
    """Yield the directory's safetensors and left-over partial files, sorted by name."""
    for path in sorted(directory.iterdir()):
        if path.name.endswith((SUFFIX, PARTIAL_SUFFIX)) and not path.is_dir():
            yield path


def set_aside(path: Path) -> Path:
    """Move `path` into ``corrupt/`` beside it, where nothing reads it, and return its new place."""
    directory = path.parent / CORRUPT_DIRECTORY
    directory.mkdir(exist_ok=True)
    target = directory / path.name.removeprefix(".")
    path.rename(target)
    return target


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
