"""Processes: how they start, end, start again, and that none is left."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable

import pytest
from running import ROS2, Launch, wait_until_gone

# A process that says its number and waits; `deaf` to a signal, it says that it heard it.
WAITS = "import os, signal\\nprint('pid', os.getpid())\\nwhile True: signal.pause()"
DEAF = (
    "import os, signal\\n"
    "for s in {signals}: signal.signal(s, lambda n, f: print('heard', n))\\n"
    "print('pid', os.getpid())\\n"
    "while True: signal.pause()"
)


def waits(**options: str) -> str:
    options = {"name": "'waits'", "output": "'screen'"} | options
    return f'ExecuteProcess(cmd=[*PYTHON, "{WAITS}"], {join(options)}),'


def deaf(*signals: int, **options: str) -> str:
    code = DEAF.format(signals=list(signals))
    options = {"name": "'deaf'", "output": "'screen'"} | options
    return f'ExecuteProcess(cmd=[*PYTHON, "{code}"], {join(options)}),'


def join(options: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_launcher_stops_every_process(
    launch: Launch, number: signal.Signals
) -> None:
    running = launch(waits() + waits())
    pids = [int(running.wait_for(r"pid (\d+)")[1]) for _ in range(2)]
    running.signal(number)
    assert running.finish() == 0
    assert "[ERROR] [waits-1]: process has died [pid" in running.output
    wait_until_gone(*pids, timeout=0.0)


def test_shutdown_escalates_to_sigterm_and_sigkill(launch: Launch) -> None:
    running = launch(deaf(2, 15, sigterm_timeout="'2'", sigkill_timeout="'1.5'"))
    pid = int(running.wait_for(r"deaf-1. pid (\d+)")[1])
    running.signal(signal.SIGINT)
    running.wait_for(r"\[deaf-1\] heard 2")
    running.wait_for(r"failed to terminate '2' seconds after receiving 'SIGINT', .* 'SIGTERM'")
    running.wait_for(r"\[deaf-1\] heard 15")
    running.wait_for(r"failed to terminate '3.5' seconds after receiving 'SIGTERM', .* 'SIGKILL'")
    running.wait_for(r"process has died \[pid \d+, exit code -9, cmd ")
    assert running.finish() == 0
    wait_until_gone(pid, timeout=0.0)


def test_a_second_ctrl_c_reaches_the_processes_again(launch: Launch) -> None:
    running = launch(deaf(2, sigterm_timeout="'20'"))
    pid = int(running.wait_for(r"deaf-1. pid (\d+)")[1])
    running.signal(signal.SIGINT)
    running.wait_for("heard 2")
    running.signal(signal.SIGINT)
    running.wait_for("again")
    running.wait_for("heard 2")
    os.kill(pid, signal.SIGTERM)
    assert running.finish() == 0


def test_nothing_is_left_when_the_launcher_is_killed(launch: Launch) -> None:
    # The second is behind a prefix that forks, and deaf to all but SIGKILL.
    running = launch(waits() + deaf(1, 2, 15, prefix='"bash -c \'\\"$@\\"; true\' x"'))
    pids = [int(running.wait_for(r"pid (\d+)")[1]) for _ in range(2)]
    running.signal(signal.SIGKILL)
    wait_until_gone(*pids)


def test_a_process_behind_a_forking_prefix_is_stopped(launch: Launch) -> None:
    running = launch(waits(prefix='"bash -c \'\\"$@\\"; true\' x"'))
    pid = int(running.wait_for(r"waits-1. pid (\d+)")[1])
    running.signal(signal.SIGTERM)
    assert running.finish() == 0
    wait_until_gone(pid, timeout=0.0)


def test_what_a_dead_process_left_behind_is_stopped(launch: Launch) -> None:
    code = "sleep 1000 & echo pid $!; kill -9 $$"
    running = launch(f'ExecuteProcess(cmd=["bash", "-c", "{code}"], output="screen"),')
    pid = int(running.wait_for(r"\] pid (\d+)")[1])
    running.wait_for(r"process has died \[pid \d+, exit code -9, cmd 'bash")
    assert running.finish() == 0
    wait_until_gone(pid, timeout=0.0)


def test_the_last_words_of_a_process_are_printed(launch: Launch) -> None:
    code = "import os; os.write(1, b'out'); os.write(2, b'err'); os._exit(3)"
    running = launch(f'ExecuteProcess(cmd=[*PYTHON, "{code}"], name="dies", output="screen"),')
    assert running.finish() == 0
    assert "[dies-1] out" in running.lines
    assert "[dies-1] err" in running.lines
    assert "exit code 3, cmd '" in running.output


def test_output_log_shows_only_standard_error(launch: Launch) -> None:
    code = "import os; os.write(1, b'out'); os.write(2, b'err')"
    running = launch(f'ExecuteProcess(cmd=[*PYTHON, "{code}"], name="quiet"),')
    running.finish()
    assert "[quiet-1] err" in running.lines
    assert "[quiet-1] out" not in running.lines


def test_respawn_starts_a_killed_process_again_after_the_delay(launch: Launch) -> None:
    running = launch(waits(respawn="True", respawn_delay="0.2"))
    first = int(running.wait_for(r"waits-1. pid (\d+)")[1])
    os.kill(first, signal.SIGKILL)
    running.wait_for(r"process has died \[pid \d+, exit code -9")
    second = int(running.wait_for(r"waits-1. pid (\d+)")[1])
    assert second != first
    running.signal(signal.SIGINT)
    assert running.finish() == 0
    wait_until_gone(second, timeout=0.0)


def test_ctrl_c_during_the_respawn_delay_ends_the_launch(launch: Launch) -> None:
    running = launch(
        'ExecuteProcess(cmd=["false"], name="dies", respawn=True, respawn_delay=1000.0),'
    )
    running.wait_for("process has died")
    running.signal(signal.SIGINT)
    assert running.finish() == 0


def test_a_handler_of_a_process_s_end_stops_the_others(launch: Launch) -> None:
    running = launch(
        waits() + 'ExecuteProcess(cmd=["true"], name="main"),'
        "RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: [Shutdown()])),"
    )
    running.wait_for(r"process\[main-2\] was required: shutting down launched system")
    running.wait_for(r"sending signal 'SIGINT' to process\[waits-1\]")
    assert running.finish() == 0


def test_an_exception_in_a_handler_stops_all_with_exit_code_1(launch: Launch) -> None:
    running = launch(
        waits() + 'ExecuteProcess(cmd=["true"]),'
        "RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: 1 / 0)),"
    )
    running.wait_for("Caught exception in launch.*division by zero")
    assert running.finish() == 1


def test_a_command_that_does_not_exist_stops_all_with_exit_code_1(launch: Launch) -> None:
    running = launch(waits() + 'ExecuteProcess(cmd=["/no/such/thing"], name="missing"),')
    running.wait_for("process 'missing-2' cannot be started: .*No such file")
    assert running.finish() == 1


def test_ctrl_c_while_a_process_still_imports_prints_no_traceback(launch: Launch) -> None:
    imports = waits().replace(
        "print('pid'", "print('Traceback of its own', file=sys.stderr); print('pid'"
    )
    running = launch(imports.replace("import os, signal", "import os, signal, sys"))
    running.wait_for(r"waits-1. pid (\d+)")
    running.signal(signal.SIGINT)
    assert running.finish() == 0
    assert "process has died [pid" in running.output
    assert "Traceback of its own" in running.output
    assert "KeyboardInterrupt" not in running.output


def test_the_traceback_of_a_process_that_fails_to_stop_is_printed(launch: Launch) -> None:
    code = (
        "import signal\\ntry:\\n print('ready'); signal.pause()\\nexcept KeyboardInterrupt: 1 / 0"
    )
    running = launch(f'ExecuteProcess(cmd=[*PYTHON, "{code}"], name="fails", output="screen"),')
    running.wait_for("ready")
    running.signal(signal.SIGINT)
    assert running.finish() == 0
    assert "[fails-1] ZeroDivisionError: division by zero" in running.lines


def test_a_launch_whose_output_nobody_reads_stops_quietly(
    launch_file: Callable[[str], str], environment: dict[str, str]
) -> None:
    code = "import os, time\\nwhile True: print('pid', os.getpid()); time.sleep(0.02)"
    path = launch_file(f'ExecuteProcess(cmd=[*PYTHON, "{code}"], name="talks", output="screen"),')
    command = f"{shlex.join([*ROS2, 'launch', path])} | head -n 5; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    wait_until_gone(int(done.stdout.rpartition("pid ")[2]), timeout=0.0)
