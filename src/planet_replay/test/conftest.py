"""An episode to store: small, valid, and every row of it known by its image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from planet_core import testing
from planet_core.episode import Episode


def build(name: str = "e", policy: str = "random", steps: int = 3, **changes: object) -> Episode:
    last = np.arange(steps + 1) == steps
    ended = {"terminated": last, "touched": last, "truncated": ~last & False}
    return testing.make_episode(
        name, policy, steps, **{"robot": "ergojr", "weights_version": 7} | ended | changes
    )


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return build
