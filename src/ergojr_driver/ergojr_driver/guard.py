"""The guard: parent of what drives the motors. When that dies or hangs, the guard lets the arm go.

`driver_node` starts two children, the bus process, which speaks to the servos, and the ROS node,
which speaks to it over a socket pair and a shared page. Either may die and is started again; the
arm has no torque then until somebody agrees. `watch` guards one tool, such as calibrate.

The process at the bus beats on the page with every packet. When a motor may have torque and the
beat stops for `SILENCE`, the guard first marks the arm as taken and then sends torque-off itself.
A process that was only starved reads the mark before each packet that could move the arm, and once
more after it, so it never goes on as if nothing had happened. One packet can already be under way
when the process freezes, half of it in the kernel: it reaches the motors when the process, or the
kernel, goes on. At worst it is the packet that gives one motor torque, and the look after it takes
the torque away again within one packet's time. The process is killed only when it is asked for and
still does not beat.

SIGINT, SIGTERM, SIGHUP (a terminal that was closed) and SIGQUIT end all three, the bus first. When
the guard dies the kernel sends its children SIGTERM. What kills the guard's process group, as a
launch does at last, does not reach the bus process, which leads a group of its own and lets go.
Imports nothing that could fail or take time: the standard library, and the bytes to send.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from types import FrameType

from ergojr_description.xl320 import torque_off
from ergojr_driver import page as shared
from ergojr_driver import realtime
from ergojr_driver.page import Page
from planet_core.processes import end_with_parent

LINK = "ERGOJR_LINK"
"""Environment variable: file descriptor of a child's end of the socket pair."""
SILENCE = 0.2
"""s without a beat, while there is torque, after which the guard lets go.

Between two beats the process at the bus waits for one exchange (`reply_timeout`, 0.1 s at the most)
or for the next cycle (0.02 s). While there is no torque it may be silent.
"""
_LOOKS = 5  # in that time: a computer that stood still for all of it is not a process that hangs
_MOTORS = tuple(range(1, 7))
_TIMES = 5
_PAUSE = 0.003  # s between; a motor that was answering may have missed one
_AGAIN = 0.5  # s from a child's death to its next start
_DEATHS, _WITHIN = 3, 60.0  # so many in so many s, and it is not started again
_END_SECONDS = 10.0  # for a child to end when asked to
_ASKED = (signal.SIGINT, signal.SIGTERM)  # of these a child may die when it was asked to end
_SIGNALLED = 128  # exit code of a process that died of signal n: this plus n, as in a shell


def name_port(port: str, baud_rate: int) -> None:
    """A guarded tool tells its guard where the motors are."""
    _page().name_port(port, baud_rate)


def beat(torque: bool) -> None:
    """A guarded tool lives; `torque`: a motor may have torque, so that silence matters now."""
    _page().beat(torque)


def let_go(port: str, baud_rate: int) -> None:
    """Torque off, several times. Raises OSError or termios.error when the port is gone."""
    handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        speed = getattr(termios, f"B{baud_rate}")
        # Raw: 8 bits, no parity, nothing translated.
        controls = termios.tcgetattr(handle)[6]
        flags = termios.CS8 | termios.CREAD | termios.CLOCAL
        termios.tcsetattr(handle, termios.TCSANOW, [0, 0, flags, 0, speed, speed, controls])
        for _ in range(_TIMES):
            os.write(handle, torque_off(_MOTORS))
            time.sleep(_PAUSE)
        termios.tcdrain(handle)
    finally:
        os.close(handle)


