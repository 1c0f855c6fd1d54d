"""Substitutions that look things up in the ament index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch.launch_context import LaunchContext
from launch.substitutions import (
    SomeSubstitutionsType,
    Substitution,
    SubstitutionFailure,
    perform,
)

__all__ = ["ExecutableInPackage", "FindPackageShare"]


class FindPackageShare(Substitution):
    """The share folder of a package."""

    def __init__(self, package: SomeSubstitutionsType) -> None:
        self._package = package

    def perform(self, context: LaunchContext) -> str:
        return str(get_package_share_directory(perform(context, self._package)))


class ExecutableInPackage(Substitution):
    """The path of an executable of a package."""

    def __init__(self, executable: SomeSubstitutionsType, package: SomeSubstitutionsType) -> None:
        self._executable, self._package = executable, package

    def perform(self, context: LaunchContext) -> str:
        executable, package = perform(context, self._executable), perform(context, self._package)
        folder = Path(get_package_prefix(package), "lib", package)
        found = shutil.which(executable, path=os.fspath(folder))
        if found is None:
            raise SubstitutionFailure(
                f"executable '{executable}' not found on the libexec directory '{folder}'"
            )
        return found
