"""The operator node: stands between roller and driver, and asks a person before the arm moves.

Serves
    reset (planet_msgs/Reset): asks the operator to place the cube, waits for the answer, then has
        the driver reset the arm; for the roller, which waits
    operator/answer (planet_msgs/OperatorAnswer): what may be typed on the terminal, from elsewhere

Publishes
    operator/request (planet_msgs/OperatorRequest, latched): what the operator is asked
    /diagnostics

Subscribes to
    driver_status (planet_msgs/DriverStatus, latched)

Calls
    driver/reset (planet_msgs/Reset), driver/change_state (lifecycle_msgs/ChangeState: activate),
    driver/get_state (lifecycle_msgs/GetState),
    emergency_stop and set_compliant (std_srvs/SetBool), all of the driver

Reads and writes the terminal that the parameter `terminal` names. Exits with 0 when the operator
ends the session. Parameters: `ergojr_driver.operator.OperatorConfig`.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from planet_node.diagnostics import ERROR, OK, WARN, Diagnostics
from planet_node.main import run, stop
from planet_node.parameters import declare
from planet_node.qos import LATCHED
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import SetBool

from ergojr_driver.operator import CONFIRM, AnswerError, Operator, OperatorConfig, Request
from ergojr_driver.terminal import KEYS, Terminal, TerminalError, draw, own_terminal
from planet_msgs.msg import DriverStatus, OperatorRequest
from planet_msgs.srv import OperatorAnswer, Reset

_POLL = 0.02  # s; a waiting coroutine is run over and over, and this is its pause
_LOOK = 0.1  # s between looks whether a request is still unanswered
_RESET_SECONDS = 30.0  # that the driver may take for a reset
_WAITING = ("power", "place_cube", "paused", "fault")


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
        self._unseen: tuple[float, Request] | None = None
        self._stop_owed = False  # it was ordered when there was no driver to tell
        self._shown = -1  # id of the request on the terminal; no request's in the beginning
        self._terminal: Terminal | None = None
        self._operator = Operator(self._config, self._on_request, self._on_order, stop)
        path = self._config.terminal or own_terminal()
        if path:
            try:
                self._terminal = Terminal(path, self._on_line, self._on_no_terminal)
            except TerminalError as error:
                self.get_logger().warning(f"{error}; answers come through operator/answer")
        self.create_subscription(DriverStatus, "driver_status", self._on_status, LATCHED)
        self.create_service(Reset, "reset", self._on_reset, callback_group=group)
        self.create_service(OperatorAnswer, "operator/answer", self._on_answer)
        self.create_timer(_LOOK, self._show)
        self.create_timer(_LOOK, self._stop_late)

    def close(self) -> None:
        """Give the terminal back."""
        self._closed.set()
        if self._terminal is not None:
            self._terminal.close()

    # The roller

    async def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        wanted = self._operator.want_episode(request.seed)
        await self._until(wanted.done)
        refusal = wanted.result() if wanted.done() else "the operator node stops"
        if not refusal and not self._reset.service_is_ready():
            refusal = "there is no driver"
        if refusal:
            response.message = refusal
            return response
        future = self._reset.call_async(request)
        deadline = time.monotonic() + _RESET_SECONDS
        await self._until(lambda: future.done() or time.monotonic() > deadline)
        if future.done():
            response = future.result()
        else:
            self._reset.remove_pending_request(future)
            response.message = f"the driver did not answer a reset for {_RESET_SECONDS:g} s"
        self._operator.on_reset(response.ok)
        return response

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met() and not self._closed.wait(_POLL):
            await _OthersFirst()

    # The driver

    def _on_status(self, message: DriverStatus) -> None:
        self._operator.on_driver(message.state, message.cause)

    def _on_order(self, order: str) -> None:
        self._stop_owed = order == "stop" and not self._stop.service_is_ready()
        if self._stop_owed:
            self._tell("there is no driver: it is told to stop as soon as there is one")
        elif order in ("stop", "unstop"):
            after = self._activate if order == "unstop" else None
            self._call(self._stop, SetBool.Request(data=order == "stop"), after)
        elif order in ("release", "hold"):
            self._call(self._compliant, SetBool.Request(data=order == "release"))
        else:
            self._activate()

    def _stop_late(self) -> None:
        if self._stop_owed and self._stop.service_is_ready():
            self._on_order("stop")

    def _activate(self) -> None:
        """Activate, if the driver is where it can be: a lost port may have changed that."""

        def known(future: Any) -> None:
            state = future.result()
            if state is not None and state.current_state.id == State.PRIMARY_STATE_INACTIVE:
                request = ChangeState.Request()
                request.transition.id = Transition.TRANSITION_ACTIVATE
                self._call(self._change, request)

        if self._state.service_is_ready():
            self._state.call_async(GetState.Request()).add_done_callback(known)
        else:
            self._tell("there is no driver")

    def _call(self, client: Client, request: Any, after: Callable[[], None] | None = None) -> None:
        """Call the driver without waiting; whatever comes of it shows in its status."""
        if not client.service_is_ready():
            self._tell(f"the driver does not serve {client.service_name}")
            return

        def answered(future: Any) -> None:
            response = future.result()
            if response is None or not response.success:
                why = getattr(response, "message", "") or "see driver_status"
                self._tell(f"the driver refuses {client.service_name}: {why}")
            elif after is not None:
                after()

        client.call_async(request).add_done_callback(answered)

    # The operator

    def _on_request(self, request: Request) -> None:
        self._unseen = (time.monotonic() + self._config.show_after, request)
        place = request.place
        message = OperatorRequest(
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
        level = WARN if request.state in ("starting", "fault") else OK
        self._diagnostics.report("operator", level, request.sentence, state=request.state)

    def _show(self) -> None:
        """Print what waits for an answer, or says that one was understood."""
        if self._unseen is None or time.monotonic() < self._unseen[0]:
            return
        request, self._unseen = self._unseen[1], None
        if request.state == "running" and "resume" not in request.actions:
            return  # the arm shows that by itself
        if self._terminal is not None:
            self._terminal.write(draw(request, self._config))
            self._shown = request.id
        elif request.state in _WAITING:
            self.get_logger().info(f"{request.sentence} ({', '.join(request.actions)})")

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


class _OthersFirst:
    """Awaited, it lets the executor run what else is ready."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(OperatorNode)


if __name__ == "__main__":
    sys.exit(main())
