"""Joint commands: names and values in, an array out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ergojr_description.kinematics import ACTIVE_NAMES, Array


class CommandError(ValueError):
    """A joint command that is none; one sentence."""


def command_values(names: Sequence[str], values: Sequence[float]) -> Array:
    """[4] N m for m1 m2 m3 m5, from names and values in any order.

    Raises:
        CommandError: unless exactly the four names come, with one finite value each.
    """
    if sorted(names) != sorted(ACTIVE_NAMES):
        given = ", ".join(names) or "nothing"
        raise CommandError(f"joint_command names {given}, expected {', '.join(ACTIVE_NAMES)}")
    if len(values) != len(names):
        raise CommandError(f"joint_command has {len(values)} efforts for {len(names)} joints")
    by_name = dict(zip(names, values, strict=True))
    command = np.array([by_name[name] for name in ACTIVE_NAMES], np.float64)
    for name, value in zip(ACTIVE_NAMES, command.tolist(), strict=True):
        if not np.isfinite(value):
            raise CommandError(f"joint_command for {name} is {value}, expected a finite number")
    return command
