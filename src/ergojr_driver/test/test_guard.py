"""The guard: whatever the driver dies of, the motors let go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from ergojr_description import xl320

# A driver that names its port and then does nothing, as one that hangs.
DRIVER = """
import signal, sys
from ergojr_driver import guard
guard.die_with_parent()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: sys.exit({code}))
for number in (signal.SIGHUP, signal.SIGQUIT):  # who started the tests may have ignored them
    signal.signal(number, signal.SIG_DFL)
guard.name_port({port!r}, 1000000)
print("up", flush=True)
while True:
    signal.pause()
"""
GUARD = "import sys; from ergojr_driver.guard import watch; sys.exit(watch(sys.argv[1:]))"


class Pair:
    """A guard and its child."""

    def __init__(self, port: str, code: int = 0) -> None:
        driver = [sys.executable, "-c", DRIVER.format(port=port, code=code)]
        self.guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, *driver],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.guard.stdout is not None
        assert self.guard.stdout.readline() == "up\n"
        children = f"/proc/{self.guard.pid}/task/{self.guard.pid}/children"
        with open(children, encoding="ascii") as file:
            self.child = int(file.read().split()[0])

    def end(self) -> tuple[int, str]:
        _, said = self.guard.communicate(timeout=10.0)
        return self.guard.returncode, said


def with_torque(wire: Any) -> None:
    for servo in wire.servos:
        servo.write(xl320.TORQUE_ENABLE.address, b"\x01")


def wait_for_no_torque(wire: Any) -> float:
    start = time.monotonic()
    while any(servo.get(xl320.TORQUE_ENABLE) for servo in wire.servos):
        assert time.monotonic() < start + 5.0
        time.sleep(0.001)
    return time.monotonic() - start


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_drivers_sudden_death_lets_go(wire: Any, number: signal.Signals) -> None:
    pair = Pair(wire.port)
    with_torque(wire)
    os.kill(pair.child, number)
    wait_for_no_torque(wire)
    code, said = pair.end()
    assert code == 128 + number
    assert f"the driver ended with -{number:d}; torque is off on {wire.port}" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_driver_and_its_exit_code_comes_back(
    wire: Any, number: signal.Signals
) -> None:
    pair = Pair(wire.port, code=2)
    with_torque(wire)
    pair.guard.send_signal(number)
    assert pair.end()[0] == 2
    wait_for_no_torque(wire)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_lets_go_though_it_ends_the_driver_at_once(
    wire: Any, number: signal.Signals
) -> None:
    pair = Pair(wire.port)
    with_torque(wire)
    for pid in (pair.child, pair.guard.pid):  # as for a process group; the child has no handler
        os.kill(pid, number)
    wait_for_no_torque(wire)
    assert f"torque is off on {wire.port}" in pair.end()[1]


def test_the_driver_does_not_outlive_the_guard(wire: Any) -> None:
    pair = Pair(wire.port)
    child = os.pidfd_open(pair.child)
    pair.guard.kill()
    pair.guard.communicate(timeout=10.0)
    # The pipes are closed when the child, which holds them too, is gone.
    os.close(child)


def test_a_port_that_is_gone_is_told(tmp_path: Any) -> None:
    pair = Pair(str(tmp_path / "gone"))
    os.kill(pair.child, signal.SIGKILL)
    assert "torque could not be switched off" in pair.end()[1]
