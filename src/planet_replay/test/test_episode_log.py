"""episodes.csv: one row per episode, whatever ends the process."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from planet_core.durable import DirectoryError
from planet_core.episode import Episode
from planet_replay.episode_log import COLUMNS, EpisodeLog

Make = Callable[..., Episode]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_row_tells_what_the_episode_was(tmp_path: Path, make_episode: Make) -> None:
    path = tmp_path / "metrics" / "episodes.csv"
    EpisodeLog(path).append(4, 1700000000.25, make_episode("e", steps=3))
    (row,) = rows(path)
    assert tuple(row) == COLUMNS
    assert list(row.values()) == [
        *("4", "e", "1700000000.250", "ergojr", "random", "3", "6", "1", "7", "")
    ]


def test_a_row_tells_what_planned_the_episode(tmp_path: Path, make_episode: Make) -> None:
    episode = make_episode("e")
    episode.metadata["planner"] = "int8 AVX2, 1 thread"
    EpisodeLog(tmp_path / "episodes.csv").append(1, 0.0, episode)
    assert rows(tmp_path / "episodes.csv")[0]["planner"] == "int8 AVX2, 1 thread"


def test_a_log_from_before_planners_were_told_goes_on(tmp_path: Path, make_episode: Make) -> None:
    path = tmp_path / "episodes.csv"
    EpisodeLog(path).append(1, 0.0, make_episode("a"))
    lines = [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    log = EpisodeLog(path)
    assert "a" in log
    log.append(2, 0.0, make_episode("b"))
    assert [(row["id"], row["planner"]) for row in rows(path)] == [("a", ""), ("b", "")]


def test_no_episode_has_two_rows_also_after_a_restart(tmp_path: Path, make_episode: Make) -> None:
    path = tmp_path / "episodes.csv"
    for names in (("a", "b", "a"), ("b", "c")):
        log = EpisodeLog(path)
        for name in names:
            log.append(1, 0.0, make_episode(name))
    assert [row["id"] for row in rows(path)] == ["a", "b", "c"]


def test_a_row_cut_by_a_crash_is_written_again(tmp_path: Path, make_episode: Make) -> None:
    path = tmp_path / "episodes.csv"
    log = EpisodeLog(path)
    log.append(1, 0.0, make_episode("a"))
    log.append(2, 0.0, make_episode("b"))
    path.write_bytes(path.read_bytes()[:-5])
    log = EpisodeLog(path)
    assert "a" in log
    assert "b" not in log
    log.append(2, 0.0, make_episode("b"))
    assert [row["id"] for row in rows(path)] == ["a", "b"]


def test_another_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    path.write_text("something,else\n1,2\n")
    with pytest.raises(DirectoryError, match="holds another table"):
        EpisodeLog(path)
