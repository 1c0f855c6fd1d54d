"""The point's world, its oracle, the runs and their report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from safetensors.numpy import load_file

from experiments import tables
from experiments.point_push import training
from experiments.point_push.__main__ import finished
from experiments.point_push.environment import (
    PointPush,
    advance,
    oracle_action,
    reward_at,
)
from experiments.point_push.open_loop import CONTEXT, PREDICTED, films
from experiments.point_push.report import interval, normalised, read, report
from experiments.point_push.rollout import OraclePolicy, play
from experiments.point_push.training import VARIANTS, Schedule, run
from experiments.tables import Array
from planet_roller.policy import RandomPolicy

TINY = Schedule(
    seed_episodes=2,
    episodes=3,
    pretrain_updates=2,
    collect_interval=1,
    steps=5,
    evaluation_interval=2,
    evaluation_episodes=1,
    final_episodes=2,
    open_loop_episodes=1,
)


def picture(position: list[float], goal: list[float]) -> NDArray[np.float64]:
    """What both cameras see, [camera, 64, 64, 3]."""
    world = PointPush()
    world.reset(seed=0)
    world.position, world.velocity = np.array(position), np.zeros(2)
    world.goal = np.array(goal)
    image, *_ = world.step(np.zeros(2, np.float32))
    return np.stack(np.split(image.astype(np.float64), 2, 1))


def middle(image: Array, colour: tuple[bool, bool]) -> tuple[float, float]:
    """Mean column and row of the pixels that are red, and green, or not."""
    rows, columns = np.nonzero(((image[..., :2] > 140) == colour).all(-1))
    return float(columns.mean()), float(rows.mean())


POINT, GOAL = (False, True), (True, False)  # the point glows green, the goal red


def test_gymnasiums_checker_is_content() -> None:
    check_env(PointPush(), skip_render_check=True)


def test_the_same_seed_makes_the_same_episode() -> None:
    world = PointPush()
    one, two, other = (play(world, OraclePolicy(world), seed, "e") for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.reward, two.reward)
    assert (one.images != other.images).any()


def test_an_episode_ends_when_its_time_is_up_and_never_terminates() -> None:
    world = PointPush(steps=7)
    episode = play(world, OraclePolicy(world), 0, "e")
    assert episode.steps == 7
    assert episode.truncated[-1]
    assert not episode.terminated.any()


def test_the_reward_falls_from_one_with_the_distance() -> None:
    place = np.array([[0.0, 0.0], [0.0, 0.4], [0.8, 0.0]])
    np.testing.assert_allclose(reward_at(place, np.zeros(2)), [1.0, 0.5, 0.2])


def test_a_push_changes_the_velocity_and_not_at_once_the_place() -> None:
    position, velocity = advance(np.zeros(2), np.zeros(2), np.array([1.0, 0.0]))
    assert velocity[0] > 0.25
    for _ in range(3):  # it coasts, ever more slowly
        further, slower = advance(position, velocity, np.zeros(2))
        assert further[0] > position[0]
        assert 0 < slower[0] < velocity[0]
        position, velocity = further, slower
    assert position[1] == velocity[1] == 0


def test_a_wall_stops_the_point() -> None:
    position, velocity = advance(np.array([0.99, 0.0]), np.array([2.0, 0.5]), np.zeros(2))
    assert (position[0], velocity[0]) == (1.0, 0.0)
    assert velocity[1] > 0


def test_one_picture_does_not_tell_the_velocity() -> None:
    world = PointPush()
    world.reset(seed=0)
    before = world.position.copy()
    images = []
    for speed in (-1.0, 1.0):
        world.velocity = np.array([1.15 * speed, 0.0])  # 0.1 m per decision
        world.position = before - [0.1 * speed, 0.0]
        images.append(world.step(np.zeros(2, np.float32))[0])
        np.testing.assert_allclose(world.position, before, atol=1e-9)
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize("colour", [POINT, GOAL])
def test_each_camera_sees_across_its_view_and_into_the_depth(colour: tuple[bool, bool]) -> None:
    def seen(x: float, y: float) -> list[tuple[float, float]]:
        away = [-0.6, -0.6]
        images = picture([x, y], away) if colour == POINT else picture(away, [x, y])
        return [middle(image, colour) for image in images]

    (front, side), (front_x, side_x), (front_y, side_y) = seen(0, 0), seen(0.5, 0), seen(0, 0.5)
    assert front_x[0] > front[0] + 5  # x is to the right from the front, and as high
    assert abs(front_x[1] - front[1]) < 1
    assert side_y[0] > side[0] + 5  # y is to the right from the side
    assert abs(side_y[1] - side[1]) < 1
    assert front_y[1] < front[1] - 2  # +y is away from the front camera, so up
    assert side_x[1] > side[1] + 2  # +x is towards the side camera, so down
    assert abs(front[0] - 31.5) < 1
    assert abs(side[0] - 31.5) < 1


def test_a_centimetre_shows_in_five_bits() -> None:
    here, there = (picture([x, 0.3], [-0.5, -0.5]) // 8 for x in (0.2, 0.21))
    assert (here[0] != there[0]).any()


def test_the_middle_of_the_point_is_in_the_picture_in_every_corner() -> None:
    for x in (-1.0, 1.0):
        for y in (-1.0, 1.0):
            for image in picture([x, y], [0.0, 0.0]):
                place = np.unravel_index(image[..., 1].argmax(), image.shape[:2])
                assert image[place][1] > 200
                assert min(place) > 3
                assert max(place) < 60


def returns(world: PointPush, policy: OraclePolicy | RandomPolicy) -> float:
    return float(np.mean([play(world, policy, n, "e").episode_return for n in range(20)]))


def test_the_oracle_is_far_better_than_random_actions() -> None:
    world = PointPush()
    random = returns(world, RandomPolicy(2, [1], np.random.default_rng(0)))
    assert random < 9
    assert returns(world, OraclePolicy(world)) > 26


def test_a_search_on_the_true_dynamics_hardly_betters_the_oracle() -> None:
    """CEM over whole episodes, started from the oracle's own actions."""
    rng = np.random.default_rng(0)
    steps, candidates = 30, 400
    for _ in range(4):
        start, goal = rng.uniform(-0.8, 0.8, (2, 2))
        position: Array = start
        velocity: Array = np.zeros(2)
        actions, own = np.zeros((steps, 2)), 0.0
        for t in range(steps):
            actions[t] = oracle_action(position, velocity, goal)
            position, velocity = advance(position, velocity, actions[t])
            own += float(reward_at(position, goal))
        best, std = 0.0, np.full((steps, 2), 0.5)
        for _ in range(20):
            tried = actions + std * rng.standard_normal((candidates, steps, 2))
            position, velocity = np.tile(start, (candidates, 1)), np.zeros((candidates, 2))
            total = np.zeros(candidates)
            for t in range(steps):
                position, velocity = advance(position, velocity, tried[:, t])
                total += reward_at(position, goal)
            elites = tried[np.argsort(-total)[:40]]
            actions, std = elites.mean(0), elites.std(0)
            best = max(best, float(total.max()))
        assert best < 1.01 * own


