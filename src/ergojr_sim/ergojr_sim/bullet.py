"""PyBullet, with a world of its own for each object that uses it."""

from __future__ import annotations

from functools import partial
from typing import Any


class Bullet:
    """PyBullet's functions, bound to a world of this object's own (a `DIRECT` connection).

    Raises:
        ImportError: if PyBullet is missing or was built without numpy.
    """

    def __init__(self) -> None:
        import pybullet

        if not pybullet.isNumpyEnabled():
            raise ImportError(
                "pybullet was built without numpy and would return images as tuples; "
                "install numpy first, then pybullet with --no-build-isolation"
            )
        self._module = pybullet
        self._client = pybullet.connect(pybullet.DIRECT)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if callable(value):
            value = partial(value, physicsClientId=self._client)
        setattr(self, name, value)
        return value
