"""Unit tests run without ROS: `-m "not ros"` makes an import of it fail."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# An example may take its time: another process may have the cores just then.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")
# What a test commands moves no robot in the same network.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
ROS_TESTS = ["**/test_ros_*.py"]
collect_ignore_glob: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") == "not ros":
        collect_ignore_glob.extend(ROS_TESTS)
        for name in ("rclpy", "planet_msgs", "sensor_msgs", "std_msgs"):
            sys.modules[name] = None  # type: ignore[assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name.startswith("test_ros_"):
            item.add_marker(pytest.mark.ros)
