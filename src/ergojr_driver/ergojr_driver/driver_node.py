"""The driver node: a real Ergo Jr, from joint commands to its servos. A managed (lifecycle) node.

Publishes
    joint_states (sensor_msgs/JointState, bus_rate): m1..m6, rad, rad/s, effort in N m as the motors
        say that they apply it
    driver_status (planet_msgs/DriverStatus, latched): on every change; published when the torque
        is off, stamped with the time when the cause was found
    robot_spec (planet_msgs/RobotSpec, latched)
    /diagnostics

Subscribes to
    joint_command (sensor_msgs/JointState): `effort` in N m for m1 m2 m3 m5, stamped like the
        older image of the newest pair that its sender has seen
    reward (planet_msgs/Reward): terminated or truncated ends the episode, and the arm holds

Serves
    reset (planet_msgs/Reset): moves to the rest pose with noise, answers when the arm is there
    emergency_stop (std_srvs/SetBool): true latches the torque off, false releases the latch; served
        by a node beside it, driver_urgent, so that it waits for nothing that the driver does
    set_compliant (std_srvs/SetBool): true lets the arm be moved by hand, false holds it again
    change_state and what else a lifecycle node serves. Configure opens the port, checks six motors
        and lets them go; activate switches the torque on; whatever goes wrong switches it off and
        leads back to inactive (port lost: to unconfigured), with the cause in driver_status, in
        the log and in diagnostics. Activate again checks everything again.

Parameter autostart: configure at start, and again whenever the port was lost. Other parameters:
`ergojr_driver.driver.DriverConfig` and, under `limiter`, the limiter's.

States, watchdogs and faults: see `ergojr_driver.driver`, which runs in a thread of its own. Start
it through `ergojr_driver.guard`, which lets go should this process die or hang.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import wait

from ergojr_description.kinematics import ACTIVE_NAMES, JOINT_NAMES
from ergojr_description.limiter import LimiterConfig
from lifecycle_msgs.srv import ChangeState
from planet_node.diagnostics import Diagnostics
from planet_node.main import fail, run
from planet_node.parameters import declare
from planet_node.qos import COMMAND, LATCHED, STREAM
from planet_node.stamps import from_ns, to_ns
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from ergojr_driver import driver, guard
from ergojr_driver.driver import Driver, DriverConfig, DriverError, Status
from ergojr_driver.pypot_bus import PypotBus
from ergojr_driver.servo import Joints
from planet_msgs.msg import DriverStatus, Reward, RobotSpec
from planet_msgs.srv import Reset
from planet_node import diagnostics

_LEVELS = {
    driver.OK: diagnostics.OK,
    driver.WARN: diagnostics.WARN,
    driver.ERROR: diagnostics.ERROR,
}
_TROUBLE = ("fault", "stopped", "unconfigured")  # when there is a cause
_SWITCH_SECONDS = 0.0005  # between threads: Python's 5 ms would be half a bus cycle
_RETRY_SECONDS = 1.0  # between looks whether the port is there
_RESET_POLL = 0.005  # s
_END_SECONDS = 10  # from letting go to the end of the process

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DriverNode(LifecycleNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("driver")
        config = declare(self, DriverConfig)
        limits = declare(self, LimiterConfig, "limiter")
        self._autostart: bool = self.declare_parameter(
            "autostart",
            False,
            ParameterDescriptor(
                description="Configure at start, and whenever the port was lost.", read_only=True
            ),
        ).value
        self._config = config
        self._closing = False
        self._diagnostics = Diagnostics(self)
        self._joint_states = self.create_publisher(JointState, "joint_states", STREAM)
        self._status = self.create_publisher(DriverStatus, "driver_status", LATCHED)
        self._spec = self.create_publisher(RobotSpec, "robot_spec", LATCHED)
        # rclpy lets a transition that is none just now end the process of whoever was asked for it.
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._changed = self.create_guard_condition(self._follow)
        self._driver = Driver(
            config, limits, self._open_bus, self._on_joints, self._on_status, self._report
        )
        self.create_subscription(JointState, "joint_command", self._on_command, COMMAND)
        self.create_subscription(Reward, "reward", self._on_reward, STREAM)
        # A group of its own: a reset takes seconds, and an emergency stop must not wait for it.
        group = ReentrantCallbackGroup()
        self.create_service(Reset, "reset", self._on_reset, callback_group=group)
        # A thread of its own: an activation keeps the node's, for a second where motors reboot.
        urgent = Node(
            f"{self.get_name()}_urgent",
            namespace=self.get_namespace(),
            use_global_arguments=False,  # which would name it `driver`, too
            enable_rosout=False,
            start_parameter_services=False,
        )
        stop = self.resolve_service_name("emergency_stop")
        urgent.create_service(SetBool, stop, self._on_emergency_stop)
        self.beside = (urgent,)
        self.create_service(SetBool, "set_compliant", self._on_set_compliant)
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()
        self._spec.publish(_robot_spec(config, limits))
        self._on_status(self._driver.status)
        if self._autostart:
            self.create_timer(_RETRY_SECONDS, self._start)

    def close(self) -> None:
        """Let go."""
        # In a session of its own it is out of reach for those who kill what does not end.
        signal.alarm(_END_SECONDS)
        self._closing = True
        self._driver.close()
        self._thread.join(timeout=5.0)

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self._driver.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self._driver.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._driver.deactivate()
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._driver.unconfigure()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._driver.close()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._driver.unconfigure("a transition failed")
        return SUCCESS

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

    def _try(self, transition: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            transition()
        except DriverError as error:
            self.get_logger().error(f"not possible: {error}", throttle_duration_sec=60.0)
            return FAILURE
        return SUCCESS

    def _start(self) -> None:
        if self._lifecycle() != "unconfigured":
            return
        try:
            self._driver.configure()  # it tells by itself why not
        except DriverError:
            return
        self.trigger_configure()

    def _follow(self) -> None:
        """Bring the lifecycle to where the driver went by itself."""
        if self._lifecycle() == "active" and not self._driver.status.active:
            self.trigger_deactivate()
        if self._lifecycle() == "inactive" and self._driver.status.state == "unconfigured":
            self.trigger_cleanup()

    def _lifecycle(self) -> str:
        return str(self._state_machine.current_state[1])

    # The bus thread

    def _run(self) -> None:
        try:
            self._driver.run()
        except Exception as error:  # noqa: BLE001 -- the torque is off; any fault ends the node
            fail(self, error)

    def _open_bus(self) -> PypotBus:
        config = self._config
        guard.name_port(config.port, config.baud_rate)
        return PypotBus(config.port, config.baud_rate, config.reply_timeout, self._beat)

    def _beat(self) -> None:
        guard.beat(self._driver.armed)

    def _on_joints(self, joints: Joints, stamp: int) -> None:
        message = JointState(
            name=list(JOINT_NAMES),
            position=joints.position.tolist(),
            velocity=joints.velocity.tolist(),
            effort=joints.load.tolist(),
        )
        message.header.stamp = from_ns(stamp)
        self._joint_states.publish(message)

    def _on_status(self, status: Status) -> None:
        self._beat()  # the last one before a port is closed, and before words that may take long
        message = DriverStatus(state=status.state, torque=status.torque, cause=status.cause)
        message.header.stamp = from_ns(status.stamp)
        self._status.publish(message)
        trouble = status.state in _TROUBLE and status.cause and not self._closing
        self._report(
            "driver",
            driver.ERROR if trouble else driver.OK,
            status.cause or status.state,
            {"state": status.state, "torque": status.torque},
        )
        self._changed.trigger()

    def _report(self, part: str, level: str, sentence: str, values: dict[str, object]) -> None:
        self._diagnostics.report(part, _LEVELS[level], sentence, **values)

    # Topics and services

    def _on_command(self, message: JointState) -> None:
        self._driver.command(message.name, message.effort, to_ns(message.header.stamp))

    def _on_reward(self, message: Reward) -> None:
        if message.terminated or message.truncated:
            self._driver.end_episode(to_ns(message.header.stamp))

    async def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        pending = self._driver.reset(request.seed)
        while not pending.done():
            # rclpy runs a waiting coroutine over and over; without the pause it would take all of
            # a core while the arm moves.
            wait([pending], timeout=_RESET_POLL)
            await _OthersFirst()
        result = pending.result()
        response.ok = result.ok
        response.message = result.message
        response.first_stamp = from_ns(result.first_stamp)
        return response

    def _on_emergency_stop(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        response.message = self._driver.emergency_stop(request.data)
        response.success = True
        return response

    def _on_set_compliant(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        try:
            response.message = self._driver.set_compliant(request.data)
            response.success = True
        except DriverError as error:
            response.message = str(error)
        return response


class _OthersFirst:
    """Awaited, it lets the executor run what else is ready."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def _robot_spec(config: DriverConfig, limits: LimiterConfig) -> RobotSpec:
    most = limits.max_effort
    return RobotSpec(
        name="ergojr",
        action_names=list(ACTIVE_NAMES),
        action_low=[-most] * len(ACTIVE_NAMES),
        action_high=[most] * len(ACTIVE_NAMES),
        cameras=list(config.cameras),
        state_names=list(JOINT_NAMES),
        control_period=config.control_period,
        max_steps=config.max_steps,
        real_time_factor=1.0,
    )


def main() -> int:
    """Run the node; the exit code is for the guard."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    return run(DriverNode)


if __name__ == "__main__":
    sys.exit(main())
