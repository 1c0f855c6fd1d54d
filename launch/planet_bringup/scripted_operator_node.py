"""Answers as the operator of the rig would: consents, and puts the virtual cube where it is asked.

Subscribes to
    operator/request (planet_msgs/OperatorRequest, latched, said again twice a second)

Calls
    rig/place_cube (planet_msgs/PlaceCube), operator/answer (planet_msgs/OperatorAnswer)
"""

# mypy: allow-subclassing-any
from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

from planet_msgs.msg import OperatorRequest
from planet_msgs.srv import OperatorAnswer, PlaceCube
from rclpy.node import Node

from planet_node.main import run
from planet_node.parameters import declare
from planet_node.qos import LATCHED


@dataclass(frozen=True)
class ScriptConfig:
    """How the operator of the rig behaves."""

    delay: float = field(
        default=0.1,
        metadata={"doc": "The script answers a new request after this time (s).", "low": 0.0},
    )
    repeat: float = field(
        default=2.0,
        metadata={
            "doc": "The script answers a request again that is still there after this time (s).",
            "low": 0.1,
        },
    )


class ScriptedOperatorNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("scripted_operator")
        self._config = declare(self, ScriptConfig)
        self._request = OperatorRequest()
        self._due = 0.0  # when it is to be answered, on the steady clock
        self._timer = self.create_timer(self._config.delay, self._act)
        self._timer.cancel()
        self._place = self.create_client(PlaceCube, "rig/place_cube")
        self._answer = self.create_client(OperatorAnswer, "operator/answer")
        self.create_subscription(OperatorRequest, "operator/request", self._on_request, LATCHED)

    def _on_request(self, request: OperatorRequest) -> None:
        """Answer a new request once the delay is over; one that is said again, when it is due."""
        before, self._request = self._request, request
        if (request.header.stamp, request.id) == (before.header.stamp, before.id):
            self._act()
        else:
            self._due = time.monotonic() + self._config.delay
            self._timer.reset()

    def _act(self) -> None:
        if time.monotonic() < self._due:
            return
        self._timer.cancel()
        request = self._request
        if "confirm" not in request.actions:
            return
        client = self._place if request.state == "place_cube" else self._answer
        if not client.service_is_ready() or not self._answer.service_is_ready():
            return
        self._due = time.monotonic() + self._config.repeat
        if client is self._answer:
            self._confirm(request)
            return
        place = PlaceCube.Request(x=request.cube_x, y=request.cube_y, yaw=request.cube_yaw)

        def placed(future: Any) -> None:
            if future.result().ok:
                self._confirm(request)
            else:  # the arm lies there: another place, please
                self._send(request, "skip")

        client.call_async(place).add_done_callback(placed)

    def _confirm(self, request: OperatorRequest) -> None:
        self._send(request, "confirm")

    def _send(self, request: OperatorRequest, action: str) -> None:
        def answered(future: Any) -> None:
            response = future.result()
            if not response.ok:
                self.get_logger().warning(f"'{action}' is refused: {response.message}")

        answer = OperatorAnswer.Request(id=request.id, action=action)
        self._answer.call_async(answer).add_done_callback(answered)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(ScriptedOperatorNode)


if __name__ == "__main__":
    sys.exit(main())
