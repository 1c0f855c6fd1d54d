"""Start and stop of a node's process: exit codes, and the last word of `close()`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NODE = """
    import sys, threading
    from planet_node.main import StartupError, fail, run, stop
    from rclpy.node import Node

    class Tested(Node):
        def __init__(self):
            super().__init__("tested")
            {start}
            print("up", flush=True)

        def close(self):
            print("closed", flush=True)

    sys.exit(run(Tested))
"""


def start(statement: str, *arguments: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(NODE).format(start=statement)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_node_and_exits_with_0(number: signal.Signals) -> None:
    process = start("pass")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "closed\n")
    assert "Traceback" not in errors


def test_a_signal_that_meets_another_thread_closes_the_node_at_once() -> None:
    process = start(
        "import signal, time, planet_node.main as main\n"
        "        main._LOOK = 3600.0\n"
        "        threading.Thread(target=lambda: (sys.stdin.readline(), signal.pthread_kill("
        "threading.get_ident(), signal.SIGTERM))).start()"
    )
    output, _ = process.communicate("now\n", timeout=10)
    assert (process.returncode, output) == (0, "up\nclosed\n")


def test_a_signal_in_the_midst_of_waiting_does_not_deadlock() -> None:
    process = start(
        "import os, signal, planet_node.main as main\n"
        "        with main._stop._cond: os.kill(os.getpid(), signal.SIGINT)"
    )
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "up\nclosed\n")


def test_a_misconfigured_node_says_one_sentence_and_exits_with_2() -> None:
    process = start("raise StartupError('horizon is 0, but must be at least 1.')")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "horizon is 0, but must be at least 1." in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("limiter.max_efort", "limiter.max_effort"),
        ("max_effort", "limiter.max_effort"),
        ("tested.limiter.max_effort", "limiter.max_effort"),
        ("limiter", "limiter.max_effort"),
    ],
)
def test_a_parameter_that_the_node_does_not_declare_is_refused_with_the_nearest(
    given: str, nearest: str
) -> None:
    process = start(
        "self.declare_parameter('limiter.max_effort', 0.1), self.declare_parameter('port', '')",
        *("--ros-args", "-p", f"{given}:=0.05"),
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"tested has no parameter {given} (the nearest that it has is {nearest})." in errors
    assert "Traceback" not in errors


def test_what_every_node_has_is_no_mistake() -> None:
    process = start(
        "self.declare_parameter('port', '')",
        *("--ros-args", "-p", "use_sim_time:=true", "-p", "port:=/dev/ergojr"),
        *("-p", "qos_overrides./clock.subscription.depth:=3"),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_node_beside_is_not_refused_for_the_nodes_parameters() -> None:
    process = start(
        "self.declare_parameter('port', '')\n"
        "        self.beside = (Node('beside', use_global_arguments=False),)\n"
        "        self.create_timer(0.01, stop)",
        *("--ros-args", "-p", "port:=/dev/ergojr"),
    )
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_file_of_parameters_that_ros_cannot_read_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("/**/tested:\n  ros__parameters:\n    offset: [0.0, 1]\n")
    process = start("pass", "--ros-args", "--params-file", str(path))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"Couldn't parse params file: '--params-file {path}'" in errors
    assert "should be of same type" in errors
    assert "Traceback" not in errors


def test_a_background_threads_death_ends_the_process_with_1() -> None:
    process = start(
        "threading.Thread(target=lambda: fail(self, RuntimeError('no more data'))).start()"
    )
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "tested stops: no more data" in errors
    assert "closed" in output


def test_a_misconfiguration_that_shows_late_exits_with_2() -> None:
    process = start("threading.Thread(target=lambda: fail(self, StartupError('too slow'))).start()")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "tested stops: too slow" in errors
    assert "Traceback" not in errors


def test_an_error_in_a_callback_ends_the_process_with_1() -> None:
    process = start("self.create_timer(0.01, lambda: 1 / 0)")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "ZeroDivisionError" in errors


def test_a_close_that_fails_ends_the_process_with_1() -> None:
    process = start("self.close = lambda: 1 / 0")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "ZeroDivisionError" in errors


def test_a_node_beside_does_not_wait_for_a_callback() -> None:
    process = start(
        "self.beside = (Node('beside'),)\n"
        "        served = threading.Event()\n"
        "        self.beside[0].create_timer(0.01, served.set)\n"
        "        self.create_timer(0.01, lambda: (print('served', served.wait(5.0)), stop()))"
    )
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "served True" in output
    assert "served False" not in output


def test_a_closed_terminal_does_not_keep_a_failing_node_alive() -> None:
    process = start("self.create_timer(0.01, lambda: sys.stdin.read() or 1 / 0)")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    process.stdout.close()
    process.stderr.close()
    process.stdin.close()
    assert process.wait(10.0) != 0
