"""Runs launch files and `ros2` as processes of their own.

Where the real tools are installed, compat is not, and there is nothing to test.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", settings(), deadline=None)  # others may have the cores
settings.load_profile("patient")
HERE = Path(__file__).resolve().parent
# Whoever runs tests in the background may ignore these signals; the launches under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

if importlib.util.find_spec("ros2launch") is not None:
    collect_ignore_glob = ["test_*.py"]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from running import ROS2, Launch, Running, environment_for  # noqa: E402

IMPORTS = """
import signal, sys
from launch import *
from launch.actions import *
from launch.event_handlers import *
from launch.launch_description_sources import *
from launch.substitutions import *
from launch_ros.actions import *
PYTHON = [sys.executable, "-uc"]
def generate_launch_description():
    return LaunchDescription([
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_for(tmp_path)


@pytest.fixture
def ros2(environment: dict[str, str]) -> Iterator[Launch]:
    """Give a function that starts `ros2 <arguments>`."""
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running([*ROS2, *arguments], environment))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def launch_file(tmp_path: Path) -> Callable[[str], str]:
    """Give a function that writes a launch file with the entities in a text."""

    def write(entities: str) -> str:
        path = tmp_path / "test.launch.py"
        path.write_text(f"{IMPORTS}{entities}\n])\n")
        return str(path)

    return write


@pytest.fixture
def launch(ros2: Launch, launch_file: Callable[[str], str]) -> Launch:
    """Give a function that launches the entities in a text."""

    def start(entities: str, *arguments: str) -> Running:
        return ros2("launch", launch_file(entities), *arguments)

    return start
