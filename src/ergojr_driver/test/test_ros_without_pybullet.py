"""A robot's computer may have no PyBullet: there is none for ARM."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros

SCRIPT = """
import importlib, pkgutil, sys
sys.modules["pybullet"] = None
package = importlib.import_module(sys.argv[1])
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"{sys.argv[1]}.{module.name}")
"""


@pytest.mark.parametrize(
    "package",
    [
        *("ergojr_description", "ergojr_driver", "planet_model", "planet_node"),
        *("planet_learner", "planet_replay", "planet_roller", "planet_bringup"),
    ],
)
def test_what_a_robot_needs_is_imported_without_pybullet(package: str) -> None:
    command = [sys.executable, "-c", SCRIPT, package]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
