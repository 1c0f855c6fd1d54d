"""The driver node, a lifecycle node that connects a real Ergo Jr to ROS.

Publishes:
    joint_states (sensor_msgs/JointState, 50 Hz): m1 to m6 in rad and rad/s, and the effort in N m
        that the motors report.
    driver_status (planet_msgs/DriverStatus, latched): the state on every change and once a second.
        A state without torque is published once the torque is off, and its stamp is the time when
        the cause was found.
    robot_spec (planet_msgs/RobotSpec, latched): what the robot is.
    /diagnostics

Subscribes to:
    joint_command (sensor_msgs/JointState): `effort` in N m for m1 m2 m3 m5. Its stamp is that of
        the older image of the newest pair that its sender has seen.
    reward (planet_msgs/Reward): a terminated or truncated episode is over, and the arm holds.
    <camera>/camera_info (sensor_msgs/CameraInfo): shows which camera is late.

Serves:
    reset (planet_msgs/Reset): moves the arm to the rest pose with noise, and answers when it is
        there.
    emergency_stop (std_srvs/SetBool): true latches the torque off, false releases the latch. A
        second node, driver_urgent, serves it, so that it waits for nothing that the driver does.
    set_compliant (std_srvs/SetBool): true lets the arm be moved by hand, false holds it again.
    change_state and the other services of a lifecycle node. Configure opens the port, checks the
        six motors and switches their torque off. Activate checks everything again and switches the
        torque on. Any fault switches the torque off and makes the node inactive, or unconfigured if
        the port is lost; the cause stands in driver_status, the log and the diagnostics.

The parameter `autostart` configures the node at its start, and again whenever the port was lost.
The other parameters are those of `ergojr_driver.config.DriverConfig` and, under `limiter`, those of
the limiter.

Another process moves the arm (`ergojr_driver.bus_process`). This node talks to it over a link and a
page; both processes are children of `ergojr_driver.guard`. If this node hangs or dies, the bus
process switches the torque off and the guard starts the node again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial

from lifecycle_msgs.srv import ChangeState
from planet_msgs.msg import DriverStatus, Reward, RobotSpec
from planet_msgs.srv import Reset
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, JointState
from std_srvs.srv import SetBool

from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import ACTIVE_NAMES
from ergojr_driver.blame import Blame, ProcessorWaits, parent
from ergojr_driver.config import DriverConfig
from ergojr_driver.coroutines import OthersFirst
from ergojr_driver.link import JointsRecord, Link
from ergojr_driver.page import Page
from ergojr_driver.remote import Answer, BusClient
from ergojr_driver.ros_messages import driver_status, joint_state, robot_spec
from ergojr_driver.status import Status
from planet_core.report import Level
from planet_core.robot import CommandError, command_values
from planet_node.diagnostics import Diagnostics
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import COMMAND, IMAGE, LATCHED, STREAM
from planet_node.stamps import from_ns, to_ns

_TROUBLE = ("fault", "stopped", "unconfigured")  # states that are errors if they have a cause
_RETRY_SECONDS = 1.0  # between two attempts to find the port, and between two statuses
_ALIVE_SECONDS = 0.2  # between two signs of life
_LAST_WORD = 1.0  # s for the bus process to switch the torque off when the node ends

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DriverNode(LifecycleNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("driver")
        self._config = config = declare(self, DriverConfig)
        self._limits = limits = declare(self, LimiterConfig, "limiter")
        self._autostart: bool = self.declare_parameter(
            "autostart",
            False,
            ParameterDescriptor(
                description="Whether the driver configures itself at the start, and again whenever "
                "the port was lost.",
                read_only=True,
            ),
        ).value
        self._closing = False
        self._was_slow = False  # whether the last report was that this computer is too slow
        self._diagnostics = Diagnostics(self)
        self._joint_states = self.create_publisher(JointState, "joint_states", STREAM)
        self._status = self.create_publisher(DriverStatus, "driver_status", LATCHED)
        self._spec = self.create_publisher(RobotSpec, "robot_spec", LATCHED)
        # With rclpy's own callback, a request for an impossible transition would end this process.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._changed = self.create_guard_condition(self._follow)
        # The parent of the guard is the launch, whose descendants are all nodes.
        self._blame = Blame(
            config.cameras, ProcessorWaits(parent(os.getppid())), time.monotonic, time.time_ns
        )
        self._bus = BusClient(
            _link(),
            Page.inherited(),
            config,
            asdict(limits),
            self._on_joints,
            self._on_status,
            self._report,
        )
        self._thread = threading.Thread(target=self._listen, name="bus", daemon=True)
        self._told = DriverStatus()
        self._thread.start()
        self._bus.connect()
        self._offer()
        self._spec.publish(robot_spec(config, limits))

    def _offer(self) -> None:
        self.create_subscription(JointState, "joint_command", self._on_command, COMMAND)
        self.create_subscription(Reward, "reward", self._on_reward, STREAM)
        for camera in self._config.cameras:
            self.create_subscription(
                CameraInfo, f"{camera}/camera_info", partial(self._on_camera_info, camera), IMAGE
            )
        # A reset takes seconds, so its group is its own: an emergency stop must not wait for it.
        group = ReentrantCallbackGroup()
        self.create_service(Reset, "reset", self._on_reset, callback_group=group)
        self.create_service(SetBool, "set_compliant", self._on_set_compliant)
        self.create_timer(_RETRY_SECONDS, self._every_second)
        # This node has a thread of its own, for an activation may occupy the driver node's thread
        # for a second while motors reboot.
        urgent = Node(
            f"{self.get_name()}_urgent",
            namespace=self.get_namespace(),
            use_global_arguments=False,  # they would name this node `driver` as well
            enable_rosout=False,
            start_parameter_services=False,
        )
        stop = self.resolve_service_name("emergency_stop")
        urgent.create_service(SetBool, stop, self._on_emergency_stop)
        urgent.create_timer(_ALIVE_SECONDS, self._alive)
        self.beside = (urgent,)

    def close(self) -> None:
        """Switch the torque off."""
        self._closing = True
        self._bus.close(_LAST_WORD)
        self._thread.join(timeout=5.0)

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the port and check the motors."""
        return self._try("configure")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the torque on."""
        status = self._bus.status
        if status.state == "checking":
            self.get_logger().warning(f"not activated: {status.cause}")
            return FAILURE
        result = self._try("activate")
        if result == SUCCESS:
            limits = ", ".join(f"{k} {v:g}" for k, v in asdict(self._limits).items())
            self.get_logger().info(f"the arm has torque, within these limits (SI units): {limits}")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the torque off."""
        self._bus.ask("deactivate")
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switch the torque off and close the port."""
        self._bus.ask("unconfigure")
        return SUCCESS

    on_shutdown = on_error = on_cleanup

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return self._change_state(request, response)
        except rclpy_implementation.RCLError:
            asked = request.transition.label or request.transition.id
            self.get_logger().warning(f"transition {asked} is none of state {self._lifecycle()}")
            response.success = False
            return response

    def _try(self, transition: str) -> TransitionCallbackReturn:
        answer = self._bus.ask(transition)
        if answer.ok:
            return SUCCESS
        self.get_logger().error(f"not possible: {answer.message}", throttle_duration_sec=60.0)
        return FAILURE

    def _every_second(self) -> None:
        """Publish the status, and bring the lifecycle to where the driver is."""
        self._publish_status()
        if self._autostart and self._bus.status.state == "unconfigured":
            self._bus.ask("configure")  # the status tells why it fails
        self._follow()

    def _follow(self) -> None:
        """Make the lifecycle's state follow the state that the driver went to by itself."""
        status = self._bus.status
        if self._lifecycle() == "unconfigured" and status.state != "unconfigured":
            self.trigger_configure()
        if self._lifecycle() == "active" and not status.active:
            self.trigger_deactivate()
        if self._lifecycle() == "inactive" and status.state == "unconfigured":
            self.trigger_cleanup()

    def _lifecycle(self) -> str:
        return str(self._state_machine.current_state[1])

    # Messages of the bus process

    def _listen(self) -> None:
        try:
            self._bus.listen()
        except Exception as error:  # noqa: BLE001 -- any fault of the thread must end the node
            fail(self, error)

    def _on_joints(self, record: JointsRecord) -> None:
        self._joint_states.publish(joint_state(record.joints, record.stamp))

    def _on_status(self, status: Status) -> None:
        cause = status.cause
        if status.state == "fault":
            cause = self._blame.explain(cause, status.stamp)
        self._told = driver_status(status, cause)
        self._publish_status()
        trouble = status.state in _TROUBLE and cause and not self._closing
        self._report(
            "driver",
            "error" if trouble else "ok",
            cause or status.state,
            {"state": status.state, "torque": status.torque},
        )
        self._changed.trigger()

    def _publish_status(self) -> None:
        if self._told.state:
            self._status.publish(self._told)

    def _report(self, part: str, level: Level, sentence: str, values: dict[str, object]) -> None:
        if part == "pace":
            if level == "ok" and not self._was_slow:
                self.get_logger().info(f"pace: {sentence}")  # diagnostics log a change of level
            self._was_slow = level != "ok"
        self._diagnostics.report(part, level, sentence, **values)

    # Topics and services

    def _on_command(self, message: JointState) -> None:
        self._blame.on_command()
        stamp = to_ns(message.header.stamp)
        try:
            efforts = command_values(ACTIVE_NAMES, message.name, message.effort)
        except CommandError as error:
            self._bus.tell("refuse", why=str(error))
        else:
            self._bus.command(efforts, stamp)

    def _on_reward(self, message: Reward) -> None:
        stamp = to_ns(message.header.stamp)
        self._bus.images(stamp, time.time_ns())
        if message.terminated or message.truncated:
            self._bus.tell("end_episode", stamp=stamp)

    def _on_camera_info(self, camera: str, message: CameraInfo) -> None:
        self._blame.on_image(camera, to_ns(message.header.stamp))

    def _alive(self) -> None:
        self._bus.alive()
        self._blame.look()

    async def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        pending: Future[Answer] = self._bus.begin("reset", seed=request.seed)
        # This coroutine goes on whenever the executor wakes up, for whatever reason.
        pending.add_done_callback(lambda _: self._changed.trigger())
        while not pending.done() and not self._closing:
            await OthersFirst()
        answer = pending.result() if pending.done() else Answer(False, "the driver node stops")
        response.ok = answer.ok
        response.message = answer.message
        response.first_stamp = from_ns(answer.first_stamp)
        return response

    def _on_emergency_stop(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        answer = self._bus.stop(request.data)
        response.success = answer.ok
        response.message = answer.message or (
            "torque is off until it is released and the driver activated"
            if request.data
            else "released"
        )
        return response

    def _on_set_compliant(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        answer = self._bus.ask("compliant", on=request.data)
        response.success, response.message = answer.ok, answer.message
        return response


def _link() -> Link:
    try:
        return Link.inherited()
    except KeyError as error:
        raise StartupError(
            "the driver node was started without its guard: start it with "
            "`ros2 run ergojr_driver driver`"
        ) from error


def main() -> int:
    """Run the node; the exit code is for the guard."""
    return run(DriverNode)


if __name__ == "__main__":
    sys.exit(main())
