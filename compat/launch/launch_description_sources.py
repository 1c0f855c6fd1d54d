"""Launch descriptions from Python launch files."""

from __future__ import annotations

import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from .launch_description import LaunchDescription
from .launch_description_source import LaunchDescriptionSource
from .substitution import SomeSubstitutionsType

__all__ = [
    "AnyLaunchDescriptionSource",
    "InvalidLaunchFileError",
    "PythonLaunchDescriptionSource",
    "get_launch_description_from_python_launch_file",
]


class InvalidLaunchFileError(Exception):
    """A launch file cannot be read, fails, or is no launch file."""


def get_launch_description_from_python_launch_file(path: str) -> LaunchDescription:
    """Return what `generate_launch_description()` of the launch file returns.

    :raises InvalidLaunchFileError: there is no such file or function, or it raised.
    """
    if not Path(path).is_file():
        raise InvalidLaunchFileError(f"launch file '{path}' does not exist")
    loader = SourceFileLoader("python_launch_file", path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None, "a loader was given"
    module = module_from_spec(spec)
    try:
        loader.exec_module(module)
        generate = getattr(module, "generate_launch_description", None)
        description = None if generate is None else generate()
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        place = f"{path}:{lines[-1]}" if lines else path
        raise InvalidLaunchFileError(
            f"launch file '{place}' failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(description, LaunchDescription):
        raise InvalidLaunchFileError(
            f"launch file '{path}' has no function generate_launch_description() "
            "that returns a LaunchDescription"
        )
    return description


class PythonLaunchDescriptionSource(LaunchDescriptionSource):
    """A Python launch file, loaded at launch."""

    def __init__(self, launch_file_path: SomeSubstitutionsType) -> None:
        super().__init__(None, launch_file_path)

    def _load(self, location: str) -> LaunchDescription:
        return get_launch_description_from_python_launch_file(location)


class AnyLaunchDescriptionSource(PythonLaunchDescriptionSource):
    """A launch file of any kind; Python is the only one that is read here."""
