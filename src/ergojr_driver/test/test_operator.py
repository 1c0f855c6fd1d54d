from __future__ import annotations

import pytest
from ergojr_driver.operator import AnswerError, Operator, OperatorConfig, Place, Request
from ergojr_driver.terminal import draw


class Bench:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.orders: list[str] = []
        self.ended = 0
        self.operator = Operator(
            OperatorConfig(), self.requests.append, self.orders.append, self.end
        )

    def end(self) -> None:
        self.ended += 1

    @property
    def now(self) -> Request:
        return self.requests[-1]

    def powered(self) -> Operator:
        self.operator.on_driver("holding", "")
        return self.operator


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_torque_needs_consent(bench):
    bench.operator.on_driver("inactive", "not activated yet")
    assert bench.now.state == "power"
    assert bench.orders == []
    bench.operator.answer(bench.now.id, "confirm")
    assert bench.orders == ["activate"]


def test_a_fault_is_told_and_needs_consent(bench):
    bench.operator.on_driver("fault", "m3 is silent")
    assert bench.now.state == "fault"
    assert "m3 is silent" in bench.now.sentence
    bench.operator.answer(0, "confirm")
    assert bench.orders == ["activate"]


def test_an_emergency_stop_is_released_by_consent(bench):
    bench.operator.on_driver("stopped", "emergency stop")
    bench.operator.answer(0, "confirm")
    assert bench.orders == ["unstop"]


def test_an_episode_waits_for_the_cube(bench):
    waiting = bench.powered().want_episode(-1)
    assert bench.now.state == "place_cube"
    assert not waiting.done()
    bench.operator.answer(bench.now.id, "confirm")
    assert waiting.result(0) == ""
    assert bench.now.state == "running"


def test_an_episode_waits_for_torque_too(bench):
    bench.operator.on_driver("fault", "too hot")
    waiting = bench.operator.want_episode(-1)
    assert bench.now.state == "fault"
    bench.operator.on_driver("holding", "")
    assert bench.now.state == "place_cube"
    bench.operator.answer(0, "confirm")
    assert waiting.result(0) == ""


def test_a_cube_that_lies_is_not_asked_for_again_when_the_driver_refused(bench):
    bench.powered().want_episode(-1)
    bench.operator.answer(0, "confirm")
    bench.operator.on_reset(ok=False)
    assert bench.operator.want_episode(-1).result(0) == ""
    bench.operator.on_reset(ok=True)
    assert not bench.operator.want_episode(-1).done()


def test_a_second_reset_supersedes_the_first(bench):
    first = bench.powered().want_episode(-1)
    second = bench.operator.want_episode(-1)
    assert first.result(0) == "another reset came"
    assert not second.done()


def test_a_seed_draws_the_same_place_again_and_none_another(bench):
    places = []
    for seed in (7, 7, -1, -1):
        bench.powered().want_episode(seed)
        places.append(bench.now.place)
    assert places[0] == places[1]
    assert places[2] != places[3]
    assert all(-0.12 <= p.x <= 0.12 and 0.10 <= p.y <= 0.17 for p in places)


def test_a_pause_begins_after_the_episode_and_ends_when_asked(bench):
    bench.powered()
    bench.operator.answer(0, "pause")
    assert bench.now.sentence == "pauses after this episode"
    waiting = bench.operator.want_episode(-1)
    assert bench.now.state == "paused"
    bench.operator.answer(0, "resume")
    assert bench.now.state == "place_cube"
    assert not waiting.done()


def test_a_skipped_episode_is_refused_to_the_roller(bench):
    waiting = bench.powered().want_episode(-1)
    bench.operator.answer(0, "skip")
    assert "skips" in waiting.result(0)


def test_a_skipped_place_does_not_come_again_even_with_the_same_seed(bench):
    operator = bench.powered()
    places = []
    for action in ("skip", "skip", "confirm"):
        operator.want_episode(7)
        places.append(bench.now.place)
        operator.answer(0, action)
    assert len(set(places)) == 3
    operator.on_reset(True)
    operator.want_episode(7)
    assert bench.now.place == places[0]  # reproducible, where nothing is in the way


def test_a_limp_arm_is_held_again_when_asked(bench):
    bench.powered().want_episode(-1)
    bench.operator.answer(0, "release")
    bench.operator.on_driver("compliant", "")
    bench.operator.answer(0, "resume")
    assert bench.orders == ["release", "hold"]


def test_stop_is_always_taken(bench):
    bench.operator.answer(999, "stop")
    assert bench.orders == ["stop"]


def test_the_end_answers_who_waits_and_ends_the_session(bench):
    waiting = bench.powered().want_episode(-1)
    bench.operator.answer(0, "end")
    assert "ends the session" in waiting.result(0)
    assert bench.now.state == "ended"
    assert bench.ended == 1


def test_an_answer_to_an_old_request_is_refused(bench):
    bench.operator.on_driver("inactive", "")
    old = bench.now.id
    bench.powered().want_episode(-1)
    with pytest.raises(AnswerError, match=f"request {old} is over"):
        bench.operator.answer(old, "confirm")


def test_what_is_no_answer_now_is_refused(bench):
    bench.powered()
    with pytest.raises(AnswerError, match="'confirm' is no answer now"):
        bench.operator.answer(0, "confirm")


@pytest.mark.parametrize(("x", "y"), [(-0.12, 0.10), (0.12, 0.17), (0.0, 0.135)])
def test_the_map_shows_the_cube_where_it_shall_lie(x, y):
    request = Request(1, "place_cube", "put the cube there", ("confirm",), Place(x, y, 0.5))
    text = draw(request, OperatorConfig())
    arm = next(line for line in text.splitlines() if "ARM" in line)
    cube = next(line for line in text.splitlines() if "[#]" in line)
    offset = cube.index("#") - arm.index("R")
    assert offset == round(x * 100)
    assert text.index("[#]") < text.index("ARM")  # in front of it: nearer to the front camera
    assert max(map(len, text.splitlines())) < 100
