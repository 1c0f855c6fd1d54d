from __future__ import annotations

import pytest

from ergojr_driver.operator import AnswerError, Operator, OperatorConfig, Place, Request
from ergojr_driver.orders import DriverSnapshot, Order
from ergojr_driver.terminal import draw


class Bench:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.sent: list[Order] = []
        self.told: list[str] = []
        self.ended = 0
        self.time = 0.0
        self.operator = Operator(
            OperatorConfig(),
            self.requests.append,
            self.sent.append,
            self.told.append,
            self.end,
            lambda: self.time,
        )

    def end(self) -> None:
        self.ended += 1

    @property
    def now(self) -> Request:
        return self.requests[-1]

    @property
    def orders(self) -> list[str]:
        return [order.name for order in self.sent]

    def driver_is(self, state: str, cause: str = "", torque: bool = False, stamp: int = 0) -> None:
        self.operator.on_driver(DriverSnapshot(state, cause, torque, stamp))

    def powered(self) -> Operator:
        self.driver_is("holding")
        return self.operator

    def wait(self, seconds: float, *, heard: bool = True) -> None:
        """Time passes, with the driver's heartbeat if it is heard."""
        driver = self.operator._driver
        for _ in range(round(2 * seconds)):
            self.time += 0.5
            if heard and driver is not None:
                self.operator.on_driver(driver)
            self.operator.look()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_torque_needs_consent(bench):
    bench.driver_is("inactive", "not activated yet")
    assert bench.now.state == "power"
    assert bench.orders == []
    bench.operator.answer(bench.now.id, "confirm")
    assert bench.orders == ["activate"]


def test_a_fault_is_told_and_needs_consent(bench):
    bench.driver_is("fault", "m3 is silent")
    assert bench.now.state == "fault"
    assert "m3 is silent" in bench.now.sentence
    bench.operator.answer(0, "confirm")
    assert bench.orders == ["activate"]


def test_an_emergency_stop_is_released_by_consent(bench):
    bench.driver_is("stopped", "emergency stop")
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
    bench.driver_is("fault", "too hot")
    waiting = bench.operator.want_episode(-1)
    assert bench.now.state == "fault"
    bench.driver_is("holding")
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
    for seed in (7, -1, 7, -1):
        bench.powered().want_episode(seed)
        places.append(bench.now.place)
    assert places[0] == places[2]
    assert places[1] != places[3]
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
    bench.driver_is("compliant")
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
    bench.driver_is("inactive")
    old = bench.now.id
    bench.powered().want_episode(-1)
    with pytest.raises(AnswerError, match=f"request {old} is over"):
        bench.operator.answer(old, "confirm")


def test_what_is_no_answer_now_is_refused(bench):
    bench.powered()
    with pytest.raises(AnswerError, match="'confirm' is no answer now"):
        bench.operator.answer(0, "confirm")


def test_a_driver_that_is_never_heard_of_is_named_and_what_to_do(bench):
    bench.wait(9.5)
    assert bench.now.sentence == "waiting for the driver"
    bench.wait(1.0)
    assert bench.now.state == "starting"
    assert "no driver_status for more than 10 s: is the driver running?" in bench.now.sentence


def test_a_driver_that_falls_silent_is_missed_and_its_newest_state_taken_when_it_comes_back(bench):
    waiting = bench.powered().want_episode(-1)
    bench.wait(10.0)
    assert bench.now.state == "place_cube"
    bench.wait(3.5, heard=False)
    assert bench.now.state == "starting"
    assert "for more than 3 s" in bench.now.sentence
    bench.driver_is("holding")
    assert bench.now.state == "place_cube"
    assert not waiting.done()


@pytest.mark.parametrize("state", ["unconfigured", "checking", "inactive", None])
def test_the_cube_s_place_is_asked_for_again_after_the_driver_was_started_anew(bench, state):
    bench.powered().want_episode(-1)
    bench.operator.answer(0, "confirm")
    bench.operator.on_reset(ok=False)
    if state is None:
        bench.wait(3.5, heard=False)
    else:
        bench.driver_is(state)
    bench.driver_is("holding")
    assert not bench.operator.want_episode(-1).done()


def test_an_activation_that_is_not_answered_is_sent_again_to_the_same_driver(bench):
    bench.driver_is("inactive", "not activated yet")
    bench.operator.answer(0, "confirm")
    bench.wait(7.0)
    assert bench.orders == ["activate"] * 3
    bench.operator.answered(bench.sent[-1], True)
    bench.wait(7.0)
    assert bench.orders == ["activate"] * 3


