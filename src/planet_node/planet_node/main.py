"""Start and stop of every node: one way in, one way out.

Exit codes: 0 stopped as asked, 1 failed, 2 misconfigured (starting it again would not help).
"""

from __future__ import annotations

import re
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from types import FrameType

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
_LOOK = 0.5  # s between looks of threads that are woken when there is something to see


class StartupError(Exception):
    """A node cannot start as it is configured; the message is one sentence for the operator."""


_stop = threading.Event()
_signals: list[int] = []
_failure: list[BaseException] = []
# The main thread waits at one end; a signal, whichever thread it meets, writes to the other.
_sleeper, _waker = socket.socketpair()
for _end in (_sleeper, _waker):
    _end.setblocking(False)


def fail(node: Node, error: BaseException) -> None:
    """End this node's process from any thread: log `error`, let `close()` run, exit with 1.

    With 2 for a StartupError: what is wrong shows late sometimes, but another start will not help.
    """
    try:
        node.get_logger().fatal(f"{node.get_name()} stops: {error}")
        if not isinstance(error, StartupError):
            traceback.print_exception(error)
    finally:  # the terminal may be gone
        _failure.append(error)
        stop()


def stop() -> None:
    """End this node's process from any thread, as Ctrl-C would: exit with 0."""
    _stop.set()
    with suppress(BlockingIOError):  # full: it will be seen anyway
        _waker.send(b"\0")


def run(make_node: Callable[[], Node]) -> int:
    """Run a node until SIGINT or SIGTERM, and return the exit code of its process.

    `make_node` may raise StartupError, and declares all of its node's parameters: another name in
    the node's arguments or files of parameters is a mistake that it does not start with. A method
    `close()` of the node, if there is one, is called while its publishers still work. Nodes in its
    attribute `beside`, if there is one, run as well, each in a thread of its own: what they serve
    waits for none of the node's callbacks.
    """
    _stop.clear()
    _signals.clear()
    _failure.clear()
    try:
        # rclpy's own handlers would invalidate the context before `close()` can say a last word.
        rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    except RuntimeError as error:  # an argument or a file of parameters that it cannot read
        # It names lines of its own source, too.
        get_logger("start").error(re.sub(r", at /\S+|\n", "", str(error)) + ".")
        return EXIT_MISCONFIGURED

    def on_signal(number: int, frame: FrameType | None) -> None:
        # It interrupts the main thread, which may hold the event's own lock just then: to set the
        # event here would wait for that lock for ever.
        _signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    signal.set_wakeup_fd(_waker.fileno(), warn_on_full_buffer=False)
    node: Node | None = None
    ended = threading.Event()
    running: list[tuple[Node, SingleThreadedExecutor, threading.Thread]] = []
    try:
        node = make_node()
        nodes = (node, *getattr(node, "beside", ()))
        for each in nodes:
            _refuse_undeclared(each)
        for each in nodes:
            # Measured: the multi-threaded executor takes several times as long per message.
            executor = SingleThreadedExecutor()
            executor.add_node(each)
            spinner = threading.Thread(target=_spin, args=(executor, ended), name="executor")
            running.append((each, executor, spinner))
            spinner.start()
        while not _signals and not _stop.is_set():
            select.select([_sleeper], [], [], _LOOK)
            with suppress(BlockingIOError):
                _sleeper.recv(4096)
    except StartupError as error:
        get_logger("start").error(str(error))
        return EXIT_MISCONFIGURED
    finally:
        try:
            close = getattr(node, "close", None)
            if close is not None:
                close()
        finally:
            # The threads have to be out of their executors before the context goes: rclpy aborts
            # otherwise. And without this the process would not end at all.
            ended.set()
            for _, executor, spinner in running:
                executor.create_task(bool)  # something to run, so that it comes to look
                spinner.join()
            for each, executor, _ in running:
                executor.shutdown(timeout_sec=1.0)
                each.destroy_node()
            rclpy.try_shutdown()
    sys.stdout.flush()
    if any(isinstance(error, StartupError) for error in _failure):
        return EXIT_MISCONFIGURED
    return EXIT_FAILED if _failure else 0


def _refuse_undeclared(node: Node) -> None:
    """Raise StartupError if `node` was given values of parameters that it did not declare.

    Those of ``qos_overrides`` may stay: rclpy declares the ones that it has a use for.
    """
    declared = sorted(node._parameters)
    unknown = [
        f"{name} (the nearest that it has is {get_close_matches(name, declared, 1, cutoff=0.0)[0]})"
        for name in sorted(node._parameter_overrides)
        if name not in declared and not name.startswith("qos_overrides.")
    ]
    if unknown:
        raise StartupError(f"{node.get_name()} has no parameter {' and none '.join(unknown)}.")


def _spin(executor: SingleThreadedExecutor, ended: threading.Event) -> None:
    try:
        while not ended.is_set():
            # It is woken when there is something to run; each look costs as much as a message.
            executor.spin_once(timeout_sec=_LOOK)
    except BaseException as error:  # noqa: BLE001 - a callback's fault ends the node, not one thread
        try:
            traceback.print_exception(error)
        finally:  # the terminal may be gone
            _failure.append(error)
            stop()
