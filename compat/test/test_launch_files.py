"""Launch files: arguments, includes, log files, and what is refused."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from compare_with_real import record
from launch.logging import log_dir
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import write_parameters
from running import COMPAT, HERE, Launch


def test_everything_starts_as_under_the_real_tools() -> None:
    # Written by the real launch of ROS 2 Jazzy: compare_with_real.py --die --dump
    expected = yaml.safe_load((HERE / "every_feature.yaml").read_text())
    found = record([str(HERE / "every_feature.launch.py")], str(COMPAT), die=True)
    assert found["processes"] == expected["processes"]
    assert found == expected


def test_show_args(launch: Launch) -> None:
    running = launch(
        "DeclareLaunchArgument('mode', default_value='a', choices=['a', 'b'], description='Which'),"
        "DeclareLaunchArgument('needed'),",
        "--show-args",
    )
    assert running.finish() == 0
    assert running.output == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        "\n    'mode':\n        Which. Valid choices are: ['a', 'b']\n        (default: 'a')\n"
        "\n    'needed':\n        no description given"
    )


def test_a_missing_argument_is_named(launch: Launch) -> None:
    running = launch("DeclareLaunchArgument('needed'),")
    running.wait_for('Required launch argument "needed" was not provided')
    assert running.finish() == 1


def test_an_undeclared_argument_is_refused(launch: Launch) -> None:
    running = launch("DeclareLaunchArgument('profile', default_value='x'),", "profil:=y")
    assert running.finish() == 1
    assert running.output == (
        "launch argument 'profil' is not known to 'test.launch.py', which has: profile"
    )


def test_a_wrong_choice_is_refused(launch: Launch) -> None:
    running = launch("DeclareLaunchArgument('mode', choices=['a', 'b']),", "mode:=c")
    running.wait_for(r"Argument \"mode\" provided value \"c\" is not valid.*\['a', 'b'\]")
    assert running.finish() == 1


def test_a_malformed_argument_is_refused(launch: Launch) -> None:
    running = launch("", "mode=c")
    assert running.finish() == 1
    assert "malformed launch argument 'mode=c', expected format" in running.output


def test_a_failing_launch_file_is_named_with_its_line(ros2: Launch, tmp_path: Path) -> None:
    path = tmp_path / "bad.launch.py"
    path.write_text("def generate_launch_description():\n    return undefined\n")
    running = ros2("launch", str(path))
    assert running.finish() == 1
    assert running.output == (
        f"launch file '{path}:2' failed: NameError: name 'undefined' is not defined"
    )


def test_an_unknown_package_is_one_sentence(ros2: Launch) -> None:
    running = ros2("launch", "no_such_package", "x.launch.py")
    assert running.finish() == 1
    assert running.lines[0].startswith("Package 'no_such_package' not found")
    assert len(running.lines) == 1


def test_an_unknown_executable_stops_the_launch(launch: Launch) -> None:
    running = launch("Node(package='ament_index_python', executable='nothing'),")
    running.wait_for("Caught exception in launch.*executable 'nothing' not found on")
    assert running.finish() == 1


def test_a_timer_is_cancelled_by_shutdown(launch: Launch) -> None:
    running = launch(
        "TimerAction(period=1000.0, actions=[]),TimerAction(period=0.1, actions=[Shutdown()]),"
    )
    assert running.finish() == 0


@pytest.mark.parametrize("value", [[], [1, "a"], None, [None], LaunchConfiguration("x")])
def test_a_value_that_no_parameter_can_have_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="parameter 'x' cannot be"):
        write_parameters("/**", {"x": value})


def test_log_files_lie_under_ros_log_dir(launch: Launch, tmp_path: Path) -> None:
    running = launch('ExecuteProcess(cmd=["echo", "hello"], name="echo"),')
    folder = running.wait_for("All log files can be found below (.*)")[1]
    assert running.finish() == 0
    assert folder.startswith(f"{tmp_path}/log/")
    assert "[echo-1] hello" in Path(folder, "launch.log").read_text()


def test_a_place_for_logs_that_cannot_be_written_is_one_sentence(
    launch: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["ROS_LOG_DIR"] = str(tmp_path / "file")
    (tmp_path / "file").touch()
    running = launch("")
    assert running.finish() == 1
    assert running.output == (
        f"no log files can be written below {tmp_path}/file (Not a directory): "
        "set ROS_LOG_DIR to a folder that you may write to."
    )


def test_no_home_directory_is_needed_where_the_place_for_logs_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for such a user
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    assert log_dir.__wrapped__().parent == tmp_path
    for name in ("ROS_LOG_DIR", "ROS_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        RuntimeError, match=r"below ~/.ros/log \(Could not determine home dir.* set"
    ):
        log_dir.__wrapped__()


def test_ctrl_c_before_the_launch_has_begun_prints_nothing(launch: Launch) -> None:
    running = launch("*[print('reading', flush=True), signal.pause()],")
    running.wait_for("reading")
    running.signal(signal.SIGINT)
    assert running.finish() == -signal.SIGINT
    assert running.output == "reading"


def test_an_executable_is_listed_and_run_and_gets_sigterm(
    ros2: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/mine").touch()
    (tmp_path / "lib/mine").mkdir(parents=True)
    executable = tmp_path / "lib/mine/waits"
    executable.write_text(
        f"#!{sys.executable}\n"
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda n, f: sys.exit(5))\n"
        "print('ready', *sys.argv[1:], flush=True)\n"
        "signal.pause()\n"
    )
    executable.chmod(0o755)
    prefixes = [str(tmp_path), environment.get("AMENT_PREFIX_PATH", "")]
    environment["AMENT_PREFIX_PATH"] = os.pathsep.join(prefixes)
    listed = ros2("pkg", "executables", "mine")
    assert (listed.finish(), listed.output) == (0, "mine waits")
    running = ros2("run", "mine", "waits", "--ros-args", "-p", "x:=1")
    running.wait_for("ready --ros-args -p x:=1")
    running.process.terminate()
    assert running.finish() == 5
    assert "[ros2run]: Process exited with failure 5" in running.output
