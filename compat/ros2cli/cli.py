"""The `ros2` command."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence

# Until a node or a launch has something to do at the end, Ctrl-C ends a command at once and
# without a traceback, as does a pipe that nobody reads any more.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int | str | None:
    """Do what the command line says; return the exit status, or the sentence that says why not."""
    # Late: they take a while.
    from . import interface, launch, node, param, pkg, run, service, topic

    parser = argparse.ArgumentParser(
        prog="ros2", description="The subset of ROS 2's command line that Robo-PlaNet brings."
    )
    commands = parser.add_subparsers(title="Commands", metavar="command", required=True)
    for module in (interface, launch, node, param, pkg, run, service, topic):
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
