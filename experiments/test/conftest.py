"""A definition, and a stand-in for `ros2` that writes the files that a launch would leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import runner

DEFINITION: dict[str, Any] = {
    "title": "A comparison",
    "minutes": 0.02,
    "seeds": [0, 1],
    "evaluation": {"every": 0.005, "episodes": 4, "final_episodes": 6, "seed": 3_000_000},
    "launch": {"profile": "test"},
    "parameters": {"learner": {"batch_size": 4, "model": {"conv_depth": 2}}},
    "methods": [
        {"name": "async"},
        {
            "name": "sync C = 10",
            "launch": {"mode": "sync", "collect_interval": 10, "real_time_factor": 1.0},
            "parameters": {"learner": {"model": {"observation": "state"}}},
            "seeds": [1],
        },
    ],
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes the definition with some entries replaced."""

    def written(**changes: Any) -> Path:
        path = tmp_path / "comparison.yaml"
        path.write_text(yaml.safe_dump({**DEFINITION, **changes}))
        return path

    return written


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in first on PATH; return the file that tells its launches."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = Path(__file__).with_name("stand_in_ros2.py")
    (folder / "ros2").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
    (folder / "ros2").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "launches"))
    monkeypatch.setenv("ROS_DOMAIN_ID", "61")
    monkeypatch.setattr(runner, "_POLL", 0.05)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # whatever else runs here
    return tmp_path / "launches"
