"""What a run's folder says of the run: its id, and what its data mean, which they do not show.

``meaning.json`` holds it. A folder of an earlier version has a file ``control`` instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planet_core import durable, run_id

NAME = "meaning.json"
_CONTROLS = ("torque", "position")  # what the file of an earlier version may say

Meaning = Mapping[str, str | int | float]


class RunFolderError(RuntimeError):
    """The folder is of another run, or cannot be used; one sentence for the operator."""


def begin(folder: Path, meaning: Meaning) -> str:
    """Begin a run in `folder`, or go on with the one that it holds, and return the run's id.

    Args:
        meaning: such as {"control": "torque", "action_repeat": 2}; what the folder does not say
            yet, it says from now on.

    Raises:
        RunFolderError: its data have another meaning, or it cannot be written.
    """
    held = check(folder, meaning)
    told = {"run_id": run_id.new(), **held, **meaning}
    if told != held:
        try:
            durable.replace(folder / NAME, (json.dumps(told, indent=1) + "\n").encode())
        except OSError as error:
            raise RunFolderError(f"{folder / NAME} cannot be written: {error.strerror}.") from error
    return str(told["run_id"])


def check(folder: Path, meaning: Meaning) -> dict[str, Any]:
    """Return what a folder says; nothing where it is no run's.

    Raises:
        RunFolderError: its data have another meaning than `meaning`.
    """
    held = _read(folder)
    for name, value in meaning.items():
        if name in held and held[name] != value:
            raise RunFolderError(
                f"{folder} holds a run with {name}:={held[name]}, but {name} is {value}: "
                "give that, or another folder."
            )
    return held


def _read(folder: Path) -> dict[str, Any]:
    path, old = folder / NAME, folder / "control"
    try:
        # A full disk left empty files in an earlier version.
        if path.is_file() and (text := path.read_text(encoding="utf-8")):
            return dict(json.loads(text))
        control = old.read_text(encoding="utf-8", errors="replace") if old.is_file() else ""
    except OSError as error:
        raise RunFolderError(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged: mend it, or choose another folder.") from error
    return {"control": control.strip()} if control.strip() in _CONTROLS else {}
