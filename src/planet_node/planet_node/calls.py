"""Service calls with an end, from outside the executor's threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.client import Client

from planet_core.clocks import SteadyClock

_POLL = 0.5  # s between looks at whether a pending call has still a server
_FIND = 2.0  # s for a service to be found


class CallError(Exception):
    """A service call without an answer; one sentence says why."""


class UnansweredError(CallError):
    """Nothing is known against the call: it may be made again."""


def call(
    client: Client, request: Any, timeout: float, interrupted: Callable[[], str | None]
) -> Any:
    """Call a service from outside the executor.

    Whatever happens, no pending call is left behind, and an answer that comes later is no one's.

    Raises:
        UnansweredError: there was no answer for `timeout` seconds.
        CallError: there is no such service, it vanished, or `interrupted` says why there will be
            no answer.
    """
    clock, service = SteadyClock(), client.service_name
    done = threading.Event()
    deadline = clock.now() + min(timeout, _FIND)
    while not client.service_is_ready():
        interrupted()
        if clock.now() >= deadline:
            raise CallError(f"there is no service {service}")
        done.wait(_POLL)
    deadline = clock.now() + timeout
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    try:
        while not done.wait(_POLL):
            reason = interrupted()
            if reason is None and not client.service_is_ready():
                reason = "it has vanished"
            if reason is not None:
                raise CallError(f"the call of {service} is dropped: {reason}")
            if clock.now() >= deadline:
                raise UnansweredError(f"{service} did not answer for {timeout:g} s")
    finally:
        client.remove_pending_request(future)
    return future.result()
