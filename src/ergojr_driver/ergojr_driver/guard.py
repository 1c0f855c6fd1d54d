"""The guard: parent of the driver's process, with one task. When the driver dies, it lets go.

It starts `python -m ergojr_driver.driver_node` with its own arguments, passes SIGINT on to it, and
SIGTERM, SIGHUP (a terminal that was closed) and SIGQUIT as SIGTERM, and exits as it exits. The
driver names its port over a pipe. However it ends (SIGKILL and a crash of the interpreter
included), torque-off goes out on that port at once. The other way round the kernel sends the
driver SIGTERM when the guard dies. Imports nothing that could fail or take time: the standard
library, and the bytes to send.
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
from types import FrameType

from ergojr_description.xl320 import torque_off

PIPE = "ERGOJR_GUARD_PIPE"
"""Environment variable: file descriptor on which the driver names its port."""
_MOTORS = tuple(range(1, 7))
_TIMES = 5
_PAUSE = 0.003  # s between; a motor that was answering may have missed one
_PR_SET_PDEATHSIG = 1
_SIGNALLED = 128  # exit code of a process that died of signal n: this plus n, as in a shell


def name_port(port: str, baud_rate: int) -> None:
    """The driver tells its guard, if it has one, where the motors are."""
    pipe = os.environ.get(PIPE)
    if pipe is not None:
        os.write(int(pipe), f"{baud_rate} {port}\n".encode())


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(PIPE) is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)  # it was gone before the kernel knew


def let_go(port: str, baud_rate: int) -> None:
    """Torque off, several times. Raises OSError or termios.error when the port is gone."""
    handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        speed = getattr(termios, f"B{baud_rate}")
        # Raw: 8 bits, no parity, nothing translated; the minimum and the timeout are 0.
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
    """Run `command`, and let go when it has ended. Returns its exit code."""
    reader, writer = os.pipe()
    child = subprocess.Popen(command, pass_fds=(writer,), env={**os.environ, PIPE: str(writer)})
    os.close(writer)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    # A terminal that is closed hangs up on the whole group; the guard has to outlive the driver.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, forward)
    # The pipe ends when the last process that holds it ends: the child, unless it has children.
    # So its process is watched as well.
    ended = os.pidfd_open(child.pid)
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(ended, select.POLLIN)
    told = b""
    while True:
        ready = [handle for handle, _ in poll.poll()]
        if reader in ready:
            words = os.read(reader, 4096)
            told += words
            if not words:
                poll.unregister(reader)
        if ended in ready:
            break
    lines = [line for line in told.decode().split("\n")[:-1] if line]
    died = time.monotonic()
    if lines:
        baud_rate, port = lines[-1].split(" ", 1)
        _last_words(port, int(baud_rate), died, child.wait())
    code = child.wait()
    return code if code >= 0 else _SIGNALLED - code


def _last_words(port: str, baud_rate: int, died: float, code: int) -> None:
    try:
        let_go(port, baud_rate)
    except (OSError, termios.error) as error:
        said = f"torque could not be switched off on {port}: {error}"
    else:
        took = 1e3 * (time.monotonic() - died)
        said = f"torque is off on {port}, {took:.0f} ms after its end"
    if code:
        with suppress(OSError):  # the terminal may be gone
            print(f"guard: the driver ended with {code}; {said}", file=sys.stderr, flush=True)


def main() -> int:
    """The console script `driver_node`."""
    return watch([sys.executable, "-m", "ergojr_driver.driver_node", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
