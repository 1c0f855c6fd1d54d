"""Kills the processes of a launch whose launcher died.

The launcher runs this file as a process of its own and tells it, through its standard input, the
process groups that it starts (`12`) and that are gone (`-12`). The end of the input means that
the launcher is gone: orderly, with no group left, or by SIGKILL.
"""

import os
import signal
import sys


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue  # died with the launcher


if __name__ == "__main__":
    main()
