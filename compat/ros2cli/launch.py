"""`ros2 launch`: run a launch file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import (
    InvalidLaunchFileError,
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)

from launch import LaunchDescription, LaunchDescriptionEntity, LaunchService

# Launch configurations that the launch system itself reads.
BUILT_IN = {
    "emulate_tty",
    "launch-prefix",
    "launch-prefix-filter",
    "sigkill_timeout",
    "sigterm_timeout",
}


def add_command(commands: Any) -> None:
    """Add `launch` to the commands."""
    parser = commands.add_parser("launch", help="Run a launch file")
    parser.add_argument("-n", "--noninteractive", action="store_true", help="No terminal is there")
    parser.add_argument("-d", "--debug", action="store_true", help="Say more, with tracebacks")
    parser.add_argument(
        "-s",
        "--show-args",
        "--show-arguments",
        action="store_true",
        help="Show arguments that may be given to the launch file",
    )
    parser.add_argument(
        "-a",
        "--show-all-subprocesses-output",
        action="store_true",
        help="Show all processes' output, whatever the launch file says",
    )
    parser.add_argument("--launch-prefix", help="Command to put before all executables")
    parser.add_argument(
        "--launch-prefix-filter", help="Regular expression: executables that get the prefix"
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


def has_unknown_include(entities: Iterable[LaunchDescriptionEntity]) -> bool:
    """Return whether a file is included whose path, and so whose arguments, launch decides on."""
    for entity in entities:
        if isinstance(entity, IncludeLaunchDescription) and not entity.get_sub_entities():
            return True
        inner = [entity.describe_sub_entities()]
        inner += [list(some) for _, some in entity.describe_conditional_sub_entities()]
        if any(has_unknown_include(some) for some in inner):
            return True
    return False


def check_names(path: str, description: LaunchDescription, values: dict[str, str]) -> None:
    """Refuse an argument that nothing declares: most likely it is misspelt.

    :raises RuntimeError: there is one.
    """
    names = [argument.name for argument in description.get_launch_arguments()]
    for name in values:
        if name not in names and name not in BUILT_IN and not has_unknown_include([description]):
            raise RuntimeError(
                f"launch argument '{name}' is not known to '{os.path.basename(path)}', "
                f"which has: {', '.join(names) or 'none'}"
            )


def show_arguments(description: LaunchDescription) -> None:
    """Print the arguments of a launch description."""
    print("Arguments (pass arguments as '<name>:=<value>'):")
    arguments = description.get_launch_arguments()
    for argument in arguments:
        star = "*" if argument.conditionally_included else ""
        print(f"\n    '{argument.name}':{star}\n        {argument.description}")
        if argument.default_value is not None:
            default = " + ".join(part.describe() for part in argument.default_value)
            print(f"        (default: {default})")
    if any(argument.conditionally_included for argument in arguments):
        print("\n* argument(s) which are only used if specific conditions occur")
    if not arguments:
        print("\n  No arguments.")


def main(options: argparse.Namespace) -> int:
    """Run the launch file, or show its arguments.

    :raises RuntimeError: there is no such file or argument, or the file fails.
    """
    arguments = list(options.launch_arguments)
    if os.path.isfile(options.package_name):
        path = options.package_name
        if options.launch_file_name is not None:
            arguments.insert(0, options.launch_file_name)
    else:
        path = find_launch_file(options.package_name, options.launch_file_name)
    if options.launch_prefix_filter and not options.launch_prefix:
        raise RuntimeError(
            "--launch-prefix must be specified if --launch-prefix-filter is provided"
        )
    if options.launch_prefix:
        arguments.append(f"launch-prefix:={options.launch_prefix}")
    if options.launch_prefix_filter:
        arguments.append(f"launch-prefix-filter:={options.launch_prefix_filter}")
    values = parse_launch_arguments(arguments)
    try:
        description = get_launch_description_from_python_launch_file(path)
        if options.show_args:
            show_arguments(description)
            return 0
        check_names(path, description, values)
    except InvalidLaunchFileError as error:
        raise RuntimeError(str(error)) from error

    if options.show_all_subprocesses_output:
        os.environ["OVERRIDE_LAUNCH_PROCESS_OUTPUT"] = "both"
    service = LaunchService(
        argv=arguments,
        noninteractive=options.noninteractive or not sys.stdin.isatty(),
        debug=options.debug,
    )
    # Included, so that the place of the launch file is known to it.
    source = PythonLaunchDescriptionSource(path)
    include = IncludeLaunchDescription(source, launch_arguments=values.items())
    service.include_launch_description(LaunchDescription([include]))
    return service.run()
