"""A processor when it is needed: real-time priority and locked memory, where the system allows it.

Both are asked for, never needed: without them the watchdogs let the arm go more often on a computer
that is busy. docs/real-robot.md says how a user gets the right.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

GUARD, BUS = 60, 50
"""SCHED_FIFO priorities. The guard goes first: it acts when the bus process cannot."""
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""Pages are locked when they are first used: all of them at once would make a death take longer."""
_libc = ctypes.CDLL(None, use_errno=True)


def go_first(priority: int) -> str:
    """Ask for SCHED_FIFO with `priority` and for memory that stays; returns what was allowed."""
    got = []
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        got.append(f"SCHED_FIFO {priority}")
    if not _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        got.append("memory locked")
    return ", ".join(got) or "ordinary priority"
