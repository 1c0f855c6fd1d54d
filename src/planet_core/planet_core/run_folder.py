"""What gives the data in a run's folder their meaning, and would not be seen in the data.

``meaning.json`` holds it. A folder of an earlier version has a file ``control`` instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from planet_core import durable

NAME = "meaning.json"
_CONTROLS = ("torque", "position")  # what the file of an earlier version may say

Meaning = Mapping[str, str | int | float]


class RunFolderError(Exception):
    """The folder is of another run, or cannot be written; one sentence for the operator."""


def hold(folder: Path, meaning: Meaning, *, begin: bool) -> None:
    """Refuse a run's folder whose data have another meaning.

    Args:
        meaning: such as {"control": "torque", "action_repeat": 2}.
        begin: whether the folder becomes one of this meaning, as far as it does not say.

    Raises:
        RunFolderError: it differs, or cannot be written.
    """
    held = _held(folder)
    for name, value in meaning.items():
        if name in held and held[name] != value:
            raise RunFolderError(
                f"{folder} holds a run with {name}:={held[name]}, but {name} is {value}: "
                "give that, or another folder."
            )
    if begin and any(name not in held for name in meaning):
        text = json.dumps({**held, **meaning}, indent=1) + "\n"
        try:
            durable.replace(folder / NAME, text.encode())
        except OSError as error:
            raise RunFolderError(f"{folder / NAME} cannot be written: {error.strerror}.") from error


def _held(folder: Path) -> dict[str, str | int | float]:
    """What a folder says; nothing where it is no run's, or its file is empty."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    try:
        control = (folder / "control").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return {}
    return {"control": control} if control in _CONTROLS else {}
