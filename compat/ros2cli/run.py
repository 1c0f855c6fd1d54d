"""`ros2 run`: run an executable of a package."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
from types import FrameType
from typing import Any

from ament_index_python.packages import PackageNotFoundError
from launch.substitutions import SubstitutionFailure
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext


def add_command(commands: Any) -> None:
    """Add `run` to the commands."""
    parser = commands.add_parser("run", help="Run a package specific executable")
    parser.add_argument("--prefix", help="Command to put before the executable")
    parser.add_argument("package_name", help="Name of the ROS package")
    parser.add_argument("executable_name", help="Name of the executable")
    parser.add_argument("argv", nargs=argparse.REMAINDER, help="Arguments for the executable")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int | str:
    """Run the executable; return its exit status.

    :raises RuntimeError: there is no such package.
    """
    executable = ExecutableInPackage(options.executable_name, options.package_name)
    try:
        path = executable.perform(LaunchContext())
    except (PackageNotFoundError, ValueError):
        raise RuntimeError(f"Package '{options.package_name}' not found") from None
    except SubstitutionFailure:
        return "No executable found"
    command = [*shlex.split(options.prefix or ""), path, *options.argv]
    process = subprocess.Popen(command)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # Ctrl-C reaches the process by itself, being in the terminal's foreground group too.
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    code = process.wait()
    if code < 0:
        print("[ros2run]:", signal.strsignal(-code))
    elif code > 0:
        print(f"[ros2run]: Process exited with failure {code}")
    return code
