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
from pathlib import Path
from typing import Any

from planet_msgs.msg import ReplayStatus
from planet_msgs.msg import Transition as TransitionMessage
from planet_msgs.msg import Weights as WeightsMessage
from planet_msgs.srv import AddEpisode
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image as ImageMessage

from planet_core.clocks import SteadyClock
from planet_core.episode import Episode
from planet_core.method import Image, MethodError, TooSlowError, acting_parameters, methods
from planet_core.run_id import RunFilter
from planet_core.weights import Weights
from planet_node.calls import CallError, call
from planet_node.diagnostics import Diagnostics
from planet_node.exclusive import Exclusive
from planet_node.images import to_message
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import LATCHED, PREVIEW, STREAM
from planet_node.stamps import from_ns
from planet_roller import inbox
from planet_roller.config import RollerConfig
from planet_roller.inbox import Inbox
from planet_roller.loop import ControlLoop
from planet_roller.robot import StoppedError
from planet_roller.ros_robot import RosRobot
from planet_roller.spool import Courier, DeliveryError, Spool, SpoolError
from planet_roller.telemetry import Transition

_STORE_TIMEOUT = 5.0  # s for the replay to store an episode


class RollerNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("roller")
        self._config = declare(self, RollerConfig)
        try:
            acting = acting_parameters()
            for method in methods().values():
                method.prepare(self._config.device, self._config.threads)
        except MethodError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        self._settings = {prefix: declare(self, kind, prefix) for prefix, kind in acting.items()}
        directory = Path(self._config.data_dir).expanduser() / "spool"
        directory /= self.get_namespace().strip("/").replace("/", ".") or "robot"
        try:
            self._spool = Spool(directory, self.get_logger().warning)
        except SpoolError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        clock = SteadyClock()
        self._telemetry = _Telemetry(self)
        self._inbox = Inbox()
        self._run = RunFilter(self._config.run_id, self._telemetry.report)
        self._robot = RosRobot(self, self._telemetry, clock, self._config, self._run)
        self._exclusive = Exclusive(self, self._telemetry.report, self._robot.commands)
        replay = _Replay(self, self._config.run_id)
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
        self._thread = threading.Thread(target=self._roll, args=(clock,), name="loop", daemon=True)
        self._courier.start()
        self._thread.start()

    def close(self) -> None:
        """Stop the robot's episode; what is spooled waits for the next start."""
        self._inbox.stop()
        self._robot.close()
        self._thread.join(timeout=5.0)
        self._courier.stop()
        self._spool.close()

    def _roll(self, clock: SteadyClock) -> None:
        try:
            self._robot.connect()
            ControlLoop(
                self._config,
                self._settings,
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
        if self._run.refusal("/replay/status", message.run_id) is not None:
            return
        self._inbox.put_status(
            inbox.ReplayStatus(message.training_episodes, message.newest_sequence, message.steps)
        )

    def _on_weights(self, message: WeightsMessage) -> None:
        if self._run.refusal("/learner/weights", message.run_id) is not None:
            return
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


class _Replay:
    """The replay's service."""

    def __init__(self, node: Node, run_id: str) -> None:
        self._run_id = run_id
        self._client = node.create_client(
            AddEpisode, "/replay/add_episode", callback_group=MutuallyExclusiveCallbackGroup()
        )

    def add(self, episode: Episode, data: bytes) -> int:
        """Store an episode and return its sequence. Raises DeliveryError."""
        request = AddEpisode.Request(
            run_id=self._run_id,
            id=episode.id,
            robot=episode.robot,
            policy=episode.policy,
            weights_version=episode.weights_version,
            safetensors=array.array("B", data),
        )
        try:
            response = call(self._client, request, _STORE_TIMEOUT, lambda: None)
        except CallError as error:
            raise DeliveryError(str(error)) from error
        if not response.accepted:
            raise DeliveryError(f"the replay refuses an episode: {response.message}")
        return int(response.sequence)


class _Telemetry:
    """What the loop tells the world (planet_roller.telemetry.Telemetry)."""

    def __init__(self, node: Node) -> None:
        self._logger = node.get_logger()
        self.report = Diagnostics(node).report
        self._transitions = node.create_publisher(TransitionMessage, "transition", STREAM)
        self._predictions = node.create_publisher(ImageMessage, "prediction/image_raw", PREVIEW)

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

    def prediction(self, image: Image, stamp: int) -> None:
        self._predictions.publish(to_message(image, from_ns(stamp), "prediction"))


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    # The loop must not wait 5 ms, Python's default, for a thread that takes messages in: measured,
    # the 99th percentile of the latency from image to command is a fifth with this.
    sys.setswitchinterval(0.0005)
    return run(RollerNode)


if __name__ == "__main__":
    sys.exit(main())
