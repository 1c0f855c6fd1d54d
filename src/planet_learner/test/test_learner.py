"""How many updates, on which episodes, and what is published when."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import threading
from pathlib import Path

import pytest
import torch

from planet_core import durable
from planet_learner import mirror as mirror_module
from planet_learner.learner import MAX_FAILURES, LearnerError
from planet_model.config import ModelConfig, NetworkConfig, ObjectiveConfig


def versions(rig) -> list[tuple[int, int, int]]:
    return [(p.version, p.update, p.replay_sequence) for p in rig.publications]


# async


def test_async_makes_the_seed_episodes_part_of_the_first_updates_and_no_more(rig) -> None:
    rig.start(seed_episodes=2, pretrain_updates=5)
    rig.replay.add()
    rig.replay.add("evaluation")
    rig.steps(5)
    assert rig.trainer.count == 2
    assert rig.reports["training"] == ("ok", "waiting for seed episodes: 1 of 2")
    rig.replay.add()
    rig.steps(5)
    assert rig.trainer.count == 7


@pytest.mark.parametrize("pretrain_updates", [1, 3, 100])
def test_async_publishes_nothing_that_has_not_seen_all_seed_episodes(
    rig, pretrain_updates: int
) -> None:
    rig.start(seed_episodes=3, pretrain_updates=pretrain_updates)
    for _ in range(2):
        rig.replay.add()
        rig.steps(200)
    assert rig.publications == []
    rig.replay.add()
    rig.steps(200)
    assert versions(rig)[0] == (1, pretrain_updates, 3)


def test_sync_makes_no_update_before_the_seed_episodes(rig) -> None:
    rig.start(mode="sync")
    rig.replay.add()
    rig.steps(5)
    assert rig.trainer.count == 0
    assert rig.reports["training"] == ("ok", "waiting for seed episodes: 1 of 2")


def test_async_first_publishes_after_pretraining_and_then_by_updates(rig) -> None:
    rig.start(publish_updates=4)
    rig.replay.add()
    rig.replay.add()
    rig.steps(14)
    assert versions(rig) == [(1, 5, 2), (2, 9, 2), (3, 13, 2)]


def test_async_publishes_by_time_when_that_comes_first(rig) -> None:
    rig.start(publish_updates=100, publish_seconds=10.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(25, seconds=1.0)
    assert [update for _, update, _ in versions(rig)] == [5, 15, 25]


def test_async_trains_on_a_new_episode_from_the_next_update_on(rig) -> None:
    rig.start(publish_updates=1)
    rig.replay.add()
    rig.replay.add()
    rig.steps(5)
    rig.replay.add()
    rig.steps(2)
    assert rig.trainer.seen == [2, 2, 2, 2, 2, 3, 3]
    assert versions(rig) == [(1, 5, 2), (2, 6, 3), (3, 7, 3)]


def test_training_goes_on_while_the_replay_is_down(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(3)
    rig.replay.up = False
    rig.time += 10.0
    rig.replay.pump()
    rig.steps(3)
    assert rig.trainer.count == 6
    assert rig.reports["replay"][0] == "warn"
    rig.replay.up = True
    rig.replay.add()
    rig.steps(1)
    assert rig.trainer.seen[-1] == 3
    assert rig.reports["replay"][0] == "ok"


# sync


def test_sync_makes_exactly_the_updates_of_algorithm_1(rig) -> None:
    rig.start(mode="sync")
    for _ in range(4):
        rig.replay.add()
        rig.steps(20)
    assert rig.trainer.seen == [2] * 5 + [3] * 3 + [4] * 3
    assert versions(rig) == [(1, 5, 2), (2, 8, 3), (3, 11, 4)]


def test_sync_trains_on_waiting_episodes_one_after_the_other(rig) -> None:
    rig.start(mode="sync")
    for _ in range(4):
        rig.replay.add()
    rig.steps(50)
    assert rig.trainer.seen == [2] * 5 + [3] * 3 + [4] * 3
    assert versions(rig) == [(1, 5, 2), (2, 8, 3), (3, 11, 4)]


def test_sync_answers_an_evaluation_episode_with_the_same_weights(rig) -> None:
    rig.start(mode="sync")
    for policy in ("random", "random", "evaluation"):
        rig.replay.add(policy)
    rig.steps(50)
    assert rig.trainer.count == 5
    assert versions(rig) == [(1, 5, 2), (1, 5, 3)]
    assert rig.publications[0].data == rig.publications[1].data


@pytest.mark.parametrize("restarted", [False, True])
def test_sync_acknowledges_an_episode_that_the_replay_has_lost(rig, restarted: bool) -> None:
    rig.start(mode="sync")
    for _ in range(3):
        rig.replay.add()
    rig.steps(20)
    if restarted:
        rig.end()
        rig.start(mode="sync")
        rig.learner._publish()  # as `run` does
    version = rig.publications[-1].version
    rig.replay.newest += 1
    rig.replay.pump()
    rig.steps(20)
    assert versions(rig)[-1] == (version, 8, 4)
    assert (len(rig.publications), rig.learner._progress.update) == (version + 1, 8)
    rig.replay.add()
    rig.steps(20)
    assert versions(rig)[-1] == (version + 1, 11, 5)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("after", range(1, 12))
def test_sync_makes_exactly_the_missing_updates_after_a_restart(
    rig, after: int, killed: bool
) -> None:
    rig.start(mode="sync", checkpoint_seconds=4.0)
    for _ in range(3):
        rig.replay.add()
    rig.steps(after, seconds=1.0)
    rig.kill() if killed else rig.end()
    rig.start(mode="sync")
    saved = rig.learner._progress.update
    checkpoint = 0 if after < 5 else 5 if after < 9 else 8
    assert saved == (checkpoint if killed else min(after, 8))
    rig.steps(20)
    rig.replay.add()
    rig.steps(20)
    assert rig.learner._progress.update == 5 + 3 + 3
    schedule = [2] * 5 + [3] * 3 + [4] * 3
    assert rig.trainer.seen == schedule[saved:]
    assert rig.publications[-1].replay_sequence == 4


# Starting again


def test_a_resumed_learner_publishes_at_once_and_a_new_version(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(7)
    rig.end()
    before = rig.publications[-1]
    rig.replay.up = False
    rig.start()
    rig.end()
    assert len(rig.publications) == 2
    again = rig.publications[-1]
    assert (again.version, again.update) == (before.version + 1, 7)
    assert again.run_id == before.run_id


def test_a_version_is_never_given_twice_even_after_a_kill(rig) -> None:
    for _ in range(3):
        rig.start(publish_updates=1, pretrain_updates=1)
        if not rig.replay.episodes:
            rig.replay.add()
            rig.replay.add()
        rig.steps(3)
        rig.kill()
    assert [p.version for p in rig.publications] == list(range(1, 10))


def test_nothing_is_published_by_a_learner_that_never_pretrained(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(2)
    rig.end()
    rig.start()
    rig.end()
    assert rig.publications == []


def test_a_resumed_learner_receives_the_replay_before_it_trains(rig) -> None:
    rig.start()
    for _ in range(4):
        rig.replay.add()
    rig.steps(6)
    rig.end()
    rig.replay.up = False
    rig.start()
    rig.steps(2)
    assert rig.trainer.count == 6
    rig.replay.up = True
    rig.replay.feed.poll(True)  # the first two of four
    rig.steps(2)
    assert rig.trainer.count == 6
    level, sentence = rig.reports["training"]
    assert level == "warn"
    assert "started again" in sentence
    assert "waiting for the replay's episodes" in sentence
    rig.replay.pump()
    rig.steps(2)
    assert rig.trainer.seen == [4, 4]
    assert rig.reports["training"] == ("warn", "started again: training")  # who comes late hears it
    rig.time += 10.0
    rig.steps(1)
    assert rig.reports["training"] == ("ok", "training")


def test_a_replay_that_was_replaced_starts_the_mirror_afresh(rig, caplog) -> None:
    rig.start()
    for _ in range(3):
        rig.replay.add()
    rig.steps(5)
    rig.replay.episodes.clear()
    rig.replay.newest = 0
    rig.replay.add()
    rig.steps(3)
    assert "the replay was replaced" in caplog.text
    assert rig.learner._mirror.newest_sequence == 1
    assert rig.trainer.count == 5
    rig.replay.add()
    rig.steps(3)
    assert rig.trainer.seen[5:] == [2, 2, 2]


def test_a_replay_replaced_while_the_learner_was_down_is_noticed(rig, caplog) -> None:
    rig.start(mode="sync")
    for _ in range(4):
        rig.replay.add()
    rig.steps(20)
    rig.end()
    rig.replay.episodes.clear()
    rig.replay.newest = 0
    rig.start(mode="sync")
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    assert "the replay was replaced" in caplog.text
    before = rig.trainer.count
    rig.replay.add()
    rig.steps(20)
    assert rig.trainer.count == before + 3


@pytest.mark.parametrize(
    ("network", "objective", "sentence"),
    [
        (NetworkConfig(deterministic_size=9), ObjectiveConfig(), "model.deterministic_size = 8"),
        (None, ObjectiveConfig(reward_weight=30.0), "objective.reward_weight = 1.0"),
    ],
)
def test_parameters_other_than_the_checkpoints_are_refused(
    rig, network, objective, sentence: str
) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(3)
    rig.end()
    rig.network = network or rig.network
    with pytest.raises(LearnerError, match=f"holds a run with {sentence}, but .* set it back"):
        rig.start(objective=objective)


def test_rows_of_updates_that_a_kill_undid_are_not_there_twice(rig) -> None:
    rig.start(metrics_updates=2, checkpoint_seconds=5.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(9, seconds=1.0)  # a checkpoint after 6
    rig.kill()
    rig.start(metrics_updates=2)
    rig.steps(4)
    rig.end()
    with (rig.data_dir / "metrics" / "updates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["update"]) for row in rows] == [2, 4, 6, 8, 10]
    assert rows[0]["loss"] == "1.5"
    assert list((rig.data_dir / "metrics" / "tensorboard").iterdir())


# Faults


def test_an_update_that_is_not_finite_is_reported_and_not_counted(rig) -> None:
    rig.start(mode="sync")
    for _ in range(3):
        rig.replay.add()
    rig.steps(2)
    rig.trainer.not_finite = True
    rig.steps(MAX_FAILURES - 1)
    assert rig.reports["training"][0] == "warn"
    rig.trainer.not_finite = False
    rig.steps(30)
    assert rig.learner._progress.update == rig.trainer.count == 8


def test_updates_that_are_never_finite_end_the_learner_without_a_checkpoint(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(2)
    rig.trainer.not_finite = True
    with pytest.raises(LearnerError, match="10 updates in a row were not finite after update 2"):
        rig.learner.run()
    assert rig.start() is not None
    assert rig.learner._trainer is None


def test_an_episode_of_other_cameras_is_skipped_with_a_warning(rig) -> None:
    rig.start(mode="sync")
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    rig.replay.add(cameras=2)
    rig.steps(20)
    assert rig.trainer.count == 5
    assert rig.reports["episodes"][0] == "warn"
    assert "its cameras are camera_0, camera_1, the model's camera_0" in rig.reports["episodes"][1]
    assert rig.publications[-1].replay_sequence == 3  # its sender does not wait for ever
    rig.replay.add()
    rig.steps(20)
    assert rig.trainer.count == 8
    assert rig.reports["episodes"][0] == "ok"


def test_bytes_that_are_no_episode_are_skipped(rig) -> None:
    rig.start()
    rig.replay.newest = 1
    rig.replay.episodes.append((1, b"nonsense"))
    rig.replay.pump()
    assert rig.reports["episodes"][0] == "warn"
    rig.replay.add()
    rig.replay.add()
    rig.steps(3)
    assert rig.trainer.count == 3


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(rig, monkeypatch) -> None:
    rig.start(checkpoint_seconds=1.0)
    rig.replay.add()
    rig.replay.add()

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write", full)
    rig.steps(5, seconds=1.0)
    assert rig.trainer.count == 5
    assert rig.reports["checkpoint"][0] == "error"
    monkeypatch.undo()
    rig.steps(2, seconds=1.0)
    assert rig.reports["checkpoint"][0] == "ok"


def test_weights_are_published_even_when_the_disk_is_full(rig, monkeypatch) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    rig.steps(5)
    assert versions(rig) == [(1, 5, 2)]
    assert rig.reports["weights"][0] == "warn"


def test_a_mirror_that_does_not_fit_is_refused_at_the_start(rig, tmp_path, monkeypatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 1000 kB\n")
    monkeypatch.setattr(mirror_module, "_MEMINFO", meminfo)
    with pytest.raises(LearnerError, match="capacity_steps = 1000 needs"):
        rig.start()


def test_a_directory_in_use_or_unwritable_is_refused(rig, tmp_path) -> None:
    rig.start()
    with pytest.raises(LearnerError, match="in use by another process"):
        rig.start()
    rig.data_dir = Path("/proc/nowhere")
    with pytest.raises(LearnerError, match="cannot be written"):
        rig.start()


def test_a_device_that_is_not_there_is_refused(rig) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(LearnerError, match="device is 'cuda', but PyTorch finds 0 CUDA devices"):
        rig.start(device="cuda")
    with pytest.raises(LearnerError, match="device is 'tpu9', expected cpu, cuda or cuda:<n>"):
        rig.start(device="tpu9")


# The thread


def test_stop_ends_the_run_at_once_and_leaves_a_checkpoint(rig, caplog) -> None:
    caplog.set_level(logging.INFO)
    learner = rig.start()
    rig.replay.add()
    rig.replay.add()
    thread = threading.Thread(target=learner.run)
    thread.start()
    while not rig.publications and thread.is_alive():
        thread.join(0.01)
    assert rig.publications
    learner.stop()
    thread.join(3.0)
    assert not thread.is_alive()
    count = rig.trainer.count
    rig.start()
    assert rig.trainer.count == count
    assert "resumed run" in caplog.text


def test_the_real_trainer_resumed_is_the_trainer_not_interrupted_bit_for_bit(rig, tmp_path) -> None:
    torch.set_num_threads(1)

    def learn(name: str, parts: list[int]) -> dict[str, torch.Tensor]:
        rig.data_dir = tmp_path / name
        for part in parts:
            rig.start(fake=False, mode="async", seed=3)
            if len(rig.replay.episodes) < 3:
                for _ in range(3):
                    rig.replay.add()
            rig.steps(part)
            rig.end()
        assert rig.learner._progress.update == 6
        return rig.learner._trainer.state()[0]

    once, twice = learn("once", [6]), learn("twice", [3, 3])
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    rig.data_dir = tmp_path / "other"
    rig.start(fake=False, seed=4)
    rig.steps(6)
    other = rig.learner._trainer.state()[0]
    name = next(name for name in once if name.startswith("model.") and name.endswith("weight"))
    assert not torch.equal(once[name], other[name])


@pytest.mark.parametrize("observation", ["state", "images_and_state"])
def test_the_joint_state_is_learnt_when_it_is_observed(rig, observation: str) -> None:
    rig.network = dataclasses.replace(rig.network, observation=observation)
    rig.start(fake=False, metrics_updates=1, learning_rate=0.02)
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    losses = [row.state_loss for row in rig.metrics]
    assert losses[-1] < 0.9 * losses[0]
    assert (rig.metrics[-1].image_loss == 0.0) == (observation == "state")
    model = ModelConfig.from_dict(json.loads(rig.publications[0].config_json)["model"])
    assert model.state_size == 4  # two joints


def test_a_state_that_the_robot_does_not_have_ends_the_learner_in_one_sentence(rig) -> None:
    rig.network = dataclasses.replace(rig.network, observation="state")
    rig.start()
    rig.replay.add(joints=0)
    with pytest.raises(LearnerError, match="observation is 'state', but the robot has no joints"):
        rig.steps(1)


def test_published_weights_load_into_the_roller(rig) -> None:
    from planet_model import weights

    rig.start(fake=False, pretrain_updates=1, publish_decoder=False)
    rig.replay.add()
    rig.replay.add()
    rig.steps(1)
    (publication,) = rig.publications
    config = ModelConfig.of(rig.network, ("camera_0",), 2, 2)
    assert publication.architecture_hash == weights.architecture_hash(config)
    model = weights.load(publication.data, config)
    assert model.decoders is None
