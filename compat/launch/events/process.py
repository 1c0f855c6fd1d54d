"""What happens to processes."""

from __future__ import annotations

from . import Event


class ProcessExited(Event):
    """A process has ended; `returncode` is -N where signal N ended it."""

    def __init__(self, *, process_name: str, pid: int, returncode: int) -> None:
        self.process_name = process_name
        self.pid = pid
        self.returncode = returncode
