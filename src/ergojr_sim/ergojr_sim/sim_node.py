"""The sim node: a simulated Ergo Jr, its two cameras and its reward, with a robot's interface.

Publishes, all with the same stamp and in this order:
    joint_states (sensor_msgs/JointState): m1 to m6 in rad and rad/s, and the applied effort in N m.
        With cube_in_state, also cube_x and cube_y in m and m/s.
    reward (planet_msgs/Reward): minus the distance between tip and cube, plus 1 for a touch. It is
        not valid for an episode's first observation and between episodes.
    camera_front/image_raw, camera_side/image_raw (sensor_msgs/Image, rgb8) and camera_info.
    /clock (rosgraph_msgs/Clock), unless publish_clock is false.

Publishes further:
    robot_spec (planet_msgs/RobotSpec, latched): what the robot is.
    /diagnostics

Subscribes to:
    joint_command (sensor_msgs/JointState): a command for m1 m2 m3 m5, with the stamp of the
        observation that it answers. It holds `effort` in N m or, with control position, `position`
        in rad. If `position` is empty, `effort` is taken, which a controller fills that only knows
        the robot_spec.

Serves:
    reset (planet_msgs/Reset): starts an episode; the seed decides its start, and -1 takes the
        node's next seed.
    emergency_stop (std_srvs/SetBool): true latches the torque off, false releases the latch.

Pace, watchdog and stamps: see `ergojr_sim.simulated_robot`, which runs in a thread of its own.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import asdict

from builtin_interfaces.msg import Time
from planet_msgs.msg import Reward, RobotSpec
from planet_msgs.srv import Reset
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import SetBool

from ergojr_description import CONTROL_PERIOD
from ergojr_description.cameras import CAMERAS, Camera, pinhole
from ergojr_description.kinematics import ACTIVE_NAMES
from ergojr_sim.config import SimConfig
from ergojr_sim.simulated_robot import SimulatedRobot, TimeStep
from ergojr_sim.world import command_bounds
from planet_core.report import Level
from planet_core.robot import CommandError, command_values
from planet_node.diagnostics import WARN, Diagnostics
from planet_node.images import to_message
from planet_node.main import fail, run
from planet_node.parameters import declare
from planet_node.qos import COMMAND, IMAGE, LATCHED, STREAM
from planet_node.stamps import from_ns, to_ns


class SimNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("sim")
        self._config = declare(self, SimConfig)
        self._state_names = list(self._config.state_names)
        self._diagnostics = Diagnostics(self)
        self._joint_states = self.create_publisher(JointState, "joint_states", STREAM)
        self._reward = self.create_publisher(Reward, "reward", STREAM)
        self._images = {
            name: self.create_publisher(Image, f"{name}/image_raw", IMAGE) for name in CAMERAS
        }
        self._infos = {
            name: self.create_publisher(CameraInfo, f"{name}/camera_info", IMAGE)
            for name in CAMERAS
        }
        self._camera_infos = {
            name: _camera_info(camera, _frame(name), self._config.image_size)
            for name, camera in CAMERAS.items()
        }
        self._clock_publisher = (
            self.create_publisher(Clock, "/clock", STREAM) if self._config.publish_clock else None
        )
        self._spec = self.create_publisher(RobotSpec, "robot_spec", LATCHED)
        self._robot = SimulatedRobot(self._config, self._publish, self._report)
        self.create_subscription(JointState, "joint_command", self._on_command, COMMAND)
        self.create_service(Reset, "reset", self._on_reset)
        self.create_service(SetBool, "emergency_stop", self._on_emergency_stop)
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()
        self._spec.publish(_robot_spec(self._config))

    def close(self) -> None:
        """Stop the physics."""
        self._robot.close()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            self._robot.run()
        except Exception as error:  # noqa: BLE001 -- any fault of the physics must end the node
            fail(self, error)

    def _on_command(self, message: JointState) -> None:
        values = message.effort
        if self._config.control == "position" and message.position:
            values = message.position
        try:
            command = command_values(ACTIVE_NAMES, message.name, values)
        except CommandError as error:
            self._report("joint_command", WARN, f"ignored: {error}")
            return
        self._robot.command(to_ns(message.header.stamp), command)

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        result = self._robot.reset(request.seed)
        response.ok = result.ok
        response.message = result.message
        response.first_stamp = from_ns(result.first_stamp)
        return response

    def _on_emergency_stop(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._robot.emergency_stop(request.data)
        response.success = True
        response.message = "torque is off" if request.data else "released"
        return response

    def _report(self, part: str, level: Level, sentence: str) -> None:
        self._diagnostics.report(part, level, sentence)

    def _publish(self, step: TimeStep) -> None:
        stamp = from_ns(step.stamp)
        if self._clock_publisher is not None:
            self._clock_publisher.publish(Clock(clock=stamp))
        joints = JointState(
            name=self._state_names,
            position=step.joints.position.tolist(),
            velocity=step.joints.velocity.tolist(),
            effort=step.joints.effort.tolist(),
        )
        joints.header.stamp = stamp
        self._joint_states.publish(joints)
        reward = Reward(
            reward=step.reward,
            distance=step.distance,
            terminated=step.terminated,
            truncated=step.truncated,
            touched=step.touched,
            valid=step.valid,
        )
        reward.header.stamp = stamp
        self._reward.publish(reward)
        for name, image in step.images.items():
            self._images[name].publish(to_message(image, stamp, _frame(name)))
            self._publish_camera_info(name, stamp)

    def _publish_camera_info(self, camera: str, stamp: Time) -> None:
        self._camera_infos[camera].header.stamp = stamp
        self._infos[camera].publish(self._camera_infos[camera])


def _frame(camera: str) -> str:
    """Optical frame (REP 103): z into the scene, x right, y down."""
    return f"{camera}_optical_frame"


def _robot_spec(config: SimConfig) -> RobotSpec:
    low, high = command_bounds(config.control)
    return RobotSpec(
        run_id=config.run_id,
        name="ergojr",
        action_names=list(ACTIVE_NAMES),
        action_low=low.tolist(),
        action_high=high.tolist(),
        cameras=list(CAMERAS),
        state_names=list(config.state_names),
        control_period=CONTROL_PERIOD,
        max_steps=config.max_steps,
        real_time_factor=config.real_time_factor,
    )


def _camera_info(camera: Camera, frame: str, size: int) -> CameraInfo:
    info = CameraInfo(**asdict(pinhole(camera.field_of_view, size, size)))
    info.header.frame_id = frame
    return info


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(SimNode)


if __name__ == "__main__":
    sys.exit(main())
