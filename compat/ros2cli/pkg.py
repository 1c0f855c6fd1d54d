"""`ros2 pkg`: the packages' executables."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_packages_with_prefixes


def add_command(commands: Any) -> None:
    """Add `pkg` to the commands."""
    parser = commands.add_parser("pkg", help="List packages' executables")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)
    verb = verbs.add_parser("executables", help="Output a list of package specific executables")
    verb.add_argument("package_name", nargs="?", help="The package name")
    verb.add_argument("--full-path", action="store_true", help="Show the full path of each")
    verb.set_defaults(main=executables)


def executables(options: argparse.Namespace) -> str | None:
    """List the executables of a package, or of all."""
    prefixes = get_packages_with_prefixes()
    if options.package_name is not None and options.package_name not in prefixes:
        return f"Package '{options.package_name}' not found"
    for package in [options.package_name] if options.package_name else sorted(prefixes):
        for path in sorted(Path(prefixes[package], "lib", package).rglob("*")):
            if path.is_file() and os.access(path, os.X_OK):
                print(path if options.full_path else f"{package} {path.name}")
    return None
