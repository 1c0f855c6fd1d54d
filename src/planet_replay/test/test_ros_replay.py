"""The replay node's services, as a robot and a learner see them."""

from __future__ import annotations

import csv
import signal
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from planet_msgs.msg import ReplayStatus
from planet_msgs.srv import AddEpisode, GetEpisodes

from planet_core.episode import Episode
from planet_node.qos import LATCHED
from planet_node.testing import Bench

Make = Callable[..., Episode]
AGAIN = 1.0  # s: a killed replay seems to be there for a while


class Replay(Bench):
    """A replay process and its clients."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self.data_dir = data_dir
        self.adding = self.node.create_client(AddEpisode, "/replay/add_episode")
        self.getting = self.node.create_client(GetEpisodes, "/replay/get_episodes")
        self.start_replay()

    def start_replay(self, **parameters: object) -> None:
        self.start("planet_replay.replay_node", data_dir=self.data_dir, **parameters)

    def add(self, episode: Episode, **changes: Any) -> AddEpisode.Response:
        fields = {
            "id": episode.id,
            "robot": episode.robot,
            "policy": episode.policy,
            "weights_version": episode.weights_version,
            "safetensors": array("B", episode.to_bytes()),
            **changes,
        }
        return self.call(self.adding, AddEpisode.Request(**fields), again=AGAIN)

    def get(self, after: int, max_bytes: int = 2**30) -> GetEpisodes.Response:
        request = GetEpisodes.Request(after_sequence=after, max_bytes=max_bytes)
        return self.call(self.getting, request, again=AGAIN)


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Replay]:
    replay = Replay(tmp_path)
    yield replay
    replay.close()


def test_what_was_acknowledged_is_served_after_a_kill(replay: Replay, make_episode: Make) -> None:
    episodes = [make_episode(f"e{i}", policy="planner") for i in range(3)]
    sent = [array("B", episode.to_bytes()) for episode in episodes]
    for i in range(3):
        assert replay.add(episodes[i], safetensors=sent[i]).sequence == i + 1
    replay.end(signal.SIGKILL)
    replay.start_replay()
    response = replay.get(1)
    assert [episode.safetensors for episode in response.episodes] == sent[1:]
    first = response.episodes[0]
    assert (first.sequence, first.id, first.policy) == (2, "e1", "planner")
    assert (first.robot, first.weights_version) == ("ergojr", 7)
    assert (response.oldest_sequence, response.newest_sequence) == (1, 3)
    assert len(replay.get(0, max_bytes=1).episodes) == 1
    rows = (replay.data_dir / "metrics" / "episodes.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["id", "e0", "e1", "e2"]


def test_a_late_joiner_gets_the_status(replay: Replay, make_episode: Make) -> None:
    replay.add(make_episode("a", policy="evaluation"))
    replay.add(make_episode("b"))
    statuses: list[ReplayStatus] = []
    replay.node.create_subscription(ReplayStatus, "/replay/status", statuses.append, LATCHED)
    replay.until(lambda: statuses, "the status")
    (status,) = statuses
    assert (status.episodes, status.training_episodes, status.newest_sequence) == (2, 1, 2)


def test_what_is_refused_is_one_sentence_and_the_node_goes_on(
    replay: Replay, make_episode: Make
) -> None:
    episode = make_episode("e")
    broken = array("B", episode.to_bytes()[:-1])
    for changes, sentence in (
        ({"safetensors": broken}, "bytes"),
        ({"policy": "evaluation"}, "says policy = 'random', but was sent as 'evaluation'"),
    ):
        response = replay.add(episode, **changes)
        assert not response.accepted
        assert sentence in response.message
    assert replay.add(episode).accepted
    assert replay.add(episode).message == "was stored already"


def test_an_episode_of_another_run_is_refused_and_not_stored(
    replay: Replay, make_episode: Make
) -> None:
    replay.end(signal.SIGINT)
    replay.start_replay(run_id="ours")
    response = replay.add(make_episode("a"), run_id="theirs")
    assert not response.accepted
    assert "episode 'a' is refused: it is of run theirs, but this is run ours" in response.message
    assert replay.add(make_episode("b"), run_id="ours").accepted
    answer = replay.get(0)
    assert ([episode.id for episode in answer.episodes], answer.run_id) == (["b"], "ours")


def test_a_corrupt_file_is_set_aside_with_a_warning(replay: Replay, make_episode: Make) -> None:
    replay.add(make_episode("a"))
    replay.add(make_episode("b"))
    replay.end(signal.SIGTERM)
    path = next((replay.data_dir / "episodes").glob("*_a.*"))
    path.write_bytes(path.read_bytes()[:1000])
    (replay.data_dir / "metrics" / "episodes.csv").unlink()
    replay.start_replay()
    assert [e.id for e in replay.get(0).episodes] == ["b"]
    code, errors = replay.end(signal.SIGINT)
    assert code == 0
    assert f"{path} is corrupt" in errors
    assert f"moved to {path.parent / 'corrupt' / path.name}" in errors
    with (replay.data_dir / "metrics" / "episodes.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["b"]
