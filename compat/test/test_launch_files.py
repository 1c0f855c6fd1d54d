"""Launch files: arguments, includes, scopes, conditions, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from compare_with_real import record
from running import COMPAT, HERE, Launch

SAID = "\\[INFO\\] \\[launch.user\\]: "


def test_everything_starts_as_under_the_real_tools() -> None:
    # Written by the real launch of ROS 2 Jazzy: compare_with_real.py --die --dump
    expected = json.loads((HERE / "every_feature.json").read_text())
    found = record([str(HERE / "every_feature.launch.py")], str(COMPAT), die=True)
    assert found["processes"] == expected["processes"]
    assert found == expected


def test_show_args(ros2: Launch) -> None:
    running = ros2("launch", "--show-args", str(HERE / "every_feature.launch.py"))
    assert running.finish() == 0
    assert running.output == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        "\n    'robots':\n        How many\n        (default: '2')\n"
        "\n    'mode':\n        One of: ['async', 'sync']\n        (default: 'async')\n"
        "\n    'twice':\n        no description given\n"
        "        (default: LaunchConfig('robots') + '0')\n"
        "\n    'verbose':\n        Say more.\n        (default: 'true')\n"
        "\n    'name':\n        Has no default.\n"
        "\n    'inner':\n        no description given\n"
        "        (default: 'inner ' + LaunchConfig('name'))"
    )


def test_arguments_reach_an_include_and_stay_inside_the_group(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "inner.launch.py").write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import DeclareLaunchArgument, LogInfo\n"
        "from launch.substitutions import LaunchConfiguration\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([\n"
        "        DeclareLaunchArgument('who', default_value='nobody'),\n"
        "        LogInfo(msg=['inner ', LaunchConfiguration('who')])])\n"
    )
    inner = "IncludeLaunchDescription(PythonLaunchDescriptionSource([ThisLaunchFileDir(), "
    inner += "'/inner.launch.py'])"
    running = launch(
        "DeclareLaunchArgument('who', default_value='outer'),"
        f"GroupAction([{inner}, launch_arguments={{'who': 'scoped'}}.items())]),"
        "LogInfo(msg=['outer ', LaunchConfiguration('who')]),"
        f"{inner}),",
        "who:=given",
    )
    for words in ("inner scoped", "outer given", "inner given"):
        running.wait_for(f"{SAID}{words}$")
    assert running.finish() == 0


def test_a_missing_argument_of_an_include_is_named(launch: Launch) -> None:
    running = launch(
        f"IncludeLaunchDescription({str(HERE / 'included.launch.py')!r}),",
    )
    running.wait_for("missing required argument 'name' .*'Has no default.'")
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
        "TimerAction(period=1000.0, actions=[LogInfo(msg='late')]),"
        "TimerAction(period=0.1, actions=[LogInfo(msg='soon'), Shutdown()]),"
    )
    running.wait_for(f"{SAID}soon")
    assert running.finish() == 0
    assert "late" not in running.output


def test_show_all_output_overrides_the_launch_file(ros2: Launch, tmp_path: Path) -> None:
    path = tmp_path / "quiet.launch.py"
    path.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import ExecuteProcess\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([ExecuteProcess(cmd=['echo', 'hello'], output='log')])\n"
    )
    running = ros2("launch", "-a", str(path))
    assert running.finish() == 0
    assert "[echo-1] hello" in running.lines


def test_ros2_run_forwards_sigterm(
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
    running = ros2("run", "mine", "waits", "--ros-args", "-p", "x:=1")
    running.wait_for("ready --ros-args -p x:=1")
    running.process.terminate()
    assert running.finish() == 5
    assert "[ros2run]: Process exited with failure 5" in running.output
