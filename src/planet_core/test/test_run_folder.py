from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from planet_core.run_folder import NAME, RunFolderError, hold

MEANING = {"control": "torque", "action_repeat": 2}


def test_a_run_goes_on_with_the_meaning_that_it_began_with(tmp_path: Path) -> None:
    hold(tmp_path, MEANING, begin=True)
    hold(tmp_path, MEANING, begin=True)
    assert json.loads((tmp_path / NAME).read_text()) == MEANING


@pytest.mark.parametrize(("name", "value"), [("control", "position"), ("action_repeat", 5)])
def test_another_meaning_is_refused_in_one_sentence(
    tmp_path: Path, name: str, value: str | int
) -> None:
    hold(tmp_path, MEANING, begin=True)
    with pytest.raises(RunFolderError, match=f"holds a run with {name}:=.*, but {name} is {value}"):
        hold(tmp_path, MEANING | {name: value}, begin=True)


def test_a_folder_of_an_earlier_version_keeps_to_its_control(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("position\n")
    with pytest.raises(RunFolderError, match="control:=position, but control is torque"):
        hold(tmp_path, MEANING, begin=True)
    hold(tmp_path, MEANING | {"control": "position"}, begin=True)


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("")
    (tmp_path / "control").write_text("")
    hold(tmp_path, MEANING, begin=True)
    assert json.loads((tmp_path / NAME).read_text()) == MEANING


def test_a_full_disk_leaves_nothing_that_refuses_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="cannot be written: No space left"):
        hold(tmp_path, MEANING, begin=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["a note about quality control", None])
def test_what_is_called_control_by_chance_is_no_concern(tmp_path: Path, other: str | None) -> None:
    if other is None:
        (tmp_path / "control").mkdir()
    else:
        (tmp_path / "control").write_text(other)
    hold(tmp_path, MEANING, begin=False)
    assert not (tmp_path / NAME).exists()
