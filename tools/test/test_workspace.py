"""Set-up: what a newcomer's machine lacks is told in one sentence."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import workspace

SCRIPT = Path(workspace.__file__)


def test_a_missing_compiler_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "cmake" else f"/bin/{name}")
    with pytest.raises(workspace.SetupError, match=r"No 'cmake' was found.*apt install cmake"):
        workspace.need_compiler()


def test_an_old_sourced_ros_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/humble")
    with pytest.raises(workspace.SetupError, match="ROS 2 humble is sourced, but jazzy"):
        workspace.sourced_ros()


def test_a_machine_without_wheels_of_ros_is_told_to_install_one_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(workspace.SetupError, match=r"For aarch64 .* install ROS 2 Jazzy"):
        workspace.need_wheels("")
    workspace.need_wheels("jazzy")
    assert "the simulator is left out" in capsys.readouterr().err


def test_the_workspaces_own_ros_is_not_taken_for_a_sourced_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/elsewhere/install:{workspace.VENV}")
    assert workspace.sourced_ros() == ""


def test_an_unsupported_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "SUPPORTED", ((3, 8), (3, 9)))
    with pytest.raises(workspace.SetupError, match=r"Python 3\.\d+ was found at .*python3"):
        workspace.base_python("")


def test_a_failed_step_shows_its_output_and_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workspace, "LOG", tmp_path / "setup.log")
    command = [sys.executable, "-c", "print('no such wheel'); raise SystemExit(3)"]
    with pytest.raises(workspace.SetupError, match="It could not be installed"):
        workspace.call(command, "It could not be installed")
    assert "no such wheel" in capsys.readouterr().err


def test_a_changed_file_undoes_a_finished_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "VENV", tmp_path)
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    source = tmp_path / "requirements.txt"
    source.write_text("torch==1")
    workspace.done("step", workspace.fingerprint([source]))
    assert workspace.is_done("step", workspace.fingerprint([source]))
    source.write_text("torch==2")
    assert not workspace.is_done("step", workspace.fingerprint([source]))


def test_another_shells_middleware_is_asked_for_only_where_it_may_be_there() -> None:
    assert workspace.overrides("")["RMW_IMPLEMENTATION"] == "rmw_fastrtps_cpp"
    assert "RMW_IMPLEMENTATION" not in workspace.overrides("jazzy")


def test_without_a_command_the_usage_is_shown() -> None:
    done = subprocess.run([sys.executable, SCRIPT], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "tools/workspace.py run COMMAND" in done.stderr


def test_a_user_s_own_place_for_logs_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "a folder"
    (root / "install").mkdir(parents=True)
    (root / "install" / "setup.bash").touch()
    monkeypatch.setattr(workspace, "ROOT", root)
    monkeypatch.setattr(workspace, "VENV", tmp_path)
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    script = f"source {workspace.write_setup_bash('jazzy')} 2> /dev/null; printenv ROS_LOG_DIR"
    for given, kept in (("", f"{root}/log/ros"), ("/mine, too", "/mine, too")):
        done = subprocess.run(
            ["bash", "-c", script],
            env={"PATH": os.environ["PATH"], "ROS_LOG_DIR": given},
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout == f"{kept}\n"


def test_an_unchanged_setup_bash_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "VENV", tmp_path)
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    before = workspace.write_setup_bash("jazzy").stat().st_mtime_ns
    monkeypatch.setattr(Path, "write_text", None)  # whoever calls it fails
    assert workspace.write_setup_bash("jazzy").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/x"), 1, "[Errno 13] Permission denied: '/x'"),
    ],
)
def test_an_interrupted_or_forbidden_set_up_has_no_traceback(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def setup() -> Path:
        raise raised

    monkeypatch.setattr(workspace, "setup", setup)
    assert workspace.main(["setup"]) == code
    assert capsys.readouterr().err == (f"[setup] error: {said}\n" if said else "")