class Child:
    """One process of the guard's.

    Args:
        handles: environment variable and file descriptor of each thing that it inherits.
        apart: runs in the process before all else: `os.setpgrp` or `os.setsid`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        handles: dict[str, int],
        apart: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._command = command
        self._handles = handles
        self._apart = apart
        self._deaths: list[float] = []
        self._due = 0.0  # when it is to be started again, s on the steady clock
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = -1
        """Becomes readable when the process ends."""

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the process; `prepare` runs in it."""
        environment = {name: str(handle) for name, handle in self._handles.items()}
        self.process = subprocess.Popen(
            self._command,
            pass_fds=tuple(self._handles.values()),
            env={**os.environ, **environment},
            preexec_fn=partial(_prepare, os.getpid(), self._apart, prepare),  # noqa: PLW1509 -- there are no threads
        )
        self.ended = os.pidfd_open(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def reap(self) -> int:
        """Take note of the end; returns its exit code."""
        assert self.process is not None
        code = self.process.wait()
        os.close(self.ended)
        self.process, self.ended = None, -1
        now = time.monotonic()
        self._due = now + _AGAIN
        self._deaths = [then for then in self._deaths if now - then < _WITHIN] + [now]
        return code

    @property
    def is_due(self) -> bool:
        """Whether it is time to start it again."""
        return time.monotonic() >= self._due

    @property
    def hopeless(self) -> bool:
        """Whether it has died too often of late."""
        return len(self._deaths) >= _DEATHS


class Guard:
    """Watches `bus`, and keeps the others company.

    Args:
        bus: the child that speaks to the motors.
        others: children that end the guard when they exit with 0 or with a code of `final`.
        again: whether children that die are started again.
    """

    def __init__(
        self, page: Page, bus: Child, others: Sequence[Child] = (), *, again: bool = False
    ) -> None:
        self._page = page
        self._bus = bus
        self._children = [bus, *others]
        self._again = again
        self._ending: float | None = None  # since when, s
        self._code = 0
        self._beats, self._silent = 0, 0
        self._asked: tuple[int, int] | None = None  # of the page: asked, beats when that came
        self._unanswered = 0
        self._scheduling = os.sched_getscheduler(0), os.sched_getparam(0)

    def run(self) -> int:
        """Guard until the end; returns the exit code."""
        end_with_parent(os.getppid())
        # A terminal that is closed hangs up on the whole group; the guard has to outlive the bus.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        # Ctrl-Z, and what else a terminal stops processes for: one that is stopped guards nothing.
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        realtime.go_first(realtime.GUARD)
        for child in self._children:
            child.start(self._as_found)
        while self._ending is None or any(child.process for child in self._children):
            self._wait()
            self._look()
            for child in self._children:
                if child.process is not None and select.select([child.ended], [], [], 0)[0]:
                    self._on_death(child)
                elif child.process is None and self._ending is None and child.is_due:
                    child.start(self._as_found)
            self._hurry()
        return self._code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        ask = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        if self._ending is None:
            self._ending = time.monotonic()
        for child in self._children:
            child.signal(ask)

    def _as_found(self) -> None:
        os.sched_setscheduler(0, *self._scheduling)

    def _wait(self) -> None:
        poll = select.poll()
        for child in self._children:
            if child.process is not None:
                poll.register(child.ended, select.POLLIN)
        poll.poll(1e3 * SILENCE / _LOOKS)

    def _look(self) -> None:
        """Let go when the beat has stopped; kill who was asked for in vain."""
        page, beats = self._page, self._page.beats
        alive, self._beats = beats != self._beats, beats
        self._silent = 0 if alive or not page.armed else self._silent + 1
        if self._silent == _LOOKS and not page.taken:
            page.take()  # before the bytes: who wakes up in between must know
            off = self._let_go()
            said = f"was silent for {1e3 * SILENCE:.0f} ms while there was torque"
            _tell(f"guard: the {self._bus.name} {said}; {off}")
        if self._asked is None or self._asked[0] != page.asked:
            self._asked, self._unanswered = (page.asked, beats), 0 if page.asked else -1
        if alive:
            self._unanswered = -1
        elif self._unanswered >= 0:
            self._unanswered += 1
            if self._unanswered == _LOOKS:
                self._bus.signal(signal.SIGKILL)

    def _on_death(self, child: Child) -> None:
        code, off = child.reap(), ""
        if child is self._bus:
            # Again for one that was silent: what it sent last may have come after the first time.
            off = f"; {self._let_go()}" if self._page.port[0] else ""
            self._page.beat(False)  # nobody beats any more, and nothing is armed
            self._beats, self._silent = self._page.beats, 0
        if code and (off or self._ending is None):
            _tell(f"guard: the {child.name} ended with {code}{off}")
        final = code in FINAL and child is not self._bus
        if self._ending is None and (not self._again or final or child.hopeless):
            if child.hopeless and self._again:
                _tell(
                    f"guard: the {child.name} died {_DEATHS} times in {_WITHIN:g} s: it is given up"
                )
            self._ending = time.monotonic()
            for other in self._children:
                other.signal(signal.SIGTERM)
        if self._ending is not None and -code not in _ASKED:
            self._code = self._code or (code if code >= 0 else _SIGNALLED - code)

    def _hurry(self) -> None:
        if self._ending is not None and time.monotonic() > self._ending + _END_SECONDS:
            for child in self._children:
                child.signal(signal.SIGKILL)

    def _let_go(self) -> str:
        """Let go, and tell what came of it."""
        port, baud_rate = self._page.port
        began = time.monotonic()
        try:
            let_go(port, baud_rate)
        except (OSError, termios.error) as error:
            return f"torque could not be switched off on {port}: {error}"
        return f"torque is off on {port}, {1e3 * (time.monotonic() - began):.0f} ms later"


FINAL = (0, 2)
"""Exit codes of a node that ends everything: as asked, and misconfigured."""


def watch(command: list[str]) -> int:
    """Run a tool that speaks to the motors, and let go when it has ended, or is silent.

    Returns its exit code.
    """
    page = Page.create()
    # In a session of its own it may still read the terminal, and Ctrl-C reaches the guard alone.
    return Guard(page, Child("tool", command, {shared.VARIABLE: page.handle}, os.setsid)).run()


@lru_cache(maxsize=1)
def _page() -> Page:
    """This process' page."""
    return Page.inherited()


def _prepare(parent: int, apart: Callable[[], object], prepare: Callable[[], None]) -> None:
    apart()
    prepare()
    end_with_parent(parent)


def _tell(sentence: str) -> None:
    """Write to the terminal, which may be gone, or full because nobody reads it."""
    with suppress(OSError):
        if select.select([], [sys.stderr.fileno()], [], 0)[1]:
            os.write(sys.stderr.fileno(), f"{sentence}\n".encode())


def main() -> int:
    """The console script `driver_node`."""
    page = Page.create()
    bus_end, node_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def handles(end: socket.socket) -> dict[str, int]:
        return {shared.VARIABLE: page.handle, LINK: end.fileno()}

    run = [sys.executable, "-m"]
    bus = Child("bus process", [*run, "ergojr_driver.bus_process"], handles(bus_end), os.setpgrp)
    node = [*run, "ergojr_driver.driver_node", *sys.argv[1:]]
    return Guard(page, bus, [Child("driver node", node, handles(node_end))], again=True).run()


if __name__ == "__main__":
    sys.exit(main())
