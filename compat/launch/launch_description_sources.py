"""Launch descriptions from Python launch files."""

from __future__ import annotations

import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from .entities import LaunchDescription


class InvalidLaunchFileError(RuntimeError):
    """A launch file cannot be read, fails, or is no launch file; the message is one sentence."""


class PythonLaunchDescriptionSource:
    """A Python launch file, loaded when its description is first asked for."""

    def __init__(self, launch_file_path: str) -> None:
        self.location = launch_file_path
        self._description: LaunchDescription | None = None

    def get_launch_description(self) -> LaunchDescription:
        """Return what `generate_launch_description()` of the launch file returns.

        :raises InvalidLaunchFileError: there is no such file or function, or it raised.
        """
        if self._description is None:
            self._description = self._load()
        return self._description

    def _load(self) -> LaunchDescription:
        path = self.location
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
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == path]
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
