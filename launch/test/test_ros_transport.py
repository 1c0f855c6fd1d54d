"""The transport that sourcing the workspace chooses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix

from planet_node.testing import own_domain

PREFIX = Path(get_package_prefix("planet_bringup"))
HOOK = "share/planet_bringup/hook/transport.sh"
BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
NODE = """
import rclpy
rclpy.init()
node = rclpy.create_node("transported")
print(open("/proc/self/maps").read())
node.destroy_node()
rclpy.shutdown()
"""


def sourced(command: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's `command` after the hook, where the user has set what is `given`."""
    env = {k: v for k, v in os.environ.items() if k not in (BUILTIN, *PROFILES)}
    own = {"COLCON_CURRENT_PREFIX": str(PREFIX), "ROS_DOMAIN_ID": str(own_domain(51))}
    return subprocess.run(
        ["bash", "-u", "-c", f'. "{PREFIX / HOOK}"; {command}'],
        check=True,
        env=env | own | given,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("discovery", ["SUBNET", "LOCALHOST"])
def test_nothing_comes_through_shared_memory_whose_lock_another_could_hold(discovery: str) -> None:
    done = sourced(f"{sys.executable} -c '{NODE}'", ROS_AUTOMATIC_DISCOVERY_RANGE=discovery)
    assert "libfastrtps" in done.stdout or "libfastdds" in done.stdout
    assert "/dev/shm/fastrtps_port" not in done.stdout
    assert done.stderr == ""  # Fast DDS would complain of what it cannot read


@pytest.mark.parametrize("name", [BUILTIN, *PROFILES])
def test_what_the_user_has_set_holds(name: str) -> None:
    names = (BUILTIN, *PROFILES)
    done = sourced("; ".join(f'echo "${{{each}:-none}}"' for each in names), **{name: "theirs"})
    assert done.stdout.split() == ["theirs" if each == name else "none" for each in names]


def test_the_workspace_sources_it() -> None:
    package = (PREFIX / "share/planet_bringup/package.dsv").read_text()
    assert f"source;{HOOK}" in package.splitlines()
