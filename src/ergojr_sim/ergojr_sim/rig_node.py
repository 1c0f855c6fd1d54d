"""The rig node: virtual hardware for the nodes of the real robot, which notice no difference.

Offers, not through ROS
    the serial port `port_link`: six XL-320 with the ids 1 to 6 (see `virtual_bus`, `virtual_servo`)
    http://127.0.0.1:<front_http_port>/stream.mjpg and <side_http_port>: the cameras, MJPEG

Publishes
    rig/truth (planet_msgs/Reward, 30 Hz while somebody listens): the distance of tip and cube in m,
        minus it as reward, touched: since the last message
    rig/torque (sensor_msgs/JointState, latched): on every change, as `effort` 1 for each servo
        that has torque and 0 for each that has none
    /diagnostics

Serves
    rig/place_cube (planet_msgs/PlaceCube): puts the cube down, unless the arm is there
    rig/fault (planet_msgs/InjectFault): breaks `target`, for `duration` s or until mended; an empty
        kind mends everything. `value` is

        drop_bytes          a motor or bus   share of the packets that lose a byte
        corrupt_crc         a motor or bus   share of the packets with a wrong CRC
        silence             a motor          - (it hears and obeys, but its answers are lost)
        overheat            a motor          degrees Celsius
        hardware_error      a motor          bits: 1 overload, 2 overheating, 4 input voltage
        overload            a motor          - (the torque limit becomes 0, with the error's bit)
        no_speed            a motor          - (its register of the present speed is 0)
        supply              a motor          V that it gets
        reboot              a motor          - (once: its RAM is as after switching on, no torque)
        refuse_reads        a motor          bits as above; until a reboot, reads are answered with
                                             them as the error byte, and it has no torque
        gain                a motor          P gain that stands in its RAM until a reboot or write
        delay               bus              s by which answers are late
        unplug              bus              - (the port vanishes; the servos keep their last goal)
        freeze_camera       a camera         - (it goes on sending its last picture)
        disconnect_camera   a camera         - (readers are cut off, new ones turned away)
        delay_camera        a camera         s by which pictures are late
        slow_camera         a camera         pictures a second, as in the dark
        green_camera        a camera         share of the rows, from below, that a broken stream
                                             has lost (0: all): they are of one green

        An empty target means the bus where that is possible, else all motors or both cameras.

Servos and cameras have real-time priority where that is allowed, for hardware waits for no
processor; see `ergojr_sim.rig`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from planet_msgs.msg import Reward
from planet_msgs.srv import InjectFault, PlaceCube
from rclpy.event_handler import PublisherEventCallbacks, QoSPublisherMatchedInfo
from rclpy.node import Node
from sensor_msgs.msg import JointState

from ergojr_description.kinematics import JOINT_NAMES
from ergojr_sim.config import RigConfig
from ergojr_sim.rig import Rig, RigError
from planet_node.diagnostics import OK, WARN, Diagnostics
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import LATCHED, STREAM
from planet_node.stamps import from_ns

TRUTH_PERIOD = 1 / 30  # s
HEALTH_PERIOD = 1.0  # s
PRIORITY = -10  # niceness


class RigNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("rig")
        config = declare(self, RigConfig)
        self._diagnostics = Diagnostics(self)
        self._lost = 0.0
        self._torque = self.create_publisher(JointState, "rig/torque", LATCHED)
        try:
            self._rig = Rig(config, lambda error: fail(self, error), self._tell_torque)
        except OSError as error:
            raise StartupError(f"rig: {error}") from error
        self._truth = self.create_publisher(
            Reward,
            "rig/truth",
            STREAM,
            event_callbacks=PublisherEventCallbacks(matched=self._on_listeners),
        )
        self.create_service(PlaceCube, "rig/place_cube", self._on_place_cube)
        self.create_service(InjectFault, "rig/fault", self._on_fault)
        self._truth_timer = self.create_timer(TRUTH_PERIOD, self._tell_truth, autostart=False)
        self.create_timer(HEALTH_PERIOD, self._tell_health)
        self.get_logger().info(
            f"servos at {config.port_link}, "
            + ", ".join(f"{name} at {url}" for name, url in self._rig.streams.items())
        )
        self._tell_health()

    def close(self) -> None:
        """Stop the hardware."""
        if hasattr(self, "_rig"):
            self._rig.close()

    def _on_place_cube(
        self, request: PlaceCube.Request, response: PlaceCube.Response
    ) -> PlaceCube.Response:
        try:
            self._rig.place_cube(request.x, request.y, request.yaw)
            response.ok = True
        except RigError as error:
            response.message = str(error)
        return response

    def _on_fault(
        self, request: InjectFault.Request, response: InjectFault.Response
    ) -> InjectFault.Response:
        try:
            self._rig.break_(request.kind, request.target, request.value, request.duration)
            response.ok = True
            self.get_logger().info(
                f"fault: {request.kind} {request.target} {request.value}"
                if request.kind
                else "everything is mended"
            )
        except RigError as error:
            response.message = str(error)
        return response

    def _on_listeners(self, matched: QoSPublisherMatchedInfo) -> None:
        if matched.current_count:
            self._truth_timer.reset()
        else:
            self._truth_timer.cancel()

    def _tell_truth(self) -> None:
        truth = self._rig.truth()
        message = Reward(
            reward=-truth.distance, distance=truth.distance, touched=truth.touched, valid=True
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._truth.publish(message)

    def _tell_torque(self, torque: list[bool], stamp: int) -> None:
        message = JointState(name=list(JOINT_NAMES), effort=[float(on) for on in torque])
        message.header.stamp = from_ns(stamp)
        self._torque.publish(message)

    def _tell_health(self) -> None:
        lost, self._lost = self._rig.lost - self._lost, self._rig.lost
        if lost > 0.0:
            sentence = f"lost {lost:.1f} s in the last second: the machine is too slow"
            self._diagnostics.report("physics", WARN, sentence)
        else:
            self._diagnostics.report("physics", OK, "in real time", **self._rig.streams)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    # For the threads without real-time priority, and where there is none. It takes a right that not
    # everybody has; without it the servos answer late where all cores are busy.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    return run(RigNode)


if __name__ == "__main__":
    sys.exit(main())
