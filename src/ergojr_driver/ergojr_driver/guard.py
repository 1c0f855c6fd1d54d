"""The guard: the parent of the processes that drive the motors, which ends the torque without them.

The console script `driver` is the guard. It starts two children: the bus process, which talks to
the servos, and the ROS node, which talks to the bus process over a socket pair and a shared page. A
child that dies is started again; the arm then has no torque until the operator agrees. `watch`
guards a single tool, such as calibrate.

The process at the bus beats on the page with every packet. If a motor may have torque and the beat
stops for `SILENCE`, the guard first marks the arm as taken and then sends torque-off itself. A
process that only got no processor reads the mark before and after each packet that could move the
arm, so it never goes on as if nothing had happened. One packet can be under way when the process
freezes, half of it in the kernel: it reaches the motors once the process, or the kernel, goes on.
At worst this packet gives one motor torque, and the look after it takes the torque away within one
packet's time. The guard kills the process only on request, and if it still does not beat.

SIGINT, SIGTERM, SIGHUP (of a closed terminal) and SIGQUIT end all three processes, the bus process
first. If the guard dies, the kernel sends its children SIGTERM. A signal that kills the guard's
process group, such as a launch's last one, does not reach the bus process: it leads a group of its
own and switches the torque off. The guard imports nothing that could fail or take time, only the
standard library and small modules that need nothing else.
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
"""Environment variable with the file descriptor of a child's end of the socket pair."""
SILENCE = 0.2
"""Time in s without a beat, while there is torque, after which the guard takes the arm.

Between two beats the process at the bus waits for one exchange (`reply_timeout`, 0.1 s at most) or
for the next cycle (0.02 s). While there is no torque it may be silent.
"""
_LOOKS = 5  # looks in that time, for a computer that stood still is not a process that hangs
_MOTORS = tuple(range(1, 7))
_TIMES = 5
_PAUSE = 0.003  # s between two torque-offs, for a motor that was answering may miss one
_AGAIN = 0.5  # s from a child's death to its next start
_DEATHS, _WITHIN = 3, 60.0  # a child that dies so often in so many s is not started again
_END_SECONDS = 10.0  # for a child to end on request
_ASKED = (signal.SIGINT, signal.SIGTERM)  # signals that a child may die of when it is to end
_SIGNALLED = 128  # plus n, the exit code of a process that died of signal n, as in a shell


def name_port(port: str, baud_rate: int) -> None:
    """Tell the guard of this process, a tool, which port the motors are on."""
    _page().name_port(port, baud_rate)


def beat(torque: bool) -> None:
    """Tell the guard of this process, a tool, that it is alive and whether there may be torque."""
    _page().beat(torque)


def let_go(port: str, baud_rate: int) -> None:
    """Send torque-off several times; raises OSError or termios.error if the port is gone."""
    handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        speed = getattr(termios, f"B{baud_rate}")
        # Raw mode: 8 bits, no parity, no translation.
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
    """A process that the guard starts.

    Args:
        name: what messages call it.
        command: its command line.
        handles: the file descriptors that it inherits, by environment variable.
        apart: runs in the process before anything else: `os.setpgrp` or `os.setsid`.
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
        self._due = 0.0  # when to start it again, s of the steady clock
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = -1
        """A file descriptor that becomes readable when the process ends; -1 without a process."""

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
        """Record that the process has ended, and return its exit code."""
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
        """Whether it is time to start the process again."""
        return time.monotonic() >= self._due

    @property
    def hopeless(self) -> bool:
        """Whether the process has died too often recently."""
        return len(self._deaths) >= _DEATHS


class Guard:
    """Watches a child that talks to the motors, and runs others beside it.

    Args:
        bus: the child that talks to the motors.
        others: children that end the guard when they exit with a code of `FINAL`.
        again: whether children that die are started again.
    """

    def __init__(
        self, page: Page, bus: Child, others: Sequence[Child] = (), *, again: bool = False
    ) -> None:
        self._page = page
        self._bus = bus
        self._children = [bus, *others]
        self._again = again
        self._ending: float | None = None  # when the end began, s
        self._code = 0
        self._beats, self._silent = 0, 0
        self._asked: tuple[int, int] | None = None  # the page's `asked`, and its beats then
        self._unanswered = 0
        self._scheduling = os.sched_getscheduler(0), os.sched_getparam(0)

    def run(self) -> int:
        """Guard until the end; returns the exit code."""
        end_with_parent(os.getppid())
        # A closed terminal sends SIGHUP to the whole group, but the guard has to end after the bus.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        # A guard that a terminal could stop, as by Ctrl-Z, would guard nothing.
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
        """Take the arm if the beat has stopped; kill the bus process if it ignores a request."""
        page, beats = self._page, self._page.beats
        alive, self._beats = beats != self._beats, beats
        self._silent = 0 if alive or not page.armed else self._silent + 1
        if self._silent == _LOOKS and not page.taken:
            page.take()  # before the bytes, so that a process that wakes up in between knows
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
            # Once more for a silent process, whose last packet may have come after the first time.
            off = f"; {self._let_go()}" if self._page.port[0] else ""
            self._page.beat(False)  # the process that beats is gone, and nothing is armed
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
        """Send torque-off, and return what came of it."""
        port, baud_rate = self._page.port
        began = time.monotonic()
        try:
            let_go(port, baud_rate)
        except (OSError, termios.error) as error:
            return f"torque could not be switched off on {port}: {error}"
        return f"torque is off on {port}, {1e3 * (time.monotonic() - began):.0f} ms later"


FINAL = (0, 2)
"""Exit codes of a node that end the guard: 0 as requested, 2 for a wrong configuration."""


def watch(command: list[str]) -> int:
    """Run a tool that talks to the motors, and end the torque when it ends or is silent.

    Returns:
        The tool's exit code.
    """
    page = Page.create()
    # In a session of its own the tool may still read the terminal, but Ctrl-C reaches the guard.
    return Guard(page, Child("tool", command, {shared.VARIABLE: page.handle}, os.setsid)).run()


@lru_cache(maxsize=1)
def _page() -> Page:
    """Return the page that this process shares with its guard."""
    return Page.inherited()


def _prepare(parent: int, apart: Callable[[], object], prepare: Callable[[], None]) -> None:
    apart()
    prepare()
    end_with_parent(parent)


def _tell(sentence: str) -> None:
    """Write to the terminal, unless it is gone, or full because nobody reads it."""
    with suppress(OSError):
        if select.select([], [sys.stderr.fileno()], [], 0)[1]:
            os.write(sys.stderr.fileno(), f"{sentence}\n".encode())


def main() -> int:
    """Run the driver under the guard, and return the exit code."""
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
