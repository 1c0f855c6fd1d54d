"""Processes: how they start, end, start again, and that none is left."""

from __future__ import annotations

import os
import signal

import pytest
from running import Launch, wait_until_gone

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


def test_emulate_tty_gives_a_terminal(launch: Launch) -> None:
    code = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty())"
    running = launch(
        f'ExecuteProcess(cmd=[*PYTHON, "{code}"], emulate_tty=True, output="screen", name="tty"),'
    )
    running.finish()
    assert "[tty-1] True True" in running.lines


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


def test_respawn_stops_after_max_retries(launch: Launch) -> None:
    running = launch(
        'ExecuteProcess(cmd=["true"], name="ends", respawn=True, respawn_max_retries=2),'
    )
    assert running.finish() == 0
    assert running.output.count("process has finished cleanly") == 3


def test_on_exit_shutdown_stops_the_others(launch: Launch) -> None:
    running = launch(
        waits() + 'TimerAction(period=0.3, actions=[ExecuteProcess(cmd=["true"], name="main",'
        ' on_exit=Shutdown(reason="done"))]),'
    )
    running.wait_for(r"process\[main-2\] was required: shutting down launched system")
    running.wait_for(r"sending signal 'SIGINT' to process\[waits-1\]")
    assert running.finish() == 0


def test_on_process_exit_is_told_the_exit_code(launch: Launch) -> None:
    running = launch(
        'ExecuteProcess(cmd=["sh", "-c", "exit 4"], name="fails"),'
        "RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: LogInfo("
        'msg=f"{event.process_name}: {event.returncode}"))),'
    )
    running.wait_for(r"\[launch.user\]: fails-1: 4")
    assert running.finish() == 0


def test_an_exception_in_a_handler_stops_all_with_exit_code_1(launch: Launch) -> None:
    running = launch(
        waits() + 'ExecuteProcess(cmd=["true"], on_exit=lambda event, context: 1 / 0),'
    )
    running.wait_for("Caught exception in launch.*division by zero")
    assert running.finish() == 1


def test_a_command_that_does_not_exist_stops_all_with_exit_code_1(launch: Launch) -> None:
    running = launch(waits() + 'ExecuteProcess(cmd=["/no/such/thing"], name="missing"),')
    running.wait_for("process 'missing-2' cannot be started: .*No such file")
    assert running.finish() == 1


def test_log_files_lie_under_ros_log_dir(launch: Launch, tmp_path: object) -> None:
    running = launch('ExecuteProcess(cmd=["echo", "hello"], name="echo", output="full"),')
    folder = running.wait_for("All log files can be found below (.*)")[1]
    running.finish()
    assert folder.startswith(f"{tmp_path}/log/")
    with open(f"{folder}/launch.log") as stream:
        assert "[echo-1] hello" in stream.read()
    with open(f"{folder}/echo-1-stdout.log") as stream:
        assert stream.read() == "[echo-1] hello\n"
