"""The real operator node and a driver that comes late, is lost, or does not answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count

import pytest
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState, GetState
from planet_msgs.msg import DriverStatus, OperatorRequest
from planet_msgs.srv import OperatorAnswer, Reset
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool

from planet_node.qos import LATCHED
from planet_node.stamps import from_ns
from planet_node.testing import Bench

SEED = 7
_stamps = count(1)


class FakeDriver:
    """What the operator needs of a driver; `heartbeat_only` says nothing on a change itself."""

    def __init__(self, lab: Lab, heartbeat_only: bool = False, activates: bool = True) -> None:
        self.lab = lab
        self.heartbeat_only = heartbeat_only
        self.node: Node = lab.make_node("driver")
        self.resets = 0
        self.answers_to_lose = 0
        self.status = DriverStatus()
        self.statuses = self.node.create_publisher(DriverStatus, "driver_status", LATCHED)
        self.set("inactive", "not activated yet")
        self.node.create_service(GetState, "driver/get_state", self.on_get_state)
        if activates:
            self.node.create_service(ChangeState, "driver/change_state", self.on_activate)
        self.node.create_service(SetBool, "emergency_stop", self.on_stop)
        group = ReentrantCallbackGroup()
        self.node.create_service(Reset, "driver/reset", self.on_reset, callback_group=group)
        self.node.create_timer(0.2, lambda: self.statuses.publish(self.status))

    def set(self, state: str, cause: str = "") -> None:
        self.status = DriverStatus(state=state, cause=cause)
        self.status.header.stamp = from_ns(next(_stamps))
        if not self.heartbeat_only:
            self.statuses.publish(self.status)

    def on_get_state(self, _: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state.id = State.PRIMARY_STATE_INACTIVE
        return response

    def on_activate(
        self, _: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        self.set("holding")
        response.success = True
        return response

    def on_stop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.set("stopped" if request.data else "inactive", "emergency stop")
        response.success = True
        return response

    async def on_reset(self, _: Reset.Request, response: Reset.Response) -> Reset.Response:
        self.resets += 1
        self.set("ready")
        if self.resets <= self.answers_to_lose:
            await Future()
        response.ok = True
        response.first_stamp = from_ns(self.resets)
        return response

    def die(self) -> None:
        self.lab.end_node(self.node)


class Lab(Bench):
    """The operator's process, and what a page and the roller have of it."""

    def __init__(self) -> None:
        super().__init__("/ergojr")
        self.nodes: list[Node] = []
        self.request = OperatorRequest()
        self.node.create_subscription(OperatorRequest, "operator/request", self.on_request, LATCHED)
        self.answers = self.node.create_client(OperatorAnswer, "operator/answer")
        self.resets = self.node.create_client(Reset, "reset")

    def make_node(self, name: str) -> Node:
        node = Node(name, namespace="/ergojr", context=self.context, use_global_arguments=False)
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def end_node(self, node: Node) -> None:
        self.nodes.remove(node)
        self.executor.remove_node(node)
        node.destroy_node()

    def close(self) -> None:
        """Also every node made: one that is only forgotten would be found by the next test."""
        for node in list(self.nodes):
            self.end_node(node)
        super().close()

    def start_operator(self) -> None:
        self.start("ergojr_driver.operator_node", stderr=None)

    def on_request(self, request: OperatorRequest) -> None:
        self.request = request

    def asked(self, state: str) -> OperatorRequest:
        self.until(lambda: self.request.state == state, f"the request '{state}'")
        return self.request

    def answer(self, action: str) -> None:
        answer = OperatorAnswer.Request(id=self.request.id, action=action)
        response = self.call(self.answers, answer)
        assert response.ok, response.message

    def powers(self, driver: FakeDriver) -> None:
        """The operator consents, and the driver is activated."""
        self.asked("power")
        self.answer("confirm")
        self.until(lambda: driver.status.state == "holding", "the activation")
        self.asked("running")

    def wants_episode(self) -> Future:
        self.until(self.resets.service_is_ready, "the operator's reset")
        return self.resets.call_async(Reset.Request(seed=SEED))


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


