"""`ros2 launch`: run a launch file."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterable
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import log_dir

from launch import LaunchDescription, LaunchService

# Launch configurations that the launch system itself reads.
BUILT_IN = ("sigkill_timeout", "sigterm_timeout")


def add_command(commands: Any) -> None:
    """Add `launch` to the commands."""
    parser = commands.add_parser("launch", help="Run a launch file")
    parser.add_argument("-d", "--debug", action="store_true", help="Say more, with tracebacks")
    parser.add_argument(
        "-s",
        "--show-args",
        "--show-arguments",
        action="store_true",
        help="Show arguments that may be given to the launch file",
    )
    parser.add_argument("package_name", help="Package with the launch file, or the file's path")
    parser.add_argument("launch_file_name", nargs="?", help="Name of the launch file")
    parser.add_argument("launch_arguments", nargs="*", help="<name>:=<value> (last one wins)")
    parser.set_defaults(main=main)


def find_launch_file(package: str, name: str | None) -> str:
    """Return the path of a package's launch file.

    :raises RuntimeError: there is no such package or file, or more than one.
    """
    try:
        share = get_package_share_directory(package)
    except (PackageNotFoundError, ValueError) as error:
        raise RuntimeError(f"Package '{package}' not found: {error}") from error
    found = [os.path.join(root, name or "") for root, _, files in os.walk(share) if name in files]
    if not found:
        raise RuntimeError(
            f"file '{name}' was not found in the share directory of package '{package}' "
            f"which is at '{share}'"
        )
    if len(found) > 1:
        raise RuntimeError(
            f"file '{name}' was found more than once in the share directory of package "
            f"'{package}': {found}"
        )
    return found[0]


def parse_launch_arguments(arguments: Iterable[str]) -> dict[str, str]:
    """Return the values of `<name>:=<value>` arguments by name.

    :raises RuntimeError: one is not of this form.
    """
    values = {}
    for argument in arguments:
        name, separator, value = argument.partition(":=")
        if not name or not separator or not value:
            raise RuntimeError(
                f"malformed launch argument '{argument}', expected format '<name>:=<value>'"
            )
        values[name] = value
    return values


def check_names(path: str, description: LaunchDescription, names: Iterable[str]) -> None:
    """Refuse an argument that nothing declares: most likely it is misspelt.

    :raises RuntimeError: there is one.
    """
    known = [argument.name for argument in description.get_launch_arguments()]
    for name in names:
        if name not in known and name not in BUILT_IN:
            raise RuntimeError(
                f"launch argument '{name}' is not known to '{os.path.basename(path)}', "
                f"which has: {', '.join(known) or 'none'}"
            )


def show_arguments(description: LaunchDescription) -> None:
    """Print the arguments of a launch description."""
    print("Arguments (pass arguments as '<name>:=<value>'):")
    arguments = description.get_launch_arguments()
    for argument in arguments:
        print(f"\n    '{argument.name}':\n        {argument.description}")
        if argument.default_value is not None:
            print(f"        (default: '{argument.default_value}')")
    if not arguments:
        print("\n  No arguments.")


def main(options: argparse.Namespace) -> int:
    """Run the launch file, or show its arguments.

    :raises RuntimeError: there is no such file or argument, the file fails, or there is no place
        for log files.
    """
    arguments = list(options.launch_arguments)
    if os.path.isfile(options.package_name):
        path = options.package_name
        if options.launch_file_name is not None:
            arguments.insert(0, options.launch_file_name)
    else:
        path = find_launch_file(options.package_name, options.launch_file_name)
    values = parse_launch_arguments(arguments)
    log_dir()  # said before the launch file, whose fault it is not
    source = PythonLaunchDescriptionSource(path)
    description = source.get_launch_description()
    if options.show_args:
        show_arguments(description)
        return 0
    check_names(path, description, values)
    # A launch whose output nobody reads any more has processes to stop first.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    service = LaunchService(debug=options.debug)
    include = IncludeLaunchDescription(source, launch_arguments=values.items())
    service.include_launch_description(LaunchDescription([include]))
    return service.run()
