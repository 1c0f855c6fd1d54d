"""The camera node, which publishes one camera of the robot and has the camera's name.

Publishes:
    ~/image_raw (sensor_msgs/Image, rgb8): the newest image, stamped at capture, at most `fps` times
        a second. While the camera is gone or frozen there is none, so that the arm stops.
    ~/camera_info (sensor_msgs/CameraInfo): the camera's intrinsics, with each image.
    ~/image_raw/compressed (sensor_msgs/CompressedImage, jpeg): the image for people, while somebody
        subscribes.
    /diagnostics

Stamps are times of the system's clock: the capture that the device's driver reports (V4L2), else
the arrival of the frame. The node opens a source that is gone again, at intervals that grow to two
seconds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import cv2
from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ergojr_driver.camera import Frame, Grabber
from ergojr_driver.camera_calibration import calibration, load_calibration
from ergojr_driver.camera_config import CameraConfig, CameraError
from planet_node.diagnostics import ERROR, OK, WARN, Diagnostics
from planet_node.images import to_message
from planet_node.main import StartupError, fail, run
from planet_node.parameters import declare
from planet_node.qos import IMAGE, PREVIEW
from planet_node.stamps import from_ns

_POLL = 0.5  # s between the thread's looks at whether the node ends
_REPORT = 0.25  # s between looks at the camera's state
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]


class CameraNode(Node):
    """See the module's docstring.

    Args:
        name: the node's name.
        watch: called with each published image in a thread of this camera.
        options: further arguments of rclpy's Node.
    """

    def __init__(
        self,
        name: str = "camera",
        watch: Callable[[Frame], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._watch = watch
        cv2.setNumThreads(1)
        self._config = declare(self, CameraConfig)
        self._frame_id = f"{self.get_name()}_optical_frame"
        self._diagnostics = Diagnostics(self)
        self._images = self.create_publisher(Image, "~/image_raw", IMAGE)
        self._infos = self.create_publisher(CameraInfo, "~/camera_info", IMAGE)
        self._compressed = self.create_publisher(CompressedImage, "~/image_raw/compressed", PREVIEW)
        self._info: CameraInfo | None = None
        self._sent = (0, 0)
        if self._config.calibration_file:
            try:
                load_calibration(self._config.calibration_file)
            except CameraError as error:
                raise StartupError(f"{self.get_name()}: {error}.") from error
        self._grabber = Grabber(self._config)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.create_timer(_REPORT, self._report)
        self._grabber.start()
        self._thread.start()

    def close(self) -> None:
        """Stop reading the camera."""
        self._closing.set()
        self._grabber.close()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                frame = self._grabber.next(timeout=_POLL)
                if frame is not None and not self._closing.is_set():
                    self._publish(frame)
        except CameraError as error:
            fail(self, StartupError(f"{error}."))
        except Exception as error:  # noqa: BLE001 -- any fault of the thread must end the node
            fail(self, error)

    def _publish(self, frame: Frame) -> None:
        stamp = from_ns(frame.stamp)
        self._images.publish(to_message(frame.image, stamp, self._frame_id))
        if self._watch is not None:
            self._watch(frame)
        info = self._calibration(frame, stamp)
        if self._infos.get_subscription_count():
            self._infos.publish(info)
        if self._compressed.get_subscription_count():
            message = CompressedImage(format="rgb8; jpeg compressed bgr8")
            message.header.stamp, message.header.frame_id = stamp, self._frame_id
            bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
            message.data = cv2.imencode(".jpg", bgr, _QUALITY)[1].tobytes()
            self._compressed.publish(message)

    def _calibration(self, frame: Frame, stamp: Time) -> CameraInfo:
        if self._info is None or self._sent != frame.sent:
            known = calibration(self._config, *frame.sent)
            self._sent = frame.sent
            self._info = CameraInfo(**asdict(known))
            self._info.header.frame_id = self._frame_id
        self._info.header.stamp = stamp
        return self._info

    def _report(self) -> None:
        fault, warnings = self._grabber.fault(), self._grabber.warnings()
        values = {
            "images_a_second": f"{self._grabber.rate():.1f}",
            "damaged_pictures": self._grabber.damaged(),
        }
        if fault:
            # The sentence counts seconds, so it changes each time, but it is logged once.
            self._diagnostics.report("camera", ERROR, fault)
        elif warnings:
            self._diagnostics.report("camera", WARN, "; ".join(warnings), **values)
        else:
            self._diagnostics.report("camera", OK, "sends images", **values)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
