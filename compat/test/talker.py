"""A node for the tests: latched and repeated topics, a service, parameters from the launch."""

import array
import contextlib
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool


def answer(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
    response.success, response.message = request.data, "flipped"
    return response


def main() -> None:
    rclpy.init(args=sys.argv)
    node = rclpy.create_node("talker", automatically_declare_parameters_from_overrides=True)
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(String, "latched", latched).publish(String(data="said once"))
    images = node.create_publisher(Image, "image", 1)
    message = Image(height=20, width=5, encoding="rgb8", data=array.array("B", bytes(300)))
    node.create_timer(0.05, lambda: images.publish(message))
    node.create_service(SetBool, "flip", answer)
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
