"""A launch that cannot work ends by itself, and its last words say why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from planet_node.testing import own_domain

DOMAIN = str(own_domain(50))


def launch(file: str, folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed of a launch whose `config` is lab.yaml in `folder`."""
    given = [f"data_dir:={folder / 'data'}", "profile:=test", *arguments]
    if (folder / "lab.yaml").exists():
        given.append(f"config:={folder / 'lab.yaml'}")
    done = subprocess.run(
        ["ros2", "launch", "planet_bringup", file, *given],
        check=False,
        env=os.environ | {"ROS_DOMAIN_ID": DOMAIN} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    print(done.stdout)  # pytest shows it where a test fails
    return done.returncode, done.stdout


def test_a_file_that_cannot_be_read_starts_no_node(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("/**/roller:\n  ros__parameters:\n\taction_repeat: 2\n")
    for file, arguments in (("rig.launch.py", [f"robot:={path}"]), ("sim.launch.py", [])):
        code, output = launch(file, tmp_path, *arguments)
        assert code == 1
        assert f"{path}, line 3: found character" in output
        assert "process started" not in output
        assert "Traceback" not in output


def test_a_misspelt_parameter_and_a_misspelt_section_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "/**/drivr:\n  ros__parameters: {port: x}\n"
        "/**/driver:\n  ros__parameters: {limiter: {max_efort: 0.05}}\n"
        "/evaluator:\n  ros__parameters: {episodes: 3}\n"
    )
    code, output = launch("rig.launch.py", tmp_path)
    assert code == 1
    assert output.count("names no node") == 1
    assert f"{path}, line 2: section /**/drivr names no node" in output
    assert "driver has no parameter limiter.max_efort" in output
    assert "nearest that it has is limiter.max_effort" in output
    assert "cannot start as it is configured" in output


def test_nodes_that_never_work_end_the_launch_with_their_exit_code(tmp_path: Path) -> None:
    code, output = launch("sim.launch.py", tmp_path, RMW_IMPLEMENTATION="rmw_of_nobody")
    assert code == 1
    assert "times before it ever worked, the last time with exit code" in output
