"""The learning curve loses nothing that a report needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.learning_curve import INTERVALS, LearningCurve

START = 1_000_000.0


def curve(
    episodes: list[tuple[float, str, int, float]],
    updates: list[tuple[float, int]],
    minutes: float = 10.0,
) -> LearningCurve:
    """Of episodes (second, policy, steps, return) and updates (second, number)."""
    return LearningCurve.of(
        [
            {"wall_time": f"{START + s}", "policy": p, "steps": f"{n}", "return": f"{r}"}
            for s, p, n, r in episodes
        ],
        [{"wall_time": f"{START + s}", "update": f"{n}"} for s, n in updates],
        START,
        minutes,
    )


def test_what_ends_after_the_time_is_up_is_counted() -> None:
    found = curve([(30.0, "random", 50, -9.0), (601.0, "planner", 5, -1.0)], [(602.0, 400)])
    assert found.minutes[-1] == pytest.approx(602 / 60)
    assert (found.episodes[-1], found.decisions[-1], found.updates[-1]) == (2, 55, 400)


def test_evaluations_are_episodes_and_no_training_episodes() -> None:
    found = curve([(30.0, "random", 50, -9.0), (90.0, "evaluation", 5, -1.0)], [])
    assert (found.episodes[-1], found.training_episodes[-1]) == (2, 1)
    assert found.training_return[-1] == -9.0


def test_returns_are_in_the_bin_in_which_their_episode_ended() -> None:
    found = curve([(59.0, "random", 50, -8.0), (61.0, "random", 50, -4.0)], [])
    np.testing.assert_allclose(found.binned_returns(10), [-8.0, -4.0, *[np.nan] * 8])


def test_between_two_rows_of_metrics_updates_are_steady() -> None:
    found = curve([], [(300.0, 1000), (600.0, 3000)])
    np.testing.assert_allclose(found.updates[:: INTERVALS // 4], [0, 500, 1000, 2000, 3000])


def test_a_run_without_an_episode_has_a_curve() -> None:
    assert curve([], []).episodes[-1] == 0


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = curve([(30.0, "random", 50, -9.1234)], [(40.0, 10)])
    written.write(tmp_path / "curve.csv")
    read = LearningCurve.read(tmp_path / "curve.csv")
    for name, values in vars(written).items():
        np.testing.assert_allclose(getattr(read, name), values, rtol=1e-6)


def test_a_file_that_was_cut_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    curve([], []).write(path)
    path.write_text(path.read_text()[:500])
    with pytest.raises(ValueError, match="rows, expected 201"):
        LearningCurve.read(path)
