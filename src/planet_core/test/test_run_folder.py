from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from planet_core.run_folder import NAME, RunFolderError, begin, check

MEANING = {"control": "torque", "action_repeat": 2, "control_period": 0.05}


def written(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / NAME).read_text()))


def test_a_run_goes_on_under_its_id_and_with_the_meaning_that_it_began_with(tmp_path: Path) -> None:
    run_id = begin(tmp_path, MEANING)
    assert begin(tmp_path, MEANING) == run_id
    assert written(tmp_path) == {"run_id": run_id, **MEANING}


def test_two_folders_are_two_runs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert begin(tmp_path / "a", MEANING) != begin(tmp_path / "b", MEANING)


@pytest.mark.parametrize(
    ("name", "value"), [("control", "position"), ("action_repeat", 5), ("control_period", 0.1)]
)
def test_another_meaning_is_refused_in_one_sentence(
    tmp_path: Path, name: str, value: str | float
) -> None:
    begin(tmp_path, MEANING)
    for use in (begin, check):
        with pytest.raises(
            RunFolderError, match=f"holds a run with {name}:=.*, but {name} is {value}"
        ):
            use(tmp_path, MEANING | {name: value})


def test_a_folder_of_an_earlier_version_keeps_to_its_control(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("position\n")
    with pytest.raises(RunFolderError, match="control:=position, but control is torque"):
        begin(tmp_path, MEANING)
    begin(tmp_path, MEANING | {"control": "position"})
    assert written(tmp_path)["control"] == "position"


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("")
    (tmp_path / "control").write_text("")
    begin(tmp_path, MEANING)
    assert written(tmp_path).items() >= MEANING.items()


@pytest.mark.parametrize("text", ["{", "[1]", "no json"])
def test_a_damaged_file_is_told_and_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(RunFolderError, match=f"{NAME} is damaged"):
        begin(tmp_path, MEANING)
    assert (tmp_path / NAME).read_text() == text


def test_a_full_disk_leaves_nothing_that_refuses_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="cannot be written: No space left"):
        begin(tmp_path, MEANING)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["a note about quality control", None])
def test_what_is_called_control_by_chance_is_no_concern(tmp_path: Path, other: str | None) -> None:
    if other is None:
        (tmp_path / "control").mkdir()
    else:
        (tmp_path / "control").write_text(other)
    assert check(tmp_path, MEANING) == {}
