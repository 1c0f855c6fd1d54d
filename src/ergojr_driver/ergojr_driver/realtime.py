"""Real-time priority and locked memory for a process, where the system allows them.

No process needs them. Without them, the watchdogs switch the torque off more often on a busy
computer. docs/real-robot.md says how a user gets the right to them.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

GUARD, BUS = 60, 50
"""SCHED_FIFO priorities. The guard's is higher, for it acts when the bus process cannot."""
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""Pages are locked on their first use: with all of them locked, a process takes longer to die."""
_libc = ctypes.CDLL(None, use_errno=True)


def go_first(priority: int) -> str:
    """Request SCHED_FIFO with `priority` and locked memory, and return what the system allowed."""
    got = []
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        got.append(f"SCHED_FIFO {priority}")
    if not _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        got.append("memory locked")
    return ", ".join(got) or "ordinary priority"
