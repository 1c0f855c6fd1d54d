"""The operator node: stands between roller and driver, and asks a person before the arm moves.

Serves
    reset (planet_msgs/Reset): asks the operator to place the cube, waits for the answer, then has
        the driver reset the arm; for the roller, which waits
    operator/answer (planet_msgs/OperatorAnswer): what may be typed on the terminal, from elsewhere

Publishes
    operator/request (planet_msgs/OperatorRequest, latched): what the operator is asked; the same
        again twice a second, for whoever missed it
    /diagnostics

Subscribes to
    driver_status (planet_msgs/DriverStatus, latched, heard again every second)

Calls
    driver/reset (planet_msgs/Reset), driver/change_state (lifecycle_msgs/ChangeState: activate),
    driver/get_state (lifecycle_msgs/GetState),
    emergency_stop and set_compliant (std_srvs/SetBool), all of the driver

Reads and writes the terminal that the parameter `terminal` names. Exits with 0 when the operator
ends the session. Parameters: `ergojr_driver.operator.OperatorConfig`.

A call whose answer is lost is made again: see `ergojr_driver.orders`, and `_reset_driver` here.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from planet_msgs.msg import DriverStatus, OperatorRequest
from planet_msgs.srv import OperatorAnswer, Reset
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool

from ergojr_driver.coroutines import OthersFirst
from ergojr_driver.operator import CONFIRM, AnswerError, Operator, OperatorConfig, Request
from ergojr_driver.orders import ACTIVATE, HOLD, RELEASE, STOP, UNSTOP, DriverSnapshot, Order
from ergojr_driver.terminal import KEYS, Terminal, TerminalError, draw, own_terminal
from planet_node.diagnostics import ERROR, OK, WARN, Diagnostics
from planet_node.main import run, stop
from planet_node.parameters import declare
from planet_node.qos import LATCHED
from planet_node.stamps import to_ns

_LOOK = 0.5  # s between looks at what did not happen
_RESET_SECONDS = 30.0  # that the driver may take for a reset
_LOST_SECONDS = 2.0  # after which a driver that is not resetting has lost the call, or its answer
_STOPS = "the operator node stops"
_WAITING = ("power", "place_cube", "paused", "fault")


@dataclass
class _Round:
    """One reset of the driver, and its answer: to the same question it is given again."""

    seed: int
    evaluation: bool
    response: Reset.Response | None = None

    def answers(self, request: Reset.Request) -> bool:
        return (self.seed, self.evaluation) == (request.seed, request.evaluation)


class OperatorNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("operator")
        self._config = declare(self, OperatorConfig)
        self._diagnostics = Diagnostics(self)
        self._requests = self.create_publisher(OperatorRequest, "operator/request", LATCHED)
        group = ReentrantCallbackGroup()
        self._reset = self.create_client(Reset, "driver/reset", callback_group=group)
        self._change = self.create_client(ChangeState, "driver/change_state", callback_group=group)
        self._state = self.create_client(GetState, "driver/get_state", callback_group=group)
        self._stop = self.create_client(SetBool, "emergency_stop", callback_group=group)
        self._compliant = self.create_client(SetBool, "set_compliant", callback_group=group)
        self._closed = threading.Event()
        self._round: _Round | None = None
        self._call: tuple[Client, Future] | None = None  # the driver's answer is awaited
        self._absent: Order | None = None  # the operator was told that nobody serves it
        self._unseen: Request | None = None
        self._shown = -1  # id of the request on the terminal; no request's in the beginning
        self._message = OperatorRequest()
        self._terminal: Terminal | None = None
        self._show_timer = self.create_timer(self._config.show_after, self._show)
        self._operator = Operator(self._config, self._on_request, self._send, self._tell, stop)
        path = self._config.terminal or own_terminal()
        if path:
            try:
                self._terminal = Terminal(path, self._on_line, self._on_no_terminal)
            except TerminalError as error:
                self.get_logger().warning(f"{error}; answers come through operator/answer")
        self.create_subscription(DriverStatus, "driver_status", self._on_status, LATCHED)
        self.create_service(Reset, "reset", self._on_reset, callback_group=group)
        self.create_service(OperatorAnswer, "operator/answer", self._on_answer)
        self.create_timer(_LOOK, self._look)

    def close(self) -> None:
        """Give the terminal back."""
        self._closed.set()
        self._wake()
        if self._terminal is not None:
            self._terminal.close()

    # The roller

    async def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        """Asked again while it waits, or before the episode has begun, it is the same reset.

        For the roller asks again when it hears nothing, and an answer may be lost.
        """
        known = self._round
        if (
            known is None
            or not known.answers(request)
            or (known.response is not None and self._operator.driver != "ready")
        ):
            wanted = self._operator.want_episode(request.seed)
            await self._until(wanted.done)
            refusal = wanted.result() if wanted.done() else _STOPS
            if refusal:
                response.message = refusal
                return response
            self._round = known = _Round(request.seed, request.evaluation)
            known.response = await self._reset_driver(request)
            self._operator.on_reset(known.response.ok)
            if not known.response.ok:
                self._round = None
        round_ = known
        await self._until(lambda: round_.response is not None)
        return round_.response or Reset.Response(message=_STOPS)

    async def _reset_driver(self, request: Reset.Request) -> Reset.Response:
        """Have the driver reset the arm; where the call is lost, or its answer, call again."""
        deadline = time.monotonic() + _RESET_SECONDS
        trouble = ""
        while not trouble:
            if not self._reset.service_is_ready():
                return Reset.Response(message="there is no driver: is it running? See its lines")
            future = self._reset.call_async(request)
            resetting = now = time.monotonic()
            while not future.done() and not trouble and now - resetting < _LOST_SECONDS:
                await OthersFirst()
                now = time.monotonic()
                if self._operator.driver == "resetting":
                    resetting = now
                trouble = self._operator.missing
                if self._closed.is_set():
                    trouble = _STOPS
                elif now > deadline:
                    trouble = f"the driver did not answer a reset for {_RESET_SECONDS:g} s"
            if future.done():
                return future.result()
            self._reset.remove_pending_request(future)
        return Reset.Response(message=trouble)

    async def _until(self, met: Callable[[], bool]) -> None:
        """The executor looks again after whatever it has run: a message, or the timer's look."""
        while not met() and not self._closed.is_set():
            await OthersFirst()

    def _wake(self) -> None:
        """Let the executor look again, from another thread."""
        if self.executor is not None:
            self.executor.wake()

    # The driver

    def _on_status(self, message: DriverStatus) -> None:
        stamp = to_ns(message.header.stamp)
        self._operator.on_driver(
            DriverSnapshot(message.state, message.cause, message.torque, stamp)
        )
        self._report_driver()

    def _look(self) -> None:
        self._operator.look()
        self._requests.publish(self._message)
        self._report_driver()

    def _report_driver(self) -> None:
        missing = self._operator.missing
        self._diagnostics.report("driver", WARN if missing else OK, missing or "is heard")

    def _send(self, order: Order) -> None:
        """Call the driver without waiting: it is called again until the operator has its answer."""
        if self._call is not None:
            client, future = self._call
            client.remove_pending_request(future)
            self._call = None
        if order.name == ACTIVATE:
            self._activate(order)
        elif order.name in (STOP, UNSTOP):
            self._ask(order, self._stop, SetBool.Request(data=order.name == STOP))
        elif order.name in (RELEASE, HOLD):
            self._ask(order, self._compliant, SetBool.Request(data=order.name == RELEASE))

    def _activate(self, order: Order) -> None:
        """Activate, if the driver is where it can be: a lost port may have changed that.

        Where it is not, or not yet, the next try finds it there.
        """

        def known(response: GetState.Response) -> None:
            if response.current_state.id == State.PRIMARY_STATE_INACTIVE:
                request = ChangeState.Request()
                request.transition.id = Transition.TRANSITION_ACTIVATE
                self._ask(order, self._change, request)

        self._ask(order, self._state, GetState.Request(), known)

    def _ask(
        self,
        order: Order,
        client: Client,
        request: Any,
        then: Callable[[Any], None] | None = None,
    ) -> None:
        """Call the driver for `order`: its answer is the order's, unless `then` goes on with it."""
        if not client.service_is_ready():
            if self._absent is not order:
                self._absent = order
                self._tell(
                    f"there is no driver that serves {client.service_name}: it is told "
                    f"'{order.name}' as soon as there is one"
                )
            return

        def answered(future: Future) -> None:
            response = future.result()
            if then is not None:
                then(response)
            else:
                self._operator.answered(order, response.success, getattr(response, "message", ""))

        future = client.call_async(request)
        self._call = client, future
        future.add_done_callback(answered)

    # The operator

    def _on_request(self, request: Request) -> None:
        self._unseen = request
        self._show_timer.reset()
        self._wake()
        place = request.place
        self._message = message = OperatorRequest(
            id=request.id,
            state=request.state,
            sentence=request.sentence,
            actions=list(request.actions),
            cube_x=place.x if place else math.nan,
            cube_y=place.y if place else math.nan,
            cube_yaw=place.yaw if place else math.nan,
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._requests.publish(message)
        level = WARN if request.state == "fault" else OK
        self._diagnostics.report("operator", level, request.sentence, state=request.state)

    def _show(self) -> None:
        """Print what waits for an answer, or says that one was understood."""
        self._show_timer.cancel()
        request, self._unseen = self._unseen, None
        if request is None or (request.state == "running" and "resume" not in request.actions):
            return  # the arm shows that by itself
        if self._terminal is not None:
            self._terminal.write(draw(request, self._config))
            self._shown = request.id
        elif request.state in _WAITING:
            service = self.resolve_service_name("operator/answer")
            answer = f"{{id: 0, action: {request.actions[0]}}}"
            self.get_logger().info(
                f"{request.sentence} ({', '.join(request.actions)}); to answer: ros2 service call "
                f'{service} planet_msgs/srv/OperatorAnswer "{answer}"'
            )

    def _on_line(self, line: str) -> None:
        action = KEYS.get(line.lower())
        if action is None:
            self._tell(f"'{line}' is none of the keys")
            return
        try:
            # Consent is to what was read, not to what has come up in the meantime.
            self._operator.answer(self._shown if action == CONFIRM else 0, action)
        except AnswerError as error:
            if line:  # Enter alone is pressed for many reasons
                self._tell(str(error))
        self._wake()

    def _on_no_terminal(self) -> None:
        sentence = "the terminal is not read any more: no key stops the arm, the switch does"
        self._diagnostics.report("terminal", ERROR, sentence)

    def _on_answer(
        self, request: OperatorAnswer.Request, response: OperatorAnswer.Response
    ) -> OperatorAnswer.Response:
        try:
            self._operator.answer(request.id, request.action)
            response.ok = True
        except AnswerError as error:
            response.message = str(error)
        return response

    def _tell(self, sentence: str) -> None:
        if self._terminal is not None:
            self._terminal.write(f"  {sentence}\n")
        else:
            self.get_logger().warning(sentence)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(OperatorNode)


if __name__ == "__main__":
    sys.exit(main())
