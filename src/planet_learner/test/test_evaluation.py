"""Which episodes count, what they amount to, where a model is read from, and the video."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
from safetensors import numpy

from planet_core import durable
from planet_core.episode import Episode
from planet_core.weights import Weights, to_file
from planet_learner import evaluation, evaluation_video
from planet_learner.checkpoint import Checkpoints
from planet_learner.config import EvaluatorConfig
from planet_learner.evaluation import Evaluation, EvaluationError, Trained, wilson
from planet_model.actor import PlanetActor
from planet_model.agent import Agent
from planet_model.config import ModelConfig, ObjectiveConfig, PlannerConfig, TrainingConfig
from planet_model.trainer import PlanetTrainer
from planet_model.world_model import WorldModel

CONFIG = ModelConfig(
    cameras=("camera_0", "camera_1"),
    action_size=2,
    deterministic_size=8,
    stochastic_size=4,
    hidden_size=8,
    embedding_size=16,
    conv_depth=2,
)
PLANNER = PlannerConfig(planner="random")
VERSION = 8  # of the weights that are evaluated
Make = Callable[..., Episode]


@pytest.fixture
def make_played(make_episode: Make) -> Make:
    def make(
        seed: int,
        touched: bool = False,
        version: int = VERSION,
        policy: str = "evaluation",
        steps: int = 6,
    ) -> Episode:
        episode = make_episode(f"e{seed}", policy, steps=steps, cameras=2)
        metadata = {**episode.metadata, "seed": str(seed)}
        last = np.arange(steps + 1) == steps
        return dataclasses.replace(
            episode, metadata=metadata, touched=last & touched, weights_version=version
        )

    return make


def trained(path: Path = Path("poke.safetensors")) -> Trained:
    weights = PlanetTrainer(CONFIG, ObjectiveConfig(), TrainingConfig()).weights(full=True)
    return Trained(path, dataclasses.replace(weights, update=12))


def save(directory: Path, update: int) -> PlanetTrainer:
    """Write a checkpoint as the learner does."""
    trainer = PlanetTrainer(CONFIG, ObjectiveConfig(), TrainingConfig(), seed=update)
    checkpoints = Checkpoints(directory / "checkpoints", logging.getLogger("test"))
    values = {"progress": {"update": update}, **trainer.configuration}
    checkpoints.save(update, trainer.state(), values)
    checkpoints.close()
    return trainer


def test_an_evaluation_has_each_seed_once_and_nothing_that_was_there_before(
    make_played: Make,
) -> None:
    judge = Evaluation(EvaluatorConfig("run", episodes=2, seed=30), VERSION)
    assert judge.add(make_played(30, version=7)) is None  # of an evaluation before
    assert judge.add(make_played(30, policy="random")) is None
    assert judge.add(make_played(30, touched=True)) is not None
    assert judge.add(make_played(30)) is None  # the roller began anew
    assert not judge.complete
    assert judge.add(make_played(31)) is not None
    assert judge.complete
    assert judge.add(make_played(32)) is None  # one too many
    assert [(row.episode, row.seed, row.touched) for row in judge.rows] == [
        (0, 30, True),
        (1, 31, False),
    ]


def test_an_episode_made_again_counts_as_life_and_an_old_one_does_not(make_played: Make) -> None:
    judge = Evaluation(EvaluatorConfig("run", episodes=2, seed=30), VERSION)
    assert judge.shows_life(make_played(30))
    judge.add(make_played(30))
    assert judge.shows_life(make_played(30))  # the roller was started again
    assert not judge.shows_life(make_played(31, version=7))
    assert not judge.shows_life(make_played(31, policy="random"))


def test_a_clock_that_is_set_back_spoils_neither_the_episodes_nor_the_time(
    make_played: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Evaluation(EvaluatorConfig("run", episodes=1, seed=30), VERSION)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert judge.add(make_played(30)) is not None  # it says that it was made in 1970
    assert judge.summary(trained())["seconds"] >= 0.0


def test_an_unreadable_episode_is_named_and_does_not_end_the_evaluation(
    make_played: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = durable.write(tmp_path, "000000000001_e30", make_played(30).to_bytes())
    read = evaluation.read_episode(path)
    assert read is not None
    assert read.metadata["seed"] == "30"
    flip_a_bit(path)
    nonsense = durable.write(tmp_path, "000000000002_e31", b"nonsense")
    (tmp_path / "directory.00000000.safetensors").mkdir()
    for bad in (path, nonsense, tmp_path / "directory.00000000.safetensors"):
        assert evaluation.read_episode(bad) is None
        assert capsys.readouterr().out.startswith(f"{bad} is passed over: ")
    assert evaluation.read_episode(tmp_path / "evicted.00000000.safetensors") is None
    assert capsys.readouterr().out == ""


def test_an_evaluation_that_misses_an_episode_ends_once_the_roller_is_past_the_last(
    make_played: Make,
) -> None:
    judge = Evaluation(EvaluatorConfig("run", episodes=4, seed=30), VERSION)
    for seed in (30, 32):
        judge.add(make_played(seed))
    with pytest.raises(EvaluationError, match="the episodes 1, 3 were made but could not be read"):
        judge.add(make_played(34))


def test_the_table_and_the_summary_are_of_the_same_episodes(
    make_played: Make, tmp_path: Path
) -> None:
    config = EvaluatorConfig("run", episodes=3, seed=30, real_time_factor=1.0)
    judge = Evaluation(config, VERSION)
    episodes = [make_played(30, True, steps=4), make_played(31, True, steps=6), make_played(32)]
    for episode in episodes:
        judge.add(episode)
    judge.write(tmp_path, trained())
    with (tmp_path / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["episode", "seed", "touched", "steps", "return"]
    assert [row["touched"] for row in rows] == ["1", "1", "0"]
    found = json.loads((tmp_path / "evaluation.json").read_text())
    returns = [episode.episode_return for episode in episodes]
    assert found["return_mean"] == pytest.approx(np.mean(returns))
    assert [float(row["return"]) for row in rows] == pytest.approx(returns, rel=1e-5)
    assert (found["episodes"], found["touched"]) == (3, 2)
    assert found["steps_to_touch_median"] == 5.0
    assert found["touch_rate_low"] < found["touch_rate"] < found["touch_rate_high"]
    assert (found["update"], found["seed"], found["real_time_factor"]) == (12, 30, 1.0)


def test_without_a_touch_there_is_no_time_to_one(make_played: Make, tmp_path: Path) -> None:
    judge = Evaluation(EvaluatorConfig("run", episodes=1, seed=30), VERSION)
    judge.add(make_played(30))
    assert judge.write(tmp_path, trained())["steps_to_touch_median"] is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # R: prop.test(x, n, correct = FALSE)
    [(95, 100, 0.888250, 0.978456), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0)],
)
def test_the_interval_is_wilson_s(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_a_run_s_newest_checkpoint_is_read_and_each_by_its_name(tmp_path: Path) -> None:
    older, newest = save(tmp_path, 5), save(tmp_path, 20)
    read = evaluation.read(tmp_path)
    assert read.weights.update == 20
    assert same(read.weights, newest.weights(full=True))
    path = min((tmp_path / "checkpoints").glob("checkpoint_*"))
    os.link(path, tmp_path / "snapshot")
    read = evaluation.read(tmp_path / "snapshot")
    assert read.weights.update == 5
    assert same(read.weights, older.weights(full=True))


def test_a_corrupt_checkpoint_is_named_and_never_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for update in (5, 20):
        save(tmp_path, update)
    oldest, newest = sorted((tmp_path / "checkpoints").glob("checkpoint_*"))
    flip_a_bit(newest)
    assert evaluation.read(tmp_path).weights.update == 5
    said = capsys.readouterr().out
    assert said.startswith(f"{newest} is corrupt: its ")
    assert said.endswith(" the checksum in its name, so the one before it is taken.\n")
    assert newest.exists()  # it is the run's
    with pytest.raises(EvaluationError, match="is corrupt"):
        evaluation.read(newest)
    flip_a_bit(oldest)
    with pytest.raises(EvaluationError, match="is corrupt") as caught:
        evaluation.read(tmp_path)
    assert str(oldest) in str(caught.value)


def same(one: Weights, other: Weights) -> bool:
    tensors = [numpy.load(weights.data) for weights in (one, other)]
    return (
        one.config_json == other.config_json
        and tensors[0].keys() == tensors[1].keys()
        and all(np.array_equal(value, tensors[1][name]) for name, value in tensors[0].items())
    )


def flip_a_bit(path: Path) -> None:
    """In the last tensor, where nothing but the checksum tells."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """The function of evaluate.launch.py, with stand-ins for what it imports of ROS."""
    for name in ("launch", "launch.actions", "planet_bringup", "planet_bringup.launching"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    found: Callable[[Path, Path], None] = runpy.run_path("launch/evaluate.launch.py")["clear"]
    return found


def test_no_result_of_an_earlier_evaluation_is_taken_for_this_one_s(
    clear: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    for name in ("evaluation.json", "evaluation.csv", "video.webm", "weights.safetensors"):
        (tmp_path / name).write_text("old")
    (tmp_path / "episodes").mkdir()
    clear(tmp_path, tmp_path / "elsewhere")
    assert [path.name for path in tmp_path.iterdir()] == ["episodes"]
    clear(tmp_path, tmp_path / "elsewhere")  # there is nothing to delete


def test_the_model_to_evaluate_is_not_deleted_as_an_earlier_result(
    clear: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    data_dir = tmp_path / "evaluation"
    data_dir.mkdir()
    (tmp_path / "link").symlink_to(data_dir)
    for name in ("evaluation.json", "weights.safetensors"):
        (data_dir / name).write_text("old")
    clear(data_dir, tmp_path / "link" / "weights.safetensors")
    assert [path.name for path in data_dir.iterdir()] == ["weights.safetensors"]


def test_a_weights_file_is_read_as_a_checkpoint_is(tmp_path: Path) -> None:
    one = trained(tmp_path / "weights.safetensors")
    one.path.write_bytes(to_file(one.weights))
    read = evaluation.read(one.path)
    assert read.weights.config_json == one.weights.config_json
    assert read.weights.update == 12
    exact, rounded = (numpy.load(w.data) for w in (one.weights, read.weights))
    for name, value in exact.items():
        np.testing.assert_allclose(rounded[name], value, rtol=2**-8)


def test_what_holds_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no tensors")
    for path, sentence in [
        (tmp_path, "holds no checkpoint"),
        (tmp_path / "nothing", "there is no checkpoint"),
        (tmp_path / "notes.txt", "is no checkpoint and no weights file"),
    ]:
        with pytest.raises(EvaluationError, match=sentence) as caught:
            evaluation.read(path)
        assert str(path) in str(caught.value)


def test_the_video_shows_every_observation_and_marks_the_touch(
    make_played: Make, tmp_path: Path
) -> None:
    episodes = [(0, make_played(30, touched=True)), (1, make_played(31))]
    path = tmp_path / "video.webm"
    evaluation_video.write(path, trained().weights, episodes)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1].astype(int))
    seconds = sum(evaluation_video.duration(episode) for _, episode in episodes)
    assert len(frames) == round(seconds * 0.5 / 0.05)  # at half speed
    # Seen is left, with both cameras in it; green is written at the touch and not before.
    images = episodes[0][1].images[0]
    seen = frames[0][44:300, 24:280].reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(seen - images[:, :64]).mean() < 20
    foot = [frame[-56:, -200:] for frame in frames]
    green = [int(((f[..., 1] - f[..., 0]) > 60).sum()) for f in foot]
    assert green[5] == 0 < green[6]


def test_there_is_no_video_of_a_robot_without_cameras(make_episode: Make, tmp_path: Path) -> None:
    path = tmp_path / "video.webm"
    with pytest.raises(evaluation_video.VideoError, match="'robot' has no camera to be seen by"):
        evaluation_video.write(path, trained().weights, [(0, make_episode(cameras=0))])
    assert not path.exists()


def test_without_decoders_the_video_shows_what_was_seen(make_played: Make) -> None:
    full, alone = (
        next(
            evaluation_video.frames(0, make_played(30), PlanetActor(Agent(model, PLANNER, 0), 0.0))
        )
        for model in (WorldModel(CONFIG), WorldModel(CONFIG, with_decoder=False))
    )
    assert alone.shape[1] < full.shape[1]
    assert (alone[44:300, 24:280] == full[44:300, 24:280]).all()
