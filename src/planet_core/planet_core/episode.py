"""One episode: its arrays, its metadata, and its bytes.

The time convention stands in the package's docstring: step t holds (o_t, a_{t-1}, r_t), so an
episode of T decisions has T + 1 rows. With an action repeat of R there is one row per decision
and the rewards of its ticks are summed.

An :class:`Episode` that exists is valid: its constructor checks names, types, shapes, ranges and
finiteness, so whatever reads one need not. The bytes are a safetensors file (data, never code)
whose strings are in its ``__metadata__``. This module needs numpy and safetensors only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from planet_core.episode_format import (
    ARRAYS,
    FORMAT,
    EpisodeError,
    check_fields,
    check_shapes,
    names_of,
    read_header,
)


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T decisions; all arrays have T + 1 rows (see the package's time convention).

    Raises :class:`EpisodeError` when anything about it is not as described here.
    """

    id: str
    """Unique name, ``[A-Za-z0-9._-]``, 1 to 128 characters, not starting with a dot."""
    robot: str
    policy: str
    """One of :data:`POLICIES`; ``evaluation`` episodes are stored and never trained on."""
    weights_version: int
    """Version of the weights that acted; 0 when none did."""
    images: npt.NDArray[np.uint8]
    """o_t, uint8 [T+1, 64, 64 N, 3] RGB, the N cameras side by side; there may be none."""
    action: npt.NDArray[np.float32]
    """a_{t-1} as requested, float32 [T+1, A] in [-1, 1]; the first row is zero."""
    reward: npt.NDArray[np.float32]
    """r_t, float32 [T+1]; the first is zero."""
    reward_valid: npt.NDArray[np.bool_]
    """Whether r_t was measured, bool [T+1]; the first is false."""
    terminated: npt.NDArray[np.bool_]
    """bool [T+1], true on the last row only, if at all."""
    truncated: npt.NDArray[np.bool_]
    """bool [T+1], true on the last row only, if at all."""
    touched: npt.NDArray[np.bool_]
    """bool [T+1]."""
    position: npt.NDArray[np.float32]
    """Joint positions, rad, float32 [T+1, J]."""
    velocity: npt.NDArray[np.float32]
    """Joint velocities, rad/s, float32 [T+1, J]."""
    applied_effort: npt.NDArray[np.float32]
    """Joint efforts, N m, float32 [T+1, J]."""
    stamp: npt.NDArray[np.int64]
    """Time of capture of o_t, ns, int64 [T+1]."""
    missed_ticks: npt.NDArray[np.uint16]
    """Control ticks missed during the decision that led to the row, uint16 [T+1]."""
    metadata: dict[str, str] = field(default_factory=dict)
    """:data:`METADATA_LISTS` as JSON lists, :data:`METADATA_NUMBERS`, and whatever else."""

    def __post_init__(self) -> None:
        where = check_fields(self.id, self.robot, self.policy, self.weights_version, self.metadata)
        for name, dtype in ARRAYS.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype):
                found = getattr(array, "dtype", type(array).__name__)
                raise EpisodeError(f"{where}: '{name}' is {found}, expected a {dtype} array")
        shapes = {name: tuple(getattr(self, name).shape) for name in ARRAYS}
        check_shapes(where, shapes, self.metadata)
        for name, dtype in ARRAYS.items():
            if dtype == "float32" and not np.isfinite(getattr(self, name)).all():
                raise EpisodeError(f"{where}: '{name}' has a value that is not finite")
        if np.abs(self.action).max(initial=0.0) > 1.0:
            raise EpisodeError(f"{where}: 'action' has a value outside [-1, 1]")
        if self.action[0].any():
            raise EpisodeError(f"{where}: 'action' must be zero in the first row (a_-1 = 0)")
        if self.reward_valid[0] or self.reward[0] != 0.0:
            raise EpisodeError(f"{where}: the first row must have reward 0 and no valid reward")
        for name in ("terminated", "truncated"):
            if getattr(self, name)[:-1].any():
                raise EpisodeError(f"{where}: '{name}' is true before the last row")

    @property
    def frame_count(self) -> int:
        """Number of rows, T + 1."""
        return len(self.reward)

    @property
    def steps(self) -> int:
        """Number of decisions T."""
        return self.frame_count - 1

    @property
    def episode_return(self) -> float:
        """Sum of the valid rewards."""
        return float(self.reward[self.reward_valid].sum(dtype=np.float64))

    @property
    def touched_any(self) -> bool:
        """Whether any row has ``touched``."""
        return bool(self.touched.any())

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names, in the order in which their images stand side by side."""
        return names_of(self.metadata, "cameras", self.id)

    def to_bytes(self) -> bytes:
        """The episode as a safetensors file."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        fields = {
            "format": FORMAT,
            "id": self.id,
            "robot": self.robot,
            "policy": self.policy,
            "weights_version": str(self.weights_version),
        }
        return safetensors.numpy.save(arrays, metadata={**self.metadata, **fields})

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Episode:
        """The episode in `data`, a whole safetensors file; its arrays may be read-only.

        Raises :class:`EpisodeError` for bytes that are cut short, corrupt, or no valid episode.
        """
        data = bytes(data)
        header = read_header(data)
        try:
            arrays = safetensors.numpy.load(data)
        except SafetensorError as error:
            raise EpisodeError(f"episode '{header.id}': not a safetensors file: {error}") from None
        return cls(
            id=header.id,
            robot=header.robot,
            policy=header.policy,
            weights_version=header.weights_version,
            metadata=header.metadata,
            **arrays,
        )
