from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_core.episode import Episode
from planet_core.episode_format import ARRAYS, EpisodeError, read_header


def make_episode(
    steps: int = 5, cameras: int = 2, actions: int = 4, joints: int = 6, **changes: Any
) -> Episode:
    rng = np.random.default_rng(steps * 100 + cameras)
    rows = steps + 1
    action = rng.uniform(-1, 1, (rows, actions)).astype(np.float32)
    action[0] = 0
    reward = rng.normal(size=rows).astype(np.float32)
    reward[0] = 0
    last = np.arange(rows) == steps
    fields: dict[str, Any] = {
        "id": "robot-20250101.000_1",
        "robot": "ergojr",
        "policy": "random",
        "weights_version": 3,
        "images": rng.integers(0, 256, (rows, 64, 64 * cameras, 3), dtype=np.uint8),
        "action": action,
        "reward": reward,
        "reward_valid": np.arange(rows) > 0,
        "terminated": last,
        "truncated": np.zeros(rows, bool),
        "touched": last,
        "position": rng.normal(size=(rows, joints)).astype(np.float32),
        "velocity": rng.normal(size=(rows, joints)).astype(np.float32),
        "applied_effort": rng.normal(size=(rows, joints)).astype(np.float32),
        "stamp": np.arange(rows, dtype=np.int64) * 50_000_000,
        "missed_ticks": np.zeros(rows, np.uint16),
        "metadata": {
            "cameras": json.dumps([f"camera_{i}" for i in range(cameras)]),
            "action_names": json.dumps([f"m{i}" for i in range(actions)]),
            "state_names": json.dumps([f"m{i}" for i in range(joints)]),
            "control_period": "0.05",
            "action_repeat": "2",
            "seed": "1",
            "created": "1700000000.5",
        },
    }
    fields.update(changes)
    return Episode(**fields)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 6),
    cameras=st.integers(0, 3),
    actions=st.integers(1, 7),
    joints=st.integers(0, 6),
    policy=st.sampled_from(["random", "planner", "evaluation", "demonstration"]),
    version=st.integers(0, 2**63 - 1),
    robot=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
)
def test_round_trip_keeps_every_field(
    steps: int, cameras: int, actions: int, joints: int, policy: str, version: int, robot: str
) -> None:
    episode = make_episode(
        steps, cameras, actions, joints, policy=policy, weights_version=version, robot=robot
    )
    again = Episode.from_bytes(episode.to_bytes())
    for field in dataclasses.fields(Episode):
        if field.name in ARRAYS:
            np.testing.assert_array_equal(getattr(again, field.name), getattr(episode, field.name))
        else:
            assert getattr(again, field.name) == getattr(episode, field.name)


def test_properties_count_steps_valid_rewards_and_touches() -> None:
    valid = np.array([False, True, False, True])
    reward = np.array([0, 1, 100, 2], np.float32)
    episode = make_episode(3, reward=reward, reward_valid=valid)
    assert (episode.steps, episode.frame_count) == (3, 4)
    assert episode.episode_return == 3.0
    assert episode.touched_any
    assert episode.cameras == ("camera_0", "camera_1")


def test_header_of_file_and_bytes_agree_with_the_episode(tmp_path: Path) -> None:
    episode = make_episode()
    data = episode.to_bytes()
    path = tmp_path / "episode.safetensors"
    path.write_bytes(data)
    header = read_header(path)
    assert header == read_header(data)
    assert (header.id, header.robot, header.policy) == (episode.id, "ergojr", "random")
    assert (header.weights_version, header.steps, header.frame_count) == (3, 5, 6)
    assert header.metadata == episode.metadata
    assert header.cameras == episode.cameras


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_truncation_is_refused(data: st.DataObject) -> None:
    whole = make_episode(2, 1).to_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(EpisodeError):
        Episode.from_bytes(cut)
    with pytest.raises(EpisodeError):
        read_header(cut)


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(EpisodeError, match="header asks for"):
        Episode.from_bytes(make_episode().to_bytes() + b"\0")


def test_a_truncated_file_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "episode.safetensors"
    path.write_bytes(make_episode().to_bytes()[:-1])
    with pytest.raises(EpisodeError, match="header asks for"):
        read_header(path)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_corrupt_header_never_raises_anything_else(position: int, byte: int) -> None:
    data = bytearray(make_episode(1, 1).to_bytes())
    (size,) = struct.unpack("<Q", data[:8])
    data[position % (8 + size)] = byte
    with contextlib.suppress(EpisodeError):
        Episode.from_bytes(bytes(data))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EpisodeError):
        Episode.from_bytes(data)


def _set(array: np.ndarray[Any, Any], index: Any, value: Any) -> np.ndarray[Any, Any]:
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("id", lambda e: "../etc", "id"),
        ("id", lambda e: ".hidden", "id"),
        ("id", lambda e: "a" * 129, "id"),
        ("id", lambda e: "line\n", "id"),
        ("robot", lambda e: "", "robot"),
        ("policy", lambda e: "expert", "policy"),
        ("weights_version", lambda e: -1, "weights_version"),
        ("images", lambda e: e.images[:, :32], "images"),
        ("images", lambda e: e.images[:, :, :64], "images"),
        ("images", lambda e: e.images.astype(np.float32), "images"),
        ("action", lambda e: e.action[:-1], "action"),
        ("action", lambda e: _set(e.action, (1, 0), np.nan), "finite"),
        ("action", lambda e: _set(e.action, (1, 0), 1.5), r"outside \[-1, 1\]"),
        ("action", lambda e: _set(e.action, (0, 0), 0.5), "first row"),
        ("reward", lambda e: _set(e.reward, 1, np.inf), "finite"),
        ("reward", lambda e: _set(e.reward, 0, 1.0), "first row"),
        ("reward_valid", lambda e: _set(e.reward_valid, 0, True), "first row"),
        ("terminated", lambda e: _set(e.terminated, 1, True), "before the last"),
        ("truncated", lambda e: _set(e.truncated, 0, True), "before the last"),
        ("stamp", lambda e: e.stamp.astype(np.float64), "stamp"),
        ("position", lambda e: e.position[:, :2], "position"),
        ("metadata", lambda e: {**e.metadata, "cameras": "front"}, "cameras"),
        ("metadata", lambda e: {**e.metadata, "cameras": '["a", "a"]'}, "twice"),
        ("metadata", lambda e: {**e.metadata, "action_names": "[]"}, "'action_names' is empty"),
        ("metadata", lambda e: {**e.metadata, "created": "yesterday"}, "created"),
        ("metadata", lambda e: {**e.metadata, "id": "other"}, "id"),
        ("metadata", lambda e: {}, "cameras"),
    ],
)
def test_an_invalid_field_is_refused_by_name(name: str, change: Any, message: str) -> None:
    episode = make_episode()
    with pytest.raises(EpisodeError, match=message):
        dataclasses.replace(episode, **{name: change(episode)})


def test_one_observation_is_no_episode() -> None:
    episode = make_episode()
    rows = {name: getattr(episode, name)[:1] for name in ARRAYS}
    rows["terminated"] = np.zeros(1, bool)
    with pytest.raises(EpisodeError, match="two observations"):
        dataclasses.replace(episode, **rows)
