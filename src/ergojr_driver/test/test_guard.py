"""The guard: whatever the driver dies of, or whenever it hangs, the motors let go."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from ergojr_description import xl320
from ergojr_driver import guard

# A driver that names its port, lets go when it is asked to end, and beats meanwhile.
DRIVER = """
import signal, sys, time
from ergojr_driver import guard
def end(number, frame):
    guard.let_go({port!r}, 1000000)
    sys.exit({code})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
for number in (signal.SIGHUP, signal.SIGQUIT):  # who started the tests may have ignored them
    signal.signal(number, signal.SIG_DFL)
guard.name_port({port!r}, 1000000)
guard.beat({torque})
print("up", flush=True)
while True:
    guard.beat({torque})
    time.sleep(0.01)
"""
GUARD = "import sys; from ergojr_driver.guard import watch; sys.exit(watch(sys.argv[1:]))"


class Pair:
    """A guard and its child."""

    def __init__(self, port: str, code: int = 0, torque: bool = False) -> None:
        driver = [sys.executable, "-c", DRIVER.format(port=port, code=code, torque=torque)]
        self.guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, *driver],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.guard.stdout is not None
        assert self.guard.stdout.readline() == "up\n"
        children = f"/proc/{self.guard.pid}/task/{self.guard.pid}/children"
        with open(children, encoding="ascii") as file:
            self.child = int(file.read().split()[0])

    def end(self) -> tuple[int, str]:
        _, said = self.guard.communicate(timeout=10.0)
        return self.guard.returncode, said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_drivers_sudden_death_lets_go(wire: Any, number: signal.Signals) -> None:
    pair = Pair(wire.port)
    wire.switch_on()
    os.kill(pair.child, number)
    wire.wait_for_no_torque()
    code, said = pair.end()
    assert code == 128 + number
    assert f"the tool ended with -{number:d}; torque is off on {wire.port}" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_driver_and_its_exit_code_comes_back(
    wire: Any, number: signal.Signals
) -> None:
    pair = Pair(wire.port, code=2)
    wire.switch_on()
    pair.guard.send_signal(number)
    assert pair.end()[0] == 2
    wire.wait_for_no_torque()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_lets_go_though_it_ends_the_driver_at_once(
    wire: Any, number: signal.Signals
) -> None:
    pair = Pair(wire.port)
    wire.switch_on()
    for pid in (pair.child, pair.guard.pid):  # as for a process group; the child has no handler
        os.kill(pid, number)
    wire.wait_for_no_torque()
    assert f"torque is off on {wire.port}" in pair.end()[1]


def test_the_guard_does_not_outlive_who_started_it_and_lets_go(wire: Any) -> None:
    driver = [sys.executable, "-c", DRIVER.format(port=wire.port, code=0, torque=False)]
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    launch = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-c", GUARD, *driver],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launch.stdout is not None
    assert launch.stdout.readline() == "up\n"
    wire.switch_on()
    launch.kill()
    wire.wait_for_no_torque()
    launch.communicate(timeout=10.0)  # guard and driver, which hold the pipe too, are gone


def test_what_kills_the_guards_group_leaves_the_driver_to_let_go_and_end(wire: Any) -> None:
    pair = Pair(wire.port)
    wire.switch_on()
    os.killpg(pair.guard.pid, signal.SIGKILL)
    wire.wait_for_no_torque()
    pair.guard.communicate(timeout=10.0)  # the driver, which holds the pipes too, is gone


def test_a_tool_that_hangs_with_torque_is_let_go_of_and_not_killed(wire: Any) -> None:
    wire.switch_on()
    pair = Pair(wire.port, torque=True)
    os.kill(pair.child, signal.SIGSTOP)
    wire.wait_for_no_torque()
    os.kill(pair.child, signal.SIGCONT)
    pair.guard.terminate()
    code, said = pair.end()
    assert code == 0
    assert f"was silent for 200 ms while there was torque; torque is off on {wire.port}" in said


@pytest.mark.parametrize(("torque", "stopped"), [(True, False), (False, True)])
def test_a_driver_that_beats_or_has_no_torque_is_left_alone(
    wire: Any, torque: bool, stopped: bool
) -> None:
    pair = Pair(wire.port, torque=torque)
    if stopped:
        os.kill(pair.child, signal.SIGSTOP)
    child = os.pidfd_open(pair.child)
    assert not select.select([child], [], [], 3.0 * guard.SILENCE)[0]
    os.close(child)
    os.kill(pair.child, signal.SIGCONT)
    pair.guard.terminate()
    assert pair.end() == (0, "")


def test_a_computer_that_stood_still_is_no_driver_that_hangs(wire: Any) -> None:
    pair = Pair(wire.port, torque=True)
    for pid in (pair.guard.pid, pair.child):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0 * guard.SILENCE)
    for pid in (pair.guard.pid, pair.child):
        os.kill(pid, signal.SIGCONT)
    pair.guard.terminate()
    assert pair.end() == (0, "")


def test_ctrl_z_does_not_stop_the_guard(wire: Any) -> None:
    pair = Pair(wire.port)
    # Asked, not tried: the kernel does not stop a group that has no shell, as this one.
    status = Path(f"/proc/{pair.guard.pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    assert ignored & 1 << (signal.SIGTSTP - 1)
    pair.guard.terminate()
    pair.end()


def test_the_driver_does_not_outlive_the_guard(wire: Any) -> None:
    pair = Pair(wire.port)
    child = os.pidfd_open(pair.child)
    pair.guard.kill()
    pair.guard.communicate(timeout=10.0)
    # The pipes are closed when the child, which holds them too, is gone.
    os.close(child)


def test_torque_off_is_said_again_for_motors_that_have_missed_it(wire: Any) -> None:
    wire.switch_on()
    wire.lost = 3 * len(xl320.torque_off(range(1, 7)))
    guard.let_go(wire.port, 1_000_000)
    wire.wait_for_no_torque()


def test_letting_go_does_not_rely_on_how_the_port_was_left(wire: Any) -> None:
    port = os.open(wire.port, os.O_RDWR | os.O_NOCTTY)
    cooked = termios.tcgetattr(port)
    cooked[0] |= termios.ICRNL
    cooked[1] |= termios.OPOST | termios.ONLCR
    cooked[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    cooked[4:6] = termios.B9600, termios.B9600
    termios.tcsetattr(port, termios.TCSANOW, cooked)
    guard.let_go(wire.port, 1_000_000)
    inputs, outputs, _, local, *speeds, _ = termios.tcgetattr(port)
    os.close(port)
    # A pseudo-terminal has no speed: the bytes would arrive in any case.
    assert speeds == [termios.B1000000] * 2
    assert (inputs, outputs, local) == (0, 0, 0)


def test_a_port_that_is_gone_is_told(tmp_path: Any) -> None:
    pair = Pair(str(tmp_path / "gone"))
    os.kill(pair.child, signal.SIGKILL)
    assert "torque could not be switched off" in pair.end()[1]
