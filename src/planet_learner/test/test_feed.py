"""Each episode once and in order, whatever becomes of a request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from planet_learner.feed import (
    ASK_AGAIN,
    MAX_WAITING_BYTES,
    PATIENCE,
    TIMEOUT,
    Arrived,
    CaughtUp,
    Feed,
    Replaced,
)


class Asked:
    """Requests that wait for their answers."""

    def __init__(self) -> None:
        self.time = 0.0
        self.requests: list[tuple[int, int]] = []  # after, token
        self.cancelled: list[int] = []
        self.levels: dict[str, str] = {}
        self.feed = Feed(self.send, self.report, lambda: self.time)

    def send(self, after: int, max_bytes: int, token: int) -> Callable[[], None]:
        self.requests.append((after, token))
        return lambda: self.cancelled.append(token)

    def report(self, name: str, level: str, message: str, **values: object) -> None:
        self.levels[name] = level

    def answer(self, sequences: list[int], newest: int, size: int = 3) -> None:
        self.feed.answer(self.requests[-1][1], [(s, b"x" * size) for s in sequences], newest)

    def items(self) -> list[str]:
        texts = []
        while self.feed.peek() is not None:
            match self.feed.take():
                case Arrived(sequence=sequence):
                    texts.append(str(sequence))
                case CaughtUp(newest_sequence=newest):
                    texts.append(f"caught up {newest}")
                case Replaced():
                    texts.append("replaced")
        return texts


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_it_asks_from_the_start_until_there_is_no_more(asked: Asked) -> None:
    for sequences in ([1, 2], [5], []):
        asked.feed.poll(True)
        asked.answer(sequences, 6)
    asked.feed.poll(True)
    assert [after for after, _ in asked.requests] == [0, 2, 5]
    assert asked.items() == ["1", "2", "5", "caught up 6"]


def test_one_request_is_under_way_at_a_time(asked: Asked) -> None:
    for _ in range(3):
        asked.feed.poll(True)
    assert len(asked.requests) == 1


def test_a_status_wakes_it_even_when_it_overtakes_an_empty_answer(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.feed.status(1)
    asked.answer([], 0)
    asked.feed.poll(True)
    asked.answer([1], 1)
    assert asked.items() == ["caught up 0", "1"]


def test_a_status_that_tells_nothing_new_asks_nothing(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.answer([], 4)
    asked.feed.status(4)
    asked.feed.poll(True)
    assert len(asked.requests) == 1


def test_it_asks_anew_after_a_while_should_word_of_an_episode_be_lost(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.answer([], 0)
    asked.time = ASK_AGAIN + 0.1
    asked.feed.poll(True)
    assert len(asked.requests) == 1  # the learner has not even seen the last answer
    assert asked.items() == ["caught up 0"]
    asked.feed.poll(True)
    asked.answer([1], 1)
    assert asked.items() == ["1"]


def test_a_request_without_an_answer_is_made_again_and_its_late_answer_ignored(
    asked: Asked,
) -> None:
    asked.feed.poll(True)
    asked.time = TIMEOUT + 0.1
    asked.feed.poll(True)
    assert asked.cancelled == [1]
    assert [token for _, token in asked.requests] == [1, 2]
    assert asked.levels["replay"] == "warn"
    asked.feed.answer(1, [(1, b"x")], 1)
    assert asked.items() == []
    asked.feed.answer(2, [(1, b"x")], 1)
    assert asked.items() == ["1"]
    assert asked.levels["replay"] == "ok"


def test_a_request_to_a_replay_that_died_is_made_again_when_it_is_back(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.feed.poll(False)
    assert asked.cancelled == [1]
    asked.feed.poll(True)
    asked.answer([1], 1)
    assert asked.items() == ["1"]


def test_an_absent_replay_is_reported_after_a_while(asked: Asked) -> None:
    asked.feed.poll(False)
    assert "replay" not in asked.levels
    asked.time = PATIENCE + 0.1
    asked.feed.poll(False)
    assert asked.levels["replay"] == "warn"


def test_a_failed_request_is_made_again(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.feed.fail(1)
    asked.feed.poll(True)
    assert len(asked.requests) == 2


def test_a_replaced_replay_is_received_from_its_start(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.answer([7], 7)
    asked.feed.poll(True)
    asked.answer([], 2)
    asked.feed.poll(True)
    assert asked.requests[-1][0] == 0
    asked.answer([1, 2], 2)
    assert asked.items() == ["7", "replaced", "1", "2"]


def test_it_does_not_ask_for_more_than_the_learner_takes(asked: Asked) -> None:
    asked.feed.poll(True)
    asked.answer([1], 9, size=MAX_WAITING_BYTES)
    asked.feed.poll(True)
    assert len(asked.requests) == 1
    asked.feed.take()
    asked.feed.poll(True)
    assert len(asked.requests) == 2
