"""The figure of a run: its numbers must be the run's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.poke import draw, moving_mean, read

HEADER = "sequence,id,wall_time,robot,policy,steps,return,touched,weights_version\n"


def write(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    (folder / "episodes.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return folder


def test_touches_and_times_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = ["1,a,100.0,ergojr,random,50,-9.5,0,0", "2,b,160.0,ergojr,planner,7,-0.5,1,3"]
    run = read(write(tmp_path / "seed_4", rows))
    assert (run.name, run.last_touches) == ("seed 4", 1)
    np.testing.assert_allclose(run.minutes, [0.0, 1.0])
    np.testing.assert_array_equal(run.planned, [False, True])


def test_only_the_last_twenty_episodes_count_as_last(tmp_path: Path) -> None:
    rows = [f"{n},e{n},{n}.0,ergojr,planner,7,-0.5,{int(n < 10)},3" for n in range(30)]
    assert read(write(tmp_path / "run", rows)).last_touches == 0


def test_a_run_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"episodes\.csv holds no episode"):
        read(write(tmp_path / "run", []))


def test_the_moving_mean_looks_back_only() -> None:
    values = np.array([1.0, 3.0, 5.0, 7.0])
    np.testing.assert_allclose(moving_mean(values, window=2), [1.0, 2.0, 4.0, 6.0])


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    rows = [f"{n},e{n},{n}.0,ergojr,planner,7,-0.5,1,3" for n in range(3)]
    draw([read(write(tmp_path / "run", rows))], tmp_path / "poke.png")
    assert (tmp_path / "poke.png").stat().st_size > 1000
