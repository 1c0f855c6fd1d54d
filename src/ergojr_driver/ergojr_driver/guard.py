"""The guard: parent of the process that drives the motors. When that dies or hangs, it lets go.

It starts `python -m ergojr_driver.driver_node` with its own arguments, passes SIGINT on to it, and
SIGTERM, SIGHUP (a terminal that was closed) and SIGQUIT as SIGTERM, and exits as it exits. The
driver names its port over a pipe, and beats there with every exchange on the bus. However it ends
(SIGKILL and a crash of the interpreter included), torque-off goes out on that port at once; when
its motors have torque and it is silent, it is killed. The other way round the kernel sends the
driver SIGTERM when the guard dies, and the guard when its launch dies. What kills the guard's whole
process group, as a launch does at last, does not reach the driver, which lets go by itself.
Imports nothing that could fail or take time: the standard library, and the bytes to send.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from functools import partial
from types import FrameType

from ergojr_description.xl320 import torque_off

PIPE = "ERGOJR_GUARD_PIPE"
"""Environment variable: file descriptor on which the driver names its port."""
SILENCE = 0.5
"""s without a beat, while there is torque, after which the driver hangs.

Between two beats it waits for one exchange (`reply_timeout`, 0.1 s at the most), or for the next
cycle (0.02 s), and a write that takes longer (0.25 s) is a lost port. While it has no torque it may
be silent: it starts, waits for a motor's reboot or for a port that is gone, or ends.
"""
_LOOKS = 5  # in that time: a computer that stood still for all of it is not a driver that hangs
_TORQUE, _NO_TORQUE = b"torque", b"no torque"  # the beats
_MOTORS = tuple(range(1, 7))
_TIMES = 5
_PAUSE = 0.003  # s between; a motor that was answering may have missed one
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # loaded before the fork: the child may only call it
_SIGNALLED = 128  # exit code of a process that died of signal n: this plus n, as in a shell


def name_port(port: str, baud_rate: int) -> None:
    """The driver tells its guard, if it has one, where the motors are."""
    pipe = os.environ.get(PIPE)
    if pipe is not None:
        os.write(int(pipe), f"{baud_rate} {port}\n".encode())


def beat(torque: bool) -> None:
    """The driver lives; `torque`: a motor may have torque, so that silence matters from now on."""
    pipe = os.environ.get(PIPE)
    if pipe is not None:
        # Full: the guard is stopped. Broken: it is dead, and SIGTERM is on its way.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(int(pipe), (_TORQUE if torque else _NO_TORQUE) + b"\n")


def let_go(port: str, baud_rate: int) -> None:
    """Torque off, several times. Raises OSError or termios.error when the port is gone."""
    handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        speed = getattr(termios, f"B{baud_rate}")
        # Raw: 8 bits, no parity, nothing translated.
        controls = termios.tcgetattr(handle)[6]
        flags = termios.CS8 | termios.CREAD | termios.CLOCAL
        termios.tcsetattr(handle, termios.TCSANOW, [0, 0, flags, 0, speed, speed, controls])
        termios.tcflush(handle, termios.TCIFLUSH)
        for _ in range(_TIMES):
            os.write(handle, torque_off(_MOTORS))
            time.sleep(_PAUSE)
        termios.tcdrain(handle)
    finally:
        os.close(handle)


def watch(command: list[str]) -> int:
    """Run `command`, and let go when it has ended, or is silent. Returns its exit code."""
    _end_with(os.getppid())
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # a guard that is stopped must not stop the driver
    child = subprocess.Popen(
        command,
        pass_fds=(writer,),
        env={**os.environ, PIPE: str(writer)},
        start_new_session=True,
        preexec_fn=partial(_end_with, os.getpid()),  # noqa: PLW1509 -- there are no threads
    )
    os.close(writer)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    # A terminal that is closed hangs up on the whole group; the guard has to outlive the driver.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, forward)
    # Ctrl-Z, and what else a terminal stops processes for: one that is stopped guards nothing.
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    # The pipe ends when the last process that holds it ends: the child, unless it has children.
    # So its process is watched as well.
    ended = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(ended, select.POLLIN)
    rest, port, baud_rate, torque = b"", "", 0, False
    said = ""
    silent = 0
    while True:
        ready = [handle for handle, _ in poll.poll(1e3 * SILENCE / _LOOKS if torque else None)]
        silent = 0 if ready else silent + 1
        if silent == _LOOKS:
            # Killed, so that it cannot go on as if it had torque, wherever it would wake up (in the
            # midst of switching the motors on, perhaps); and at once, for it may wake up any time.
            child.kill()
            off = _switch_off(port, baud_rate)
            said = f"was silent for {1e3 * SILENCE:.0f} ms while there was torque; {off}"
            torque = False
            poll.unregister(reader)
        if reader in ready:
            words = os.read(reader, 4096)
            if not words:
                torque = False
                poll.unregister(reader)
            *lines, rest = (rest + words).split(b"\n")
            for line in lines:
                if line in (_TORQUE, _NO_TORQUE):
                    torque = line == _TORQUE
                else:
                    rate, port = line.decode().split(" ", 1)
                    baud_rate = int(rate)
        if ended in ready:
            break
    # Again for one that was silent: what it sent last may have come after the first time.
    off = _switch_off(port, baud_rate) if port else ""
    code = child.wait()
    if off and code:
        with suppress(OSError):  # the terminal may be gone
            said = said or f"ended with {code}; {off}"
            print(f"guard: the driver {said}", file=sys.stderr, flush=True)
    return code if code >= 0 else _SIGNALLED - code


def _end_with(parent: int) -> None:
    """Ask the kernel for SIGTERM when `parent` ends, which started this process."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)


def _switch_off(port: str, baud_rate: int) -> str:
    """Let go, and say what came of it."""
    began = time.monotonic()
    try:
        let_go(port, baud_rate)
    except (OSError, termios.error) as error:
        return f"torque could not be switched off on {port}: {error}"
    return f"torque is off on {port}, {1e3 * (time.monotonic() - began):.0f} ms later"


def main() -> int:
    """The console script `driver_node`."""
    return watch([sys.executable, "-m", "ergojr_driver.driver_node", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
