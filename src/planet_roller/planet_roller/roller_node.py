"""The roller node: it rolls out episodes on the robot of its namespace.

Subscribes to
    robot_spec (planet_msgs/RobotSpec, latched)
    <camera>/image_raw (sensor_msgs/Image), for each camera of the spec
    joint_states (sensor_msgs/JointState)
    reward (planet_msgs/Reward)
    driver_status (planet_msgs/DriverStatus, latched), of a real robot: an episode is given up when
        the arm has no power
    /replay/status (planet_msgs/ReplayStatus, latched)
    /learner/weights (planet_msgs/Weights, latched)

Publishes
    joint_command (sensor_msgs/JointState): effort per action, stamped like the observation
        that it answers; in real time repeated, with the stamp of the oldest image of the newest
        observation
    transition (planet_msgs/Transition): each decision
    prediction/image_raw (sensor_msgs/Image): seen, reconstructed and imagined, a few times a
        second, if somebody subscribes and the weights hold a decoder
    /diagnostics

Calls, and calls again where no answer comes
    reset (planet_msgs/Reset): only the answer to the last call counts, so that no robot is reset in
        an episode that has begun
    /replay/add_episode (planet_msgs/AddEpisode)

Files, under the parameter data_dir
    spool/<namespace>/: episodes that the replay has not acknowledged yet
"""

from __future__ import annotations

import array
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from planet_msgs.msg import DriverStatus, ReplayStatus, Reward
from planet_msgs.msg import RobotSpec as RobotSpecMessage
from planet_msgs.msg import Transition as TransitionMessage
from planet_msgs.msg import Weights as WeightsMessage
from planet_msgs.srv import AddEpisode, Reset
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from planet_core.clocks import SteadyClock
from planet_core.episode import Episode
from planet_core.robot_spec import RobotSpec
from planet_core.weights import Weights
from planet_model.config import PlannerConfig
from planet_node.diagnostics import Diagnostics
from planet_node.images import to_array, to_message
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import COMMAND, IMAGE, LATCHED, PREVIEW, STREAM
from planet_node.stamps import from_ns, to_ns
from planet_roller import loop
from planet_roller.config import RollerConfig
from planet_roller.loop import ControlLoop, Inbox, Transition
from planet_roller.observations import Assembler
from planet_roller.pace import TooSlowError
from planet_roller.robot import (
    ANY,
    JointSample,
    Observation,
    RewardSample,
    RobotError,
    StoppedError,
    Wanted,
)
from planet_roller.spool import Courier, DeliveryError, Spool, SpoolError

_STORE_TIMEOUT = 5.0  # s for the replay to store an episode
_POLL = 0.5  # s between looks at whether a pending call has still a server
_FIND = 2.0  # s for a service to be found
_AGAIN_FIRST, _AGAIN_LAST = 5.0, 60.0  # s until a reset without an answer is asked for again
_SPEC_AGAIN = 10.0  # s until a robot's spec is subscribed to anew: its one message may be lost
_POWERED = ("resetting", "ready", "driving", "holding")  # states of driver_status
_COMPARABLE = 60.0  # s; a stamp further from the node's clock is of another clock


class RollerNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("roller")
        self._config = declare(self, RollerConfig)
        self._planner = declare(self, PlannerConfig, "planner")
        _check_device(self._config.device)
        torch.set_num_threads(self._config.threads)
        directory = Path(self._config.data_dir).expanduser() / "spool"
        directory /= self.get_namespace().strip("/").replace("/", ".") or "robot"
        try:
            self._spool = Spool(directory, self.get_logger().warning)
        except SpoolError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        clock = SteadyClock()
        self._telemetry = _Telemetry(self)
        self._inbox = Inbox()
        self._robot = _Robot(self, self._telemetry, clock, self._config)
        replay = _Replay(self)
        self._courier = Courier(
            self._spool,
            replay.add,
            clock,
            self._telemetry.report_replay,
            self._inbox.notify,
            lambda error: fail(self, error),
        )
        # Large messages must not keep images and rewards waiting.
        slow = MutuallyExclusiveCallbackGroup()
        self.create_subscription(ReplayStatus, "/replay/status", self._on_status, LATCHED)
        self.create_subscription(
            WeightsMessage, "/learner/weights", self._on_weights, LATCHED, callback_group=slow
        )
        self._thread = threading.Thread(target=self._run, args=(clock,), name="loop", daemon=True)
        self._courier.start()
        self._thread.start()

    def close(self) -> None:
        """Stop the robot's episode; what is spooled waits for the next start."""
        self._inbox.stop()
        self._robot.close()
        self._thread.join(timeout=5.0)
        self._courier.stop()
        self._spool.close()

    def _run(self, clock: SteadyClock) -> None:
        try:
            self._robot.connect()
            ControlLoop(
                self._config,
                self._planner,
                self._robot,
                self._courier,
                self._inbox,
                self._telemetry,
                clock,
            ).run()
        except StoppedError:
            pass
        except TooSlowError as error:
            fail(self, StartupError(str(error)))
        except Exception as error:  # noqa: BLE001 -- any fault of the loop must end the node
            fail(self, error)

    def _on_status(self, message: ReplayStatus) -> None:
        self._inbox.put_status(
            loop.ReplayStatus(message.training_episodes, message.newest_sequence)
        )

    def _on_weights(self, message: WeightsMessage) -> None:
        self._inbox.put_weights(
            Weights(
                run_id=message.run_id,
                version=message.version,
                update=message.update,
                replay_sequence=message.replay_sequence,
                architecture_hash=message.architecture_hash,
                config_json=message.config_json,
                data=bytes(message.safetensors),
            )
        )


class _Robot:
    """The robot of the node's namespace (planet_roller.robot.Robot)."""

    def __init__(
        self, node: Node, telemetry: _Telemetry, clock: SteadyClock, config: RollerConfig
    ) -> None:
        self._node = node
        self._telemetry = telemetry
        self._clock = clock
        self._config = config
        self._closed = threading.Event()
        self._announced = threading.Event()
        self._announcements = 0
        self._rolling = False
        self._let_go: str | None = None
        self._spec_message: RobotSpecMessage | None = None
        self._assembler: Assembler | None = None
        self._commands = node.create_publisher(JointState, "joint_command", COMMAND)
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
            RobotSpecMessage, "robot_spec", self._on_spec, LATCHED
        )

    def close(self) -> None:
        self._closed.set()
        self._announced.set()
        if self._assembler is not None:
            self._assembler.close()

    def reset(self, seed: int, evaluation: bool) -> None:
        self._rolling = False
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
                response = _call(self._reset, request, min(again, left), interrupted)
            except _UnansweredError as error:
                if left <= again:
                    timeout = f"for {self._config.reset_timeout:g} s"
                    raise RobotError(f"the robot did not answer a reset {timeout}") from error
                again = min(2.0 * again, _AGAIN_LAST)
            except _CallError as error:
                raise RobotError(f"{error}: is the operator running, or the simulator?") from error
        if not response.ok:
            raise RobotError(f"the robot refuses to reset: {response.message}")
        self._joined.begin(to_ns(response.first_stamp))
        self._rolling = True
        if self._let_go is not None:
            self._joined.interrupt(self._let_go)

    def observe(self, after: int | None, timeout: float, wanted: Wanted = ANY) -> Observation:
        return self._joined.observe(after, timeout, wanted)

    def newer(self, after: int, until: float) -> Observation | None:
        return self._joined.newer(after, until)

    def command(self, effort: npt.NDArray[np.float64], stamp: int) -> None:
        message = JointState(name=self._names, effort=effort.tolist())
        message.header.stamp = from_ns(stamp)
        self._commands.publish(message)

    def drain(self) -> tuple[list[JointSample], list[RewardSample]]:
        return self._joined.drain()

    def wait_reward(self, stamp: int, timeout: float) -> bool:
        return self._joined.wait_reward(stamp, timeout)

    @property
    def _joined(self) -> Assembler:
        assert self._assembler is not None  # connect() comes first
        return self._assembler

    def _on_spec(self, message: RobotSpecMessage) -> None:
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


