"""The real operator node between a person at a pseudo-terminal and a driver that only notes."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from planet_msgs.msg import DriverStatus, OperatorRequest
from planet_msgs.srv import OperatorAnswer
from std_srvs.srv import SetBool

from planet_node.qos import LATCHED
from planet_node.testing import Bench

NEVER = 3600.0  # s


class Desk(Bench):
    """The operator's process, the person's end of its terminal, and the driver's services."""

    def __init__(self) -> None:
        super().__init__("/ergojr")
        self._person, self._computer = os.openpty()
        self._said = ""
        self.asked = ""  # the state of the newest request
        self.calls: list[str] = []  # of the driver
        self._status = self.node.create_publisher(DriverStatus, "driver_status", LATCHED)
        self.node.create_subscription(OperatorRequest, "operator/request", self._on_asked, LATCHED)
        self._answers = self.node.create_client(OperatorAnswer, "operator/answer")
        self.serve_stop()
        make = self.node.create_service
        make(SetBool, "set_compliant", self._noting("compliant"))
        make(GetState, "driver/get_state", self._on_get_state)
        make(ChangeState, "driver/change_state", self._on_change_state)

    def serve_stop(self) -> None:
        note = self._noting("stop")
        self.stop_service = self.node.create_service(SetBool, "emergency_stop", note)

    def start_operator(self, show_after: float = 0.0) -> None:
        terminal = os.ttyname(self._computer)
        self.start(
            "ergojr_driver.operator_node", stderr=None, terminal=terminal, show_after=show_after
        )
        self.settle()

    def close(self) -> None:
        try:
            super().close()
        finally:
            os.close(self._person)
            os.close(self._computer)

    def driver_is(self, state: str, asked: str) -> None:
        """The driver says so, and the operator is asked for an answer to it."""
        self._status.publish(DriverStatus(state=state))
        self.until(lambda: self.asked == asked, asked)

    def screen(self) -> str:
        """All that the terminal has shown, and the keys that were pressed."""
        while select.select([self._person], [], [], 0.0)[0]:
            self._said += os.read(self._person, 4096).decode()
        return self._said

    def shown(self, sentence: str) -> None:
        """Wait until a request is on the terminal, and the node knows that it is."""
        self.until(lambda: sentence in self.screen(), sentence)
        self.settle()

    def settle(self) -> None:
        """Wait until the node has started, and is done with what it does: it has one executor."""
        assert not self.call(self._answers, OperatorAnswer.Request(action="none")).ok

    def type(self, line: str) -> None:
        os.write(self._person, f"{line}\n".encode())

    def press(self, key: str, *calls: str) -> None:
        """Press a key and wait for what it calls: the driver's services are not found at once."""
        self.type(key)
        self.until(lambda: self.calls[-len(calls) :] == list(calls), f"{calls}")

    def _on_asked(self, message: OperatorRequest) -> None:
        self.asked = message.state

    def _noting(self, what: str) -> Callable[[SetBool.Request, SetBool.Response], SetBool.Response]:
        def note(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
            self.calls.append(f"{what} {'on' if request.data else 'off'}")
            response.success = True
            return response

        return note

    def _on_get_state(
        self, request: GetState.Request, response: GetState.Response
    ) -> GetState.Response:
        self.calls.append("look")
        response.current_state.id = State.PRIMARY_STATE_INACTIVE
        return response

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        assert request.transition.id == Transition.TRANSITION_ACTIVATE
        self.calls.append("activate")
        response.success = True
        return response


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_the_stop_key_stops_the_arm_whatever_is_asked(desk: Desk) -> None:
    desk.start_operator()
    desk.press("s", "stop on")
    desk.driver_is("driving", "running")
    desk.calls.clear()
    desk.press("s", "stop on")


def test_a_stop_that_was_ordered_before_there_was_a_driver_is_not_lost(desk: Desk) -> None:
    desk.node.destroy_service(desk.stop_service)
    desk.start_operator()
    desk.type("s")
    desk.until(lambda: "as soon as there is one" in desk.screen(), "the order was understood")
    desk.serve_stop()
    desk.until(lambda: "stop on" in desk.calls, "the stop")


def test_enter_gives_the_arm_power_when_that_was_asked_on_the_terminal(desk: Desk) -> None:
    desk.start_operator()
    desk.driver_is("inactive", "power")
    desk.shown("let it have power")
    desk.press("", "look", "activate")


def test_enter_is_no_consent_to_what_was_not_shown_yet(desk: Desk) -> None:
    desk.start_operator(show_after=NEVER)
    desk.driver_is("inactive", "power")
    desk.type("")
    desk.press("s", "stop on")  # what was typed before has been taken
    assert desk.calls == ["stop on"]


def test_consent_after_an_emergency_stop_releases_it_first(desk: Desk) -> None:
    desk.start_operator()
    desk.driver_is("stopped", "fault")
    desk.shown("let the arm have power again")
    desk.press("", "stop off", "look", "activate")


def test_keys_let_the_arm_be_moved_by_hand_and_hold_it_again(desk: Desk) -> None:
    desk.start_operator()
    desk.driver_is("holding", "running")
    desk.press("u", "compliant on")
    desk.driver_is("compliant", "paused")
    desk.press("r", "compliant off")
    assert desk.calls[0] == "compliant on"


def test_without_a_terminal_it_is_said_how_to_answer(desk: Desk) -> None:
    desk.start("ergojr_driver.operator_node", terminal="/nowhere", show_after=0.0)
    desk.settle()
    desk.driver_is("inactive", "power")
    desk.settle()
    told = desk.end(signal.SIGTERM)[1]
    command = "ros2 service call /ergojr/operator/answer planet_msgs/srv/OperatorAnswer"
    assert f'{command} "{{id: 0, action: confirm}}"' in told
