"""How many updates, on which episodes, and what is published when."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from planet_core import durable
from planet_core.config import Config
from planet_core.method import Inputs, Observation, find
from planet_learner import mirror as mirror_module
from planet_learner.learner import MAX_FAILURES, DivergedError, LearnerError
from planet_model.config import ModelConfig, NetworkConfig, ObjectiveConfig, TrainingConfig


def small(**network: object) -> dict[str, Config]:
    """Settings of PlaNet with a model that learns in no time."""
    sizes = {"deterministic_size": 8, "stochastic_size": 4, "hidden_size": 8}
    model = NetworkConfig(**sizes, embedding_size=16, conv_depth=2, **network)
    training = TrainingConfig(batch_size=3, chunk_length=4)
    return {"": training, "model": model, "objective": ObjectiveConfig()}


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
    checkpoint = 0 if after < 5 else 4  # which the fifth update has proved
    assert saved == (checkpoint if killed else min(after, 8))
    rig.steps(20)
    rig.replay.add()
    rig.steps(20)
    assert rig.learner._progress.update == 5 + 3 + 3
    schedule = [2] * 5 + [3] * 3 + [4] * 3
    assert rig.trainer.seen == schedule[saved:]
    assert rig.publications[-1].replay_sequence == 4


def test_losses_on_evaluation_episodes_stand_beside_those_of_the_training(rig) -> None:
    rig.start(metrics_updates=1, publish_updates=1)
    rig.replay.add()
    rig.replay.add()
    rig.steps(6)
    assert set(rig.metrics[-1].losses) == {"loss", "other_loss"}
    rig.replay.add("evaluation")
    rig.steps(2)
    assert rig.metrics[-1].losses["held_out_loss"] == 1.0


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
    assert rig.learner._intake.mirror.newest_sequence == 1
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


def test_parameters_other_than_the_checkpoints_are_refused(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(3)
    rig.end()
    rig.settings = {"model": dataclasses.replace(rig.settings["model"], size=9)}
    sentence = "holds a run with model.size = 8, but model.size is 9: set it back"
    with pytest.raises(LearnerError, match=sentence):
        rig.start()


def test_a_run_of_another_method_is_refused(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(3)
    rig.end()
    with pytest.raises(LearnerError, match="a run of the method 'planet', but method is 'other'"):
        rig.start(method="other")


def test_rows_of_updates_that_a_kill_undid_are_not_there_twice(rig) -> None:
    rig.start(metrics_updates=2, checkpoint_seconds=5.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(9, seconds=1.0)  # a checkpoint of 5
    rig.kill()
    rig.start(metrics_updates=2)
    rig.steps(5)
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
    rig.trainer.finite_until = 0
    rig.steps(MAX_FAILURES - 1)
    assert rig.reports["training"][0] == "warn"
    rig.trainer.finite_until = 10**9
    rig.steps(30)
    assert rig.learner._progress.update == rig.trainer.count == 8


def test_updates_that_are_never_finite_end_the_launch(rig) -> None:
    rig.start()
    rig.replay.add()
    rig.replay.add()
    rig.steps(2)
    rig.trainer.finite_until = 0
    sentence = "10 updates in a row were not finite after update 2 .* a lower learning_rate"
    with pytest.raises(DivergedError, match=sentence):
        rig.learner.run()
    assert list((rig.data_dir / "checkpoints").glob("checkpoint_*")) == []


def test_a_learner_that_saved_something_sound_is_started_again(rig) -> None:
    rig.start(checkpoint_seconds=2.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(4, seconds=1.0)
    rig.trainer.finite_until = 0
    with pytest.raises(LearnerError, match="a restart resumes from update 2") as raised:
        rig.learner.run()
    assert not isinstance(raised.value, DivergedError)


def test_weights_that_no_later_update_was_finite_with_are_not_saved(rig) -> None:
    rig.start(checkpoint_seconds=1.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(1, seconds=1.0)
    rig.trainer.finite_until = 1
    rig.steps(3, seconds=1.0)
    rig.end()
    assert list((rig.data_dir / "checkpoints").glob("checkpoint_*")) == []


def test_a_checkpoint_that_cannot_be_trained_on_makes_way_for_the_one_before(rig, caplog) -> None:
    rig.start(checkpoint_seconds=2.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(6, seconds=1.0)
    saved = sorted((rig.data_dir / "checkpoints").glob("checkpoint_*"))
    assert len(saved) == 2
    rig.kill()
    rig.start(checkpoint_seconds=1e9)
    rig.trainer.finite_until = 0
    rig.steps(MAX_FAILURES + 1)
    assert f"{saved[1]} is moved to" in caplog.text
    assert "10 updates in a row were not finite from it on" in caplog.text
    assert rig.learner._progress.update == 3  # the one before was of update 2
    rig.end()
    assert saved[0] in (rig.data_dir / "checkpoints").iterdir()


def test_a_run_of_which_no_checkpoint_can_be_trained_on_ends_the_launch(rig) -> None:
    rig.start(checkpoint_seconds=2.0)
    rig.replay.add()
    rig.replay.add()
    rig.steps(4, seconds=1.0)
    rig.kill()
    rig.start()
    rig.trainer.finite_until = 0
    with pytest.raises(DivergedError, match=r"from any checkpoint in .* on"):
        rig.learner.run()


def test_room_for_fewer_episodes_than_the_seed_episodes_is_told(rig) -> None:
    rig.start(seed_episodes=10, capacity_steps=35)
    for _ in range(10):
        rig.replay.add()
    rig.steps(1)
    level, sentence = rig.reports["capacity"]
    assert level == "warn"
    assert "capacity_steps = 35 has room for 5 episodes" in sentence
    assert rig.trainer.count == 1  # ten were there, though five are left


def test_seed_episodes_that_were_dropped_are_not_waited_for_after_a_restart(rig) -> None:
    rig.start(seed_episodes=10, capacity_steps=35)
    for _ in range(10):
        rig.replay.add()
    rig.steps(3)
    rig.end()
    del rig.replay.episodes[:5]
    rig.start(seed_episodes=10, capacity_steps=35)
    rig.steps(3)
    assert rig.learner._progress.update == 6


def test_no_more_updates_are_made_per_decision_than_train_ratio_says(rig) -> None:
    rig.start(pretrain_updates=1, train_ratio=0.5)
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    assert rig.trainer.count == 6  # of two episodes of six decisions
    assert "decisions: 6 updates were made on 12" in rig.reports["training"][1]
    rig.replay.add()
    rig.steps(20)
    assert rig.trainer.count == 9


def test_an_episode_of_other_cameras_is_skipped_with_a_warning(rig) -> None:
    rig.start(mode="sync")
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    rig.replay.add(cameras=2)
    rig.steps(20)
    assert rig.trainer.count == 5
    assert rig.reports["episodes"][0] == "warn"
    assert "its cameras are camera_0, camera_1, but those" in rig.reports["episodes"][1]
    assert rig.publications[-1].replay_sequence == 3  # its sender does not wait for ever
    rig.replay.add()
    rig.steps(20)
    assert rig.trainer.count == 8
    assert rig.reports["episodes"][0] == "ok"


def test_a_method_without_cameras_learns_from_robots_with_any(rig) -> None:
    rig.blind = True
    rig.start(mode="sync", capacity_steps=10_000_000)  # whose images would need 123 GB
    rig.replay.add(cameras=1)
    rig.replay.add(cameras=2)
    rig.steps(20)
    assert rig.trainer.count == 5
    assert rig.learner._intake.mirror.rows()["images"].size == 0


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
        rig.start(fake=False, device="cuda")
    with pytest.raises(LearnerError, match="device is 'tpu9', expected cpu, cuda or cuda:<n>"):
        rig.start(fake=False, device="tpu9")


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
    count = rig.trainer.count - 1  # the last one proved what was saved
    rig.start()
    assert rig.trainer.count == count
    assert "resumed run" in caplog.text


def test_the_real_trainer_resumed_is_the_trainer_not_interrupted_bit_for_bit(rig, tmp_path) -> None:
    torch.set_num_threads(1)

    def learn(name: str, parts: list[int]) -> dict[str, np.ndarray]:
        rig.data_dir = tmp_path / name
        for part in parts:
            rig.settings = small()
            rig.start(fake=False, mode="async", seed=3)
            if len(rig.replay.episodes) < 3:
                for _ in range(3):
                    rig.replay.add()
            rig.steps(part)
            rig.end()
        assert rig.learner._progress.update == 6
        return rig.saved().state.tensors

    once, twice = learn("once", [6]), learn("twice", [3, 3])
    assert once.keys() == twice.keys()
    assert all(np.array_equal(once[name], twice[name]) for name in once)
    rig.data_dir = tmp_path / "other"
    rig.settings = small()
    rig.start(fake=False, seed=4)
    rig.steps(6)
    rig.end()
    other = rig.saved().state.tensors
    name = next(name for name in once if name.startswith("model.") and name.endswith("weight"))
    assert not np.array_equal(once[name], other[name])


@pytest.mark.parametrize("observation", ["state", "images_and_state"])
def test_the_joint_state_is_learnt_when_it_is_observed(rig, observation: str) -> None:
    rig.settings = small(observation=observation)
    rig.settings[""] = dataclasses.replace(rig.settings[""], learning_rate=0.02)
    rig.start(fake=False, metrics_updates=1)
    rig.replay.add()
    rig.replay.add()
    rig.steps(20)
    losses = [row.losses["state_loss"] for row in rig.metrics]
    assert losses[-1] < 0.9 * losses[0]
    assert (rig.metrics[-1].losses["image_loss"] == 0.0) == (observation == "state")
    model = ModelConfig.from_dict(json.loads(rig.publications[0].config_json)["model"])
    assert model.state_size == 4  # two joints


def test_a_state_that_the_robot_does_not_have_ends_the_learner_in_one_sentence(rig) -> None:
    rig.settings = small(observation="state")
    rig.start(fake=False)
    rig.replay.add(joints=0)
    with pytest.raises(LearnerError, match="observation is 'state', but the robot has no joints"):
        rig.steps(1)


def test_published_weights_load_into_the_roller(rig) -> None:
    rig.settings = small()
    rig.start(fake=False, pretrain_updates=1, publish_decoder=False)
    rig.replay.add()
    rig.replay.add()
    rig.steps(1)
    (publication,) = rig.publications
    actor = find("planet").load_actor(publication, {}, Inputs(("camera_0",), 2, 4), "cpu", 0, None)
    assert actor.act(Observation(np.zeros((64, 64, 3), np.uint8)), np.zeros(2), False).shape == (2,)
