from __future__ import annotations

import pytest

from planet_core.report import Level
from planet_core.run_id import RunFilter


@pytest.fixture
def told() -> list[tuple[str, Level, str]]:
    return []


def make(run_id: str, told: list[tuple[str, Level, str]]) -> RunFilter:
    def report(name: str, level: Level, message: str, **_: object) -> None:
        told.append((name, level, message))

    return RunFilter(run_id, report)


def test_a_message_of_another_run_is_refused_in_a_sentence_that_names_both(
    told: list[tuple[str, Level, str]],
) -> None:
    sentence = make("ours", told).refusal("/replay/status", "theirs")
    assert sentence is not None
    assert sentence.startswith("/replay/status is refused: it is of run theirs, but this is run ou")
    assert told == [("run", "warn", sentence)]


@pytest.mark.parametrize(("ours", "theirs"), [("a", "a"), ("", "a"), ("a", ""), ("", "")])
def test_a_message_of_the_run_or_of_a_node_started_by_hand_is_taken(
    ours: str, theirs: str, told: list[tuple[str, Level, str]]
) -> None:
    assert make(ours, told).refusal("/replay/status", theirs) is None
    assert told == []
