"""What an episode consists of, and the header of its file.

The file is a safetensors file (data, never code): its header names the arrays with their types and
shapes, and has the strings in its ``__metadata__``. Header and arrays are checked alike.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

FORMAT = "robo_planet.episode.1"
IMAGE_SIZE = 64
POLICIES = ("random", "planner", "evaluation", "demonstration")

# The metadata that every episode carries, besides its fields. Values are strings, as in the file.
METADATA_LISTS = ("cameras", "action_names", "state_names")  # JSON lists of names
METADATA_NUMBERS = ("control_period", "action_repeat", "seed", "created")  # s, ticks, -, unix s

# Array name -> numpy dtype; each array has T + 1 rows.
ARRAYS: dict[str, str] = {
    "images": "uint8",
    "action": "float32",
    "reward": "float32",
    "reward_valid": "bool",
    "terminated": "bool",
    "truncated": "bool",
    "touched": "bool",
    "position": "float32",
    "velocity": "float32",
    "applied_effort": "float32",
    "stamp": "int64",
    "missed_ticks": "uint16",
}
_SAFETENSORS_DTYPES = {
    "uint8": "U8",
    "float32": "F32",
    "bool": "BOOL",
    "int64": "I64",
    "uint16": "U16",
}
_FIELDS = ("format", "id", "robot", "policy", "weights_version")
_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}\Z")
_MAX_HEADER_BYTES = 1_000_000


def image_shape(cameras: Sequence[str]) -> tuple[int, int, int]:
    """Return the shape of one observation's images, (64, 64 N, 3)."""
    return IMAGE_SIZE, IMAGE_SIZE * len(cameras), 3


class EpisodeError(ValueError):
    """An episode, or its bytes, that is not what this module describes; one sentence says why."""


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known of an episode without reading its arrays."""

    id: str
    robot: str
    policy: str
    weights_version: int
    metadata: dict[str, str]
    frame_count: int

    @property
    def steps(self) -> int:
        """Number of decisions T."""
        return self.frame_count - 1

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names, in the order in which their images stand side by side."""
        return names_of(self.metadata, "cameras", self.id)


def read_header(source: str | os.PathLike[str] | bytes) -> EpisodeHeader:
    """The header of an episode file (path) or of an episode's bytes, without its arrays.

    Checks fields, names, dtypes, shapes and that no byte is missing, but no array's values.
    Raises :class:`EpisodeError`, and OSError when the file cannot be read.
    """
    if isinstance(source, bytes):
        prefix, size = source[:8], len(source)
        if len(prefix) < 8:
            raise EpisodeError(f"episode: {size} bytes are too few for a safetensors file")
        return _parse_header(prefix, source[8 : 8 + _header_size(prefix)], size)
    with open(source, "rb") as file:
        prefix, size = file.read(8), os.fstat(file.fileno()).st_size
        if len(prefix) < 8:
            raise EpisodeError(f"episode: {size} bytes are too few for a safetensors file")
        return _parse_header(prefix, file.read(_header_size(prefix)), size)


def _header_size(prefix: bytes) -> int:
    """Length of the JSON header in bytes, from a safetensors file's first eight."""
    (size,) = struct.unpack("<Q", prefix)
    if size > _MAX_HEADER_BYTES:
        raise EpisodeError(f"episode: a header of {size} bytes is not that of an episode")
    return int(size)


