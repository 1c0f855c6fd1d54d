"""Processes that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # loaded before any fork: a child may only call it


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when the process `parent`, its parent, ends.

    It takes no lock and imports nothing, so it may run between fork and exec (`preexec_fn`).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent ended before the kernel was told
        os.kill(os.getpid(), signal.SIGTERM)
