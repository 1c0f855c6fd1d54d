"""The `ros2` command."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence

from . import launch, node, param, run, service, topic


def main(argv: Sequence[str] | None = None) -> int | str | None:
    """Do what the command line says; return the exit status, or the sentence that says why not."""
    parser = argparse.ArgumentParser(
        prog="ros2", description="The subset of ROS 2's command line that Robo-PlaNet brings."
    )
    commands = parser.add_subparsers(title="Commands", metavar="command", required=True)
    for module in (launch, node, param, run, service, topic):
        module.add_command(commands)
    arguments = parser.parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        status: int | str | None = arguments.main(arguments)
    except KeyboardInterrupt:
        status = signal.SIGINT
    except RuntimeError as error:
        status = str(error)
    return status


if __name__ == "__main__":
    sys.exit(main())