@pytest.mark.parametrize("heartbeat_only", [False, True])
def test_the_driver_is_activated_when_it_comes_after_the_operator(
    lab: Lab, heartbeat_only: bool
) -> None:
    lab.start_operator()
    lab.asked("starting")
    lab.powers(FakeDriver(lab, heartbeat_only))


@pytest.mark.parametrize("heartbeat_only", [False, True])
def test_the_driver_is_activated_when_the_operator_comes_after_it(
    lab: Lab, heartbeat_only: bool
) -> None:
    driver = FakeDriver(lab, heartbeat_only)
    lab.start_operator()
    lab.powers(driver)


def test_a_driver_that_is_gone_is_missed_by_name_and_its_successor_needs_consent(lab: Lab) -> None:
    driver = FakeDriver(lab)
    lab.start_operator()
    lab.powers(driver)
    driver.die()
    assert "is the driver running?" in lab.asked("starting").sentence
    lab.powers(FakeDriver(lab))


def test_consent_that_did_not_reach_a_driver_is_none_to_its_successor(lab: Lab) -> None:
    driver = FakeDriver(lab, activates=False)
    lab.start_operator()
    consented = lab.asked("power").id
    lab.answer("confirm")
    driver.die()
    successor = FakeDriver(lab)
    lab.until(lambda: lab.request.id > consented, "another request")
    assert successor.status.state == "inactive"
    lab.powers(successor)


def test_an_activation_that_could_not_be_asked_for_yet_is_asked_for_again(lab: Lab) -> None:
    driver = FakeDriver(lab, activates=False)
    lab.start_operator()
    lab.asked("power")
    lab.answer("confirm")
    driver.node.create_service(ChangeState, "driver/change_state", driver.on_activate)
    lab.until(lambda: driver.status.state == "holding", "the activation")


def test_an_operator_that_starts_anew_finds_the_arm_as_it_is(lab: Lab) -> None:
    driver = FakeDriver(lab)
    lab.start_operator()
    lab.powers(driver)
    lab.end(signal.SIGTERM)
    lab.request = OperatorRequest()
    lab.start_operator()
    lab.asked("running")
    assert driver.status.state == "holding"
    lab.wants_episode()
    lab.asked("place_cube")


def test_a_reset_whose_answer_is_lost_is_asked_for_again(lab: Lab) -> None:
    driver = FakeDriver(lab)
    driver.answers_to_lose = 1
    lab.start_operator()
    lab.powers(driver)
    episode = lab.wants_episode()
    lab.asked("place_cube")
    lab.answer("confirm")
    lab.until(episode.done, "the reset")
    assert episode.result().ok
    assert driver.resets == 2


def test_a_roller_that_asks_again_gets_the_same_reset(lab: Lab) -> None:
    driver = FakeDriver(lab)
    lab.start_operator()
    lab.powers(driver)
    first = lab.wants_episode()
    place = lab.asked("place_cube").cube_x
    second = lab.wants_episode()
    lab.until(first.done, "the end of the first call")
    assert lab.asked("place_cube").cube_x == place
    lab.answer("confirm")
    lab.until(second.done, "the reset")
    third = lab.wants_episode()
    lab.until(third.done, "the same answer")
    assert (third.result().ok, third.result().first_stamp) == (True, second.result().first_stamp)
    assert driver.resets == 1


def test_a_reset_ends_when_the_driver_is_gone(lab: Lab) -> None:
    driver = FakeDriver(lab)
    driver.answers_to_lose = 1
    lab.start_operator()
    lab.powers(driver)
    episode = lab.wants_episode()
    lab.asked("place_cube")
    lab.answer("confirm")
    lab.until(lambda: driver.resets == 1, "the reset")
    driver.die()
    lab.until(episode.done, "the end of the reset")
    assert not episode.result().ok
    assert "driver" in episode.result().message