def test_the_films_move_all_the_time() -> None:
    (film,) = films(1)
    assert film.frame_count == CONTEXT + PREDICTED
    speed = np.linalg.norm(np.diff(film.position, axis=0), axis=1)
    assert speed[CONTEXT:].mean() > 0.02


def test_the_interval_is_students() -> None:
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    assert np.isnan(interval([1.0])[1])


def test_the_normalised_return_is_0_for_random_actions_and_1_for_the_oracle() -> None:
    assert normalised(3.0, random=3.0, oracle=25.0) == 0.0
    assert normalised(25.0, random=3.0, oracle=25.0) == 1.0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(training.MODEL, deterministic_size=8, hidden_size=8, conv_depth=1)
    monkeypatch.setattr(training, "MODEL", replace(model, embedding_size=8))
    planner = replace(training.CEM, horizon=2, iterations=1, candidates=4, elites=2)
    variant = replace(VARIANTS["rssm"], acting=planner, evaluated=planner)
    monkeypatch.setitem(VARIANTS, "rssm", variant)
    monkeypatch.setitem(VARIANTS, "random_collection", replace(variant, acting=None))


@pytest.mark.usefixtures("small")
def test_a_run_follows_its_schedule(tmp_path: Path) -> None:
    run("rssm", 0, TINY, tmp_path)
    policies = [row["policy"] for row in tables.read(tmp_path / "episodes.csv")]
    assert policies == ["random", "random", "planner"]
    assert [row["updates"] for row in tables.read(tmp_path / "episodes.csv")] == ["0", "2", "3"]
    evaluated = [
        (row["episodes"], row["held_out"]) for row in tables.read(tmp_path / "evaluations.csv")
    ]
    assert evaluated == [("2", "0"), ("3", "0"), ("3", "1")]
    assert len(tables.read(tmp_path / "open_loop.csv")) == PREDICTED


@pytest.mark.usefixtures("small")
def test_a_run_depends_on_its_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run("rssm", seed, TINY, tmp_path / name)
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all((a[name] == b[name]).all() for name in a)
    assert any((a[name] != c[name]).any() for name in a)


@pytest.mark.usefixtures("small")
def test_random_collection_never_plans_but_is_evaluated_planning(tmp_path: Path) -> None:
    run("random_collection", 0, TINY, tmp_path)
    assert {row["policy"] for row in tables.read(tmp_path / "episodes.csv")} == {"random"}
    assert len(tables.read(tmp_path / "evaluations.csv")) == 3


@pytest.mark.usefixtures("small")
def test_the_report_is_of_the_runs(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("rssm", "random", "oracle"):
        for seed in (0, 1):
            run(name, seed, TINY, runs / f"{name}_{seed}")
    text = report(runs, tmp_path / "report")
    oracle = next(line for line in text.splitlines() if line.startswith("| oracle"))
    assert "| 100.0 ± 0.0 | 1.000 ± 0.000 | 1.000 1.000 |" in oracle
    for name in ("learning.png", "open_loop.png", "prediction.png"):
        assert (tmp_path / "report" / name).stat().st_size > 1000
    kept = tmp_path / "report/runs/rssm_0"
    assert read(kept).returns[-1] == read(runs / "rssm_0").returns[-1]
    # A report is small enough for git.
    assert {path.name for path in kept.iterdir()} == {
        "evaluations.csv",
        "open_loop.csv",
        "run.json",
    }


def test_a_report_without_references_is_refused(tmp_path: Path) -> None:
    run("oracle", 0, TINY, tmp_path / "oracle_0")
    with pytest.raises(ValueError, match="no finished run of 'random'"):
        report(tmp_path, tmp_path / "report")


def test_a_finished_run_is_not_made_again_and_another_schedule_is_refused(tmp_path: Path) -> None:
    assert not finished(tmp_path, TINY)
    run("oracle", 0, TINY, tmp_path)
    assert finished(tmp_path, TINY)
    with pytest.raises(ValueError, match="another schedule"):
        finished(tmp_path, replace(TINY, steps=6))
    assert json.loads((tmp_path / "run.json").read_text())["variant"] == "oracle"