@pytest.mark.parametrize(
    "later",
    [
        DriverSnapshot("fault", "m3 is silent", stamp=2),
        DriverSnapshot("fault", "too hot", stamp=2),
        DriverSnapshot("inactive"),
        DriverSnapshot("unconfigured", "no such port"),
    ],
)
def test_consent_does_not_survive_what_happens_later(bench, later):
    bench.driver_is("fault", "m3 is silent", stamp=1)
    bench.operator.answer(0, "confirm")
    asked = bench.now.id
    bench.operator.on_driver(later)
    assert bench.now.id > asked
    bench.wait(20.0)
    assert bench.orders == ["activate"]
    assert bench.told == []


def test_consent_does_not_survive_the_driver_s_silence(bench):
    bench.driver_is("inactive")
    bench.operator.answer(0, "confirm")
    bench.wait(4.0, heard=False)
    sent = len(bench.orders)
    bench.driver_is("inactive")
    bench.wait(8.0)
    assert len(bench.orders) == sent
    assert bench.now.state == "power"


def test_an_order_that_stays_without_an_answer_is_told_and_asked_for_again(bench):
    bench.driver_is("inactive")
    bench.operator.answer(0, "confirm")
    asked = bench.now.id
    bench.wait(10.5)
    assert "did not answer 'activate' for 10 s" in bench.told[-1]
    assert bench.now.id > asked
    assert bench.now.state == "power"


def test_an_order_that_is_refused_is_told(bench):
    bench.driver_is("compliant")
    bench.operator.answer(0, "resume")
    bench.operator.answered(bench.sent[-1], False, "m3 is too hot")
    assert bench.told == ["the driver refuses 'hold': m3 is too hot"]
    bench.wait(5.0)
    assert bench.orders == ["hold"]


def test_a_stop_is_sent_until_it_is_answered_and_nothing_else_before(bench):
    bench.operator.answer(0, "stop")
    bench.wait(30.0)
    assert bench.orders == ["stop"] * 31
    bench.driver_is("inactive")
    with pytest.raises(AnswerError, match="has not answered the stop yet"):
        bench.operator.answer(0, "confirm")
    bench.operator.answered(bench.sent[-1], True)
    bench.operator.answer(0, "confirm")
    assert bench.orders[31:] == ["activate"]


def test_a_stop_withdraws_consent(bench):
    bench.driver_is("inactive")
    bench.operator.answer(0, "confirm")
    bench.operator.answer(0, "stop")
    bench.operator.answered(bench.sent[-1], True)
    bench.wait(9.0)
    assert bench.orders == ["activate", "stop"]


@pytest.mark.parametrize("heard_first", [True, False])
def test_consent_after_a_stop_is_to_its_release_and_to_power(bench, heard_first):
    bench.driver_is("stopped", "emergency stop")
    bench.operator.answer(0, "confirm")
    released = bench.sent[-1]
    if heard_first:
        bench.driver_is("inactive", "emergency stop released")
    bench.operator.answered(released, True)
    assert bench.orders == ["unstop", "activate"]
    bench.driver_is("inactive", "emergency stop released")
    bench.wait(3.5)
    assert bench.orders == ["unstop", "activate", "activate"]


def test_a_second_stop_withdraws_the_consent_to_release_the_first(bench):
    bench.driver_is("stopped", "emergency stop", stamp=1)
    bench.operator.answer(0, "confirm")
    bench.driver_is("inactive", "emergency stop released", stamp=2)
    bench.driver_is("stopped", "emergency stop", stamp=3)
    bench.wait(9.0)
    assert bench.orders == ["unstop"]


def test_an_answer_to_a_former_order_is_none_to_this_one(bench):
    bench.driver_is("inactive")
    bench.operator.answer(0, "confirm")
    bench.operator.answer(0, "stop")
    bench.operator.answered(bench.sent[0], True)
    bench.wait(1.0)
    assert bench.orders == ["activate", "stop", "stop"]


def test_the_driver_s_check_of_the_computer_is_told_with_its_outcome(bench):
    bench.driver_is("checking")
    assert bench.now.state == "starting"
    assert "measures whether this computer keeps the pace" in bench.now.sentence
    bench.driver_is("checking", "images come 200 ms late, 140 ms are allowed")
    assert "200 ms late" in bench.now.sentence


@pytest.mark.parametrize(
    "state", ["unconfigured", "checking", "inactive", "fault", "stopped", "compliant"]
)
def test_a_motor_that_may_have_torque_is_told_whatever_is_asked(bench, state):
    bench.driver_is(state, "m3 did not confirm that the torque is off", torque=True)
    assert "motors may still have torque" in bench.now.sentence
    assert "m3 did not confirm" in bench.now.sentence
    assert not bench.now.sentence.startswith("torque is off")
    bench.driver_is(state, "m3 was silent", torque=False)
    assert "may still have torque" not in bench.now.sentence


def test_the_cube_s_place_stays_when_the_roller_asks_again(bench):
    bench.powered().want_episode(-1)
    asked = bench.now
    again = bench.operator.want_episode(-1)
    assert bench.now == asked
    bench.operator.answer(asked.id, "confirm")
    assert again.result(0) == ""


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