def _parse_header(prefix: bytes, text: bytes, file_size: int) -> EpisodeHeader:
    """The checked header of a safetensors file of `file_size` bytes."""
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise EpisodeError("episode: the safetensors header is not JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("__metadata__"), dict):
        raise EpisodeError("episode: the safetensors header has no __metadata__")
    strings = content.pop("__metadata__")
    missing = [name for name in _FIELDS if not isinstance(strings.get(name), str)]
    if missing:
        raise EpisodeError(f"episode: the metadata lacks '{missing[0]}'")
    if strings["format"] != FORMAT:
        raise EpisodeError(f"episode: format {strings['format']!r} is not {FORMAT!r}")
    version = strings["weights_version"]
    if not re.fullmatch(r"[0-9]{1,19}", version):
        raise EpisodeError(f"episode: weights_version {version!r} is not a whole number")
    metadata = {key: value for key, value in strings.items() if key not in _FIELDS}
    where = check_fields(strings["id"], strings["robot"], strings["policy"], int(version), metadata)
    shapes, end = _entries(where, content)
    if 8 + _header_size(prefix) + end != file_size:
        raise EpisodeError(
            f"{where}: {file_size} bytes, but its header asks for {8 + _header_size(prefix) + end}"
        )
    rows = check_shapes(where, shapes, metadata)
    return EpisodeHeader(
        id=strings["id"],
        robot=strings["robot"],
        policy=strings["policy"],
        weights_version=int(version),
        metadata=metadata,
        frame_count=rows,
    )


def _entries(where: str, content: dict[str, Any]) -> tuple[dict[str, tuple[int, ...]], int]:
    """Array shapes of a safetensors header, and where their bytes end."""
    if set(content) != set(ARRAYS):
        odd = sorted(set(content) ^ set(ARRAYS))
        raise EpisodeError(f"{where}: '{odd[0]}' is {'missing' if odd[0] in ARRAYS else 'unknown'}")
    shapes: dict[str, tuple[int, ...]] = {}
    end = 0
    for name, dtype in ARRAYS.items():
        entry = content[name]
        if not isinstance(entry, dict) or entry.get("dtype") != _SAFETENSORS_DTYPES[dtype]:
            raise EpisodeError(f"{where}: '{name}' is not a {dtype} array")
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        if not (_is_sizes(shape) and _is_sizes(offsets) and len(offsets) == 2):
            raise EpisodeError(f"{where}: '{name}' has no valid shape or place in the file")
        if offsets[1] - offsets[0] != math.prod(shape) * np.dtype(dtype).itemsize:
            raise EpisodeError(f"{where}: '{name}' has another number of bytes than its shape")
        shapes[name] = tuple(shape)
        end = max(end, offsets[1])
    return shapes, end


def _is_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)


def check_fields(
    id_: str, robot: str, policy: str, weights_version: int, metadata: Mapping[str, str]
) -> str:
    """Checks the fields that are not arrays; returns the start of a sentence about the episode."""
    if not isinstance(id_, str) or not _ID.match(id_):
        raise EpisodeError(
            f"episode: id {id_!r} is not 1 to 128 of [A-Za-z0-9._-] without a leading dot"
        )
    where = f"episode '{id_}'"
    if not isinstance(robot, str) or not robot:
        raise EpisodeError(f"{where}: robot {robot!r} is not a name")
    if policy not in POLICIES:
        raise EpisodeError(f"{where}: policy {policy!r} is not one of {', '.join(POLICIES)}")
    if not isinstance(weights_version, int) or weights_version < 0:
        raise EpisodeError(f"{where}: weights_version {weights_version!r} is negative or no number")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise EpisodeError(f"{where}: metadata {key!r} must be a string")
        if key in _FIELDS:
            raise EpisodeError(f"{where}: metadata must not repeat the field '{key}'")
    for key in METADATA_LISTS:
        names_of(metadata, key, id_)
    for key in METADATA_NUMBERS:
        try:
            number = float(metadata[key])
        except (KeyError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise EpisodeError(f"{where}: metadata '{key}' must be a number")
    return where


def names_of(metadata: Mapping[str, str], key: str, id_: str) -> tuple[str, ...]:
    """The JSON list of distinct names under `key`."""
    try:
        names = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise EpisodeError(f"episode '{id_}': metadata '{key}' must be a JSON list of names")
    if len(set(names)) != len(names):
        raise EpisodeError(f"episode '{id_}': metadata '{key}' names something twice")
    if not names and key == "action_names":
        raise EpisodeError(f"episode '{id_}': metadata '{key}' is empty")
    return tuple(names)


def check_shapes(
    where: str, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]
) -> int:
    """Checks all shapes against the metadata; returns the number of rows T + 1."""
    cameras, actions, states = (len(json.loads(metadata[key])) for key in METADATA_LISTS)
    rows = shapes["reward"][0] if shapes["reward"] else 0
    if rows < 2:
        raise EpisodeError(f"{where}: {rows} rows; an episode has at least two observations")
    widths: dict[str, tuple[int, ...]] = {
        "images": (IMAGE_SIZE, IMAGE_SIZE * cameras, 3),
        "action": (actions,),
        "position": (states,),
        "velocity": (states,),
        "applied_effort": (states,),
    }
    for name in ARRAYS:
        expected = (rows, *widths.get(name, ()))
        if shapes[name] != expected:
            raise EpisodeError(f"{where}: '{name}' has shape {shapes[name]}, expected {expected}")
    return rows
