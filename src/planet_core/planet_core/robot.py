"""A robot's commands and resets, without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ResetResult:
    """The answer to a reset.

    Attributes:
        ok: whether the episode may begin.
        message: one sentence, which says why not where `ok` is false.
        first_stamp: the stamp of the episode's first observation, in ns.
    """

    ok: bool
    message: str
    first_stamp: int = 0


class CommandError(ValueError):
    """A command cannot be used; one sentence."""


def command_values(
    expected: Sequence[str], names: Sequence[str], values: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Sort the values of a joint command.

    Args:
        expected: the A names of the actions.
        names: the names in the command, in any order.
        values: the command's value of each name.

    Returns:
        [A] the values in the order of `expected`.

    Raises:
        CommandError: unless exactly the expected names come, with one finite value each.
    """
    if sorted(names) != sorted(expected):
        given = ", ".join(names) or "nothing"
        raise CommandError(f"joint_command names {given}, expected {', '.join(expected)}")
    if len(values) != len(names):
        raise CommandError(f"joint_command has {len(values)} values for {len(names)} joints")
    by_name = dict(zip(names, values, strict=True))
    for name in expected:
        if not isfinite(by_name[name]):
            raise CommandError(
                f"joint_command for {name} is {by_name[name]}, expected a finite number"
            )
    return np.array([by_name[name] for name in expected], np.float64)
