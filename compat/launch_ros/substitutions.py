"""Substitutions that look things up in the ament index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch.launch_context import LaunchContext
from launch.some_substitutions_type import SomeSubstitutionsType
from launch.substitution import (
    Substitution,
    SubstitutionFailure,
    describe,
    normalize_to_list_of_substitutions,
    perform,
)

__all__ = ["ExecutableInPackage", "FindPackage", "FindPackagePrefix", "FindPackageShare"]


class FindPackage(Substitution):
    """A folder of a package."""

    def __init__(self, package: SomeSubstitutionsType) -> None:
        self.package = normalize_to_list_of_substitutions(package)

    def describe(self) -> str:
        return f"{type(self).__name__}(pkg={describe(self.package)})"

    def find(self, package_name: str) -> str:
        """Return the folder.

        :raises PackageNotFoundError: the package is not in the ament index.
        """
        raise NotImplementedError

    def perform(self, context: LaunchContext) -> str:
        return self.find(perform(context, self.package))


class FindPackagePrefix(FindPackage):
    """The folder that a package is installed under."""

    def find(self, package_name: str) -> str:
        return str(get_package_prefix(package_name))


class FindPackageShare(FindPackage):
    """The share folder of a package."""

    def find(self, package_name: str) -> str:
        return str(get_package_share_directory(package_name))


class ExecutableInPackage(FindPackagePrefix):
    """The path of an executable of a package."""

    def __init__(self, executable: SomeSubstitutionsType, package: SomeSubstitutionsType) -> None:
        super().__init__(package)
        self.executable = normalize_to_list_of_substitutions(executable)

    def perform(self, context: LaunchContext) -> str:
        executable, package = perform(context, self.executable), perform(context, self.package)
        folder = Path(super().perform(context), "lib", package)
        found = shutil.which(executable, path=os.fspath(folder))
        if found is None:
            raise SubstitutionFailure(
                f"executable '{executable}' not found on the libexec directory '{folder}'"
            )
        return found