class _Replay:
    """The replay's service."""

    def __init__(self, node: Node) -> None:
        self._client = node.create_client(
            AddEpisode, "/replay/add_episode", callback_group=MutuallyExclusiveCallbackGroup()
        )

    def add(self, episode: Episode, data: bytes) -> int:
        """Store an episode and return its sequence. Raises DeliveryError."""
        request = AddEpisode.Request(
            id=episode.id,
            robot=episode.robot,
            policy=episode.policy,
            weights_version=episode.weights_version,
            safetensors=array.array("B", data),
        )
        try:
            response = _call(self._client, request, _STORE_TIMEOUT, lambda: None)
        except _CallError as error:
            raise DeliveryError(str(error)) from error
        if not response.accepted:
            raise DeliveryError(f"the replay refuses an episode: {response.message}")
        return int(response.sequence)


class _Telemetry:
    """What the loop tells the world (planet_roller.loop.Telemetry)."""

    def __init__(self, node: Node) -> None:
        self._logger = node.get_logger()
        self.report = Diagnostics(node).report
        self._transitions = node.create_publisher(TransitionMessage, "transition", STREAM)
        self._predictions = node.create_publisher(Image, "prediction/image_raw", PREVIEW)

    def report_source(self, source: str, fault: str | None) -> None:
        """What is wrong with a topic, or None when it is well again."""
        self.report(source, "ok" if fault is None else "error", fault or "well again")

    def report_replay(self, fault: str | None, waiting: int) -> None:
        """Why episodes wait for the replay, or None when they do not."""
        self.report(
            "replay", "ok" if fault is None else "warn", fault or "takes episodes", waiting=waiting
        )

    def log(self, message: str) -> None:
        self._logger.info(message)

    def transition(self, transition: Transition) -> None:
        fields: dict[str, Any] = dict(vars(transition))
        message = TransitionMessage()
        message.header.stamp = from_ns(fields.pop("stamp"))
        fields["action"] = transition.action.tolist()
        for name, value in fields.items():
            setattr(message, name, value)
        self._transitions.publish(message)

    def prediction_wanted(self) -> bool:
        return bool(self._predictions.get_subscription_count())

    def prediction(self, image: npt.NDArray[np.uint8], stamp: int) -> None:
        self._predictions.publish(to_message(image, from_ns(stamp), "prediction"))


class _CallError(Exception):
    """A service call without an answer; one sentence says why."""


class _UnansweredError(_CallError):
    """Nothing is known against the call: it may be made again."""


def _call(
    client: Client, request: Any, timeout: float, interrupted: Callable[[], str | None]
) -> Any:
    """Call a service from outside the executor.

    Whatever happens, no pending call is left behind, and an answer that comes later is no one's.

    Raises:
        _UnansweredError: there was no answer for `timeout` seconds.
        _CallError: there is no such service, it vanished, or `interrupted` says why there will be
            no answer.
    """
    clock, service = SteadyClock(), client.service_name
    done = threading.Event()
    deadline = clock.now() + min(timeout, _FIND)
    while not client.service_is_ready():
        interrupted()
        if clock.now() >= deadline:
            raise _CallError(f"there is no service {service}")
        done.wait(_POLL)
    deadline = clock.now() + timeout
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    try:
        while not done.wait(_POLL):
            reason = interrupted()
            if reason is None and not client.service_is_ready():
                reason = "it has vanished"
            if reason is not None:
                raise _CallError(f"the call of {service} is dropped: {reason}")
            if clock.now() >= deadline:
                raise _UnansweredError(f"{service} did not answer for {timeout:g} s")
    finally:
        client.remove_pending_request(future)
    return future.result()


def _check_device(name: str) -> None:
    """Raises StartupError when torch has no such device here."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise StartupError(f"roller: the device '{name}' cannot be used here: {reason}.") from error


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    # The loop must not wait 5 ms, Python's default, for a thread that takes messages in: measured,
    # the 99th percentile of the latency from image to command is a fifth with this.
    sys.setswitchinterval(0.0005)
    return run(RollerNode)


if __name__ == "__main__":
    sys.exit(main())
