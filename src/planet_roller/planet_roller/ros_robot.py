"""The robot of a node's namespace, over its topics and its service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from planet_msgs.msg import DriverStatus, Reward
from planet_msgs.msg import RobotSpec as RobotSpecMessage
from planet_msgs.srv import Reset
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from planet_core.clocks import SteadyClock
from planet_core.report import Report
from planet_core.robot_spec import RobotSpec
from planet_core.run_id import RunFilter
from planet_node.calls import CallError, UnansweredError, call
from planet_node.images import to_array
from planet_node.main import fail
from planet_node.qos import COMMAND, IMAGE, LATCHED, LATCHED_BY_ANY, STREAM
from planet_node.stamps import from_ns, to_ns
from planet_roller.config import RollerConfig
from planet_roller.observations import Assembler
from planet_roller.robot import (
    ANY,
    JointSample,
    RewardSample,
    RobotError,
    Snapshot,
    StoppedError,
    Wanted,
)

_AGAIN_FIRST, _AGAIN_LAST = 5.0, 60.0  # s until a reset without an answer is asked for again
_SPEC_AGAIN = 10.0  # s until a robot's spec is subscribed to anew: its one message may be lost
_POWERED = ("resetting", "ready", "driving", "holding")  # states of driver_status
_COMPARABLE = 60.0  # s; a stamp further from the node's clock is of another clock


class RobotTelemetry(Protocol):
    """What the robot tells of its topics."""

    report: Report

    def report_source(self, source: str, fault: str | None) -> None:
        """Tell what is wrong with a topic, or None when it is well again."""


class RosRobot:
    """The robot of the node's namespace (planet_roller.robot.Robot)."""

    def __init__(
        self,
        node: Node,
        telemetry: RobotTelemetry,
        clock: SteadyClock,
        config: RollerConfig,
        run: RunFilter,
    ) -> None:
        self._node = node
        self._telemetry = telemetry
        self._clock = clock
        self._config = config
        self._run = run
        self._closed = threading.Event()
        self._announced = threading.Event()
        self._announcements = 0
        self._rolling = False
        self._let_go: str | None = None
        self._stranger: str | None = None  # why a second robot on these topics is refused
        self._spec_message: RobotSpecMessage | None = None
        self._assembler: Assembler | None = None
        self.commands = node.create_publisher(JointState, "joint_command", COMMAND)
        self._reset = node.create_client(
            Reset, "reset", callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._listen_for_spec()

    def connect(self) -> None:
        """Wait for the robot's spec and subscribe to what it announces."""
        topic = self._node.resolve_topic_name("robot_spec")
        patience, listened = self._config.observation_timeout, self._clock.now()
        while not self._announced.wait(patience):
            self._telemetry.report(
                "robot_spec",
                "warn",
                f"no robot on {topic} yet: is its driver running, or the simulator? See its lines",
            )
            if self._clock.now() - listened > _SPEC_AGAIN:
                listened = self._clock.now()
                self._node.destroy_subscription(self._spec_subscription)
                self._listen_for_spec()
        if self._closed.is_set():
            raise StoppedError
        message = self._spec_message
        assert message is not None  # set before the announcement
        self.spec = RobotSpec(
            name=message.name,
            action_names=tuple(message.action_names),
            action_low=tuple(message.action_low),
            action_high=tuple(message.action_high),
            cameras=tuple(message.cameras),
            state_names=tuple(message.state_names),
            control_period=message.control_period,
            max_steps=message.max_steps,
            real_time_factor=message.real_time_factor,
        )
        self._telemetry.report("robot_spec", "ok", f"{self.spec.name} is there")
        self._assembler = Assembler(self.spec, self._clock, self._telemetry.report_source)
        self._names = list(self.spec.action_names)
        for camera in self.spec.cameras:
            self._node.create_subscription(
                Image, f"{camera}/image_raw", self._on_image(camera), IMAGE
            )
        self._node.create_subscription(JointState, "joint_states", self._on_joints, STREAM)
        self._node.create_subscription(Reward, "reward", self._on_reward, STREAM)
        self._node.create_subscription(
            DriverStatus, "driver_status", self._on_driver_status, LATCHED
        )

    def _listen_for_spec(self) -> None:
        self._spec_subscription = self._node.create_subscription(
            RobotSpecMessage, "robot_spec", self._on_spec, LATCHED_BY_ANY
        )

    def close(self) -> None:
        """Let a wait for the robot end."""
        self._closed.set()
        self._announced.set()
        if self._assembler is not None:
            self._assembler.close()

    def reset(self, seed: int, evaluation: bool) -> None:
        """See :class:`planet_roller.robot.Robot`."""
        self._rolling = False
        self._refuse_stranger()
        self._joined.clear()
        announced = self._announcements

        def interrupted() -> str | None:
            if self._closed.is_set():
                raise StoppedError
            return "the robot started anew" if self._announcements != announced else None

        request = Reset.Request(seed=seed, evaluation=evaluation)
        deadline = self._clock.now() + self._config.reset_timeout
        again, response = _AGAIN_FIRST, None
        while response is None:
            left = deadline - self._clock.now()
            try:
                response = call(self._reset, request, min(again, left), interrupted)
            except UnansweredError as error:
                if left <= again:
                    timeout = f"for {self._config.reset_timeout:g} s"
                    raise RobotError(f"the robot did not answer a reset {timeout}") from error
                again = min(2.0 * again, _AGAIN_LAST)
            except CallError as error:
                raise RobotError(f"{error}: is the operator running, or the simulator?") from error
        if not response.ok:
            raise RobotError(f"the robot refuses to reset: {response.message}")
        self._joined.begin(to_ns(response.first_stamp))
        self._rolling = True
        if self._let_go is not None:
            self._joined.interrupt(self._let_go)

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Snapshot:
        """See :class:`planet_roller.robot.Robot`."""
        return self._joined.observe(after, timeout, wanted)

    def newer(self, after: int, until: float) -> Snapshot | None:
        """See :class:`planet_roller.robot.Robot`."""
        return self._joined.newer(after, until)

    def command(self, effort: npt.NDArray[np.float64], stamp: int) -> None:
        """See :class:`planet_roller.robot.Robot`."""
        message = JointState(name=self._names, effort=effort.tolist())
        message.header.stamp = from_ns(stamp)
        self.commands.publish(message)

    def drain(self) -> tuple[list[JointSample], list[RewardSample]]:
        """See :class:`planet_roller.robot.Robot`."""
        return self._joined.drain()

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        """See :class:`planet_roller.robot.Robot`."""
        return self._joined.wait_reward(stamp, timeout)

    @property
    def _joined(self) -> Assembler:
        assert self._assembler is not None  # connect() comes first
        return self._assembler

    def _refuse_stranger(self) -> None:
        """Raise RobotError while another run's robot has these topics: its images have no id."""
        if self._stranger is not None and self._node.count_publishers("robot_spec") > 1:
            raise RobotError(self._stranger)
        self._stranger = None

    def _on_spec(self, message: RobotSpecMessage) -> None:
        stranger = self._run.refusal("robot_spec", message.run_id)
        if stranger is not None:
            self._stranger = stranger
            if self._assembler is not None:
                self._assembler.interrupt(stranger)
            return
        if self._spec_message is not None and message != self._spec_message:
            fail(self._node, RuntimeError("the robot has changed its robot_spec"))
            return
        self._spec_message = message
        self._announcements += 1
        self._announced.set()
        if self._assembler is not None:
            self._assembler.interrupt("the robot started anew")

    def _on_driver_status(self, message: DriverStatus) -> None:
        powered = message.state in _POWERED
        reason = None if powered else f"the driver let go: {message.cause or message.state}"
        self._let_go = reason
        if reason is not None and self._rolling:  # while a reset waits, the power may come and go
            self._joined.interrupt(reason)

    def _on_image(self, camera: str) -> Callable[[Image], None]:
        def on_image(message: Image) -> None:
            stamp = to_ns(message.header.stamp)
            age = (self._node.get_clock().now().nanoseconds - stamp) * 1e-9
            try:
                image = to_array(message)
            except ValueError as error:
                self._joined.put_fault(camera, f"{camera}: {error}")
                return
            self._joined.put_image(camera, stamp, image, age if 0.0 <= age < _COMPARABLE else 0.0)

        return on_image

    def _on_joints(self, message: JointState) -> None:
        self._joined.put_joints(
            to_ns(message.header.stamp),
            message.name,
            message.position,
            message.velocity,
            message.effort,
        )

    def _on_reward(self, message: Reward) -> None:
        self._joined.put_reward(
            RewardSample(
                stamp=to_ns(message.header.stamp),
                reward=message.reward,
                valid=message.valid,
                terminated=message.terminated,
                truncated=message.truncated,
                touched=message.touched,
            )
        )
