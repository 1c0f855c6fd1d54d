"""The pixel reward node: the reward by what the cameras see.

Subscribes to
    <camera>/image_raw (sensor_msgs/Image), for each of the parameter `cameras`
    operator/request (planet_msgs/OperatorRequest, latched): where the cube is to be put

Publishes
    reward (planet_msgs/Reward): one for each set of images (one of each camera, at most `max_skew`
        apart), with the set's newest stamp; `distance` is the sum over the cameras of the pixel
        distance of the gripper's tip and the cube over the image's diagonal, `reward` is minus
        that, `terminated` is `touched`; not `valid` where no camera knew the distance
    <camera>/annotated (sensor_msgs/Image, rgb8): what was detected, when subscribed; with the place
        for the cube while the operator is asked to put it there
    /diagnostics

Parameters: those of `DetectionConfig` and `RewardConfig`, and for each camera, under its name,
where it stands (`PoseConfig`): that tells fingertip from finger root, and where the cube's marker
is drawn.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from math import isfinite

import cv2
import numpy as np
from planet_msgs.msg import OperatorRequest, Reward
from rclpy.node import Node
from sensor_msgs.msg import Image

from ergojr_driver import detection
from ergojr_driver.detection import Detection, DetectionConfig, Detector, View, annotate
from ergojr_driver.pixel_reward import (
    POSES,
    SHOULDER,
    Judgement,
    Pairing,
    PixelReward,
    PoseConfig,
    RewardConfig,
)
from planet_node.diagnostics import ERROR, OK, WARN, Diagnostics
from planet_node.images import to_array, to_message
from planet_node.main import run
from planet_node.parameters import declare
from planet_node.qos import IMAGE, LATCHED, PREVIEW, STREAM
from planet_node.stamps import from_ns, to_ns

_RECENT = 100  # rewards that the diagnostics count
_SILENCE = 1.0  # s without a set of images until the diagnostics say so
_YELLOW, _BLACK = (255, 200, 0), (0, 0, 0)


@dataclass(frozen=True)
class _Seen:
    stamp: int
    image: detection.Image
    found: tuple[Detection | None, Detection | None]
    view: View


class PixelRewardNode(Node):
    """See the module's docstring.

    One that does not subscribe gets its images by `look`.
    """

    def __init__(self, subscribes: bool = True) -> None:
        super().__init__("pixel_reward")
        cv2.setNumThreads(1)
        self._config = declare(self, RewardConfig)
        self._detector = Detector(declare(self, DetectionConfig), self._config.touch_gap)
        self._poses = {
            name: declare(self, POSES.get(name, PoseConfig), name) for name in self._config.cameras
        }
        self._arms: dict[str, tuple[tuple[int, ...], detection.Point]] = {}
        self._pairing: Pairing[_Seen] = Pairing(
            self._config.cameras, int(self._config.max_skew * 1e9)
        )
        self._judge = PixelReward(self._config)
        self._lock = threading.Lock()  # of pairing, judge and what the diagnostics count
        self._request: OperatorRequest | None = None
        self._recent: deque[Judgement] = deque(maxlen=_RECENT)
        self._heard = self.get_clock().now().nanoseconds
        self._bad: dict[str, str] = {}
        self._diagnostics = Diagnostics(self)
        self._reward = self.create_publisher(Reward, "reward", STREAM)
        self._annotated = {
            name: self.create_publisher(Image, f"{name}/annotated", PREVIEW)
            for name in self._config.cameras
        }
        for name in self._config.cameras if subscribes else ():
            self.create_subscription(
                Image, f"{name}/image_raw", partial(self._on_image, name), IMAGE
            )
        self.create_subscription(OperatorRequest, "operator/request", self._on_request, LATCHED)
        self.create_timer(1.0, self._report)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that it judges by."""
        return self._config.cameras

    def _on_request(self, message: OperatorRequest) -> None:
        self._request = message

    def _on_image(self, camera: str, message: Image) -> None:
        try:
            image = to_array(message)
        except ValueError as error:
            self._bad[camera] = f"{camera}: {error}"
            return
        self._bad.pop(camera, None)
        self.look(camera, to_ns(message.header.stamp), image)

    def look(self, camera: str, stamp: int, image: detection.Image) -> None:
        """Judge by a camera's newest image, uint8 [height, width, 3] RGB, of `stamp` ns.

        Thread-safe.
        """
        with self._lock:
            arm = self._arm(camera, image.shape[:2])
            found = self._detector.find(image)
            seen = _Seen(stamp, image, found, self._detector.judge(*found, image, arm))
            complete = self._pairing.put(camera, stamp, seen)
            if complete is None:
                return
            newest, pair = complete
            judgement = self._judge.judge(newest, {name: one.view for name, one in pair.items()})
            self._heard = self.get_clock().now().nanoseconds
            self._recent.append(judgement)
        self._publish(newest, pair, judgement)

    def _arm(self, camera: str, size: tuple[int, ...]) -> detection.Point:
        """The shoulder's place in the camera's images of `size`, height and width."""
        known = self._arms.get(camera)
        if known is None or known[0] != size:
            height, width = size
            place = self._poses[camera].project(SHOULDER, width, height)
            known = self._arms[camera] = size, place or (width / 2, height)
        return known[1]

    def _publish(self, stamp: int, seen: dict[str, _Seen], judgement: Judgement) -> None:
        reward = Reward(
            reward=-judgement.distance,
            distance=judgement.distance,
            terminated=judgement.touched,
            touched=judgement.touched,
            valid=judgement.valid,
        )
        reward.header.stamp = from_ns(stamp)
        self._reward.publish(reward)
        for name, publisher in self._annotated.items():
            if publisher.get_subscription_count():
                drawn, frame_id = self._draw(name, seen[name], judgement), f"{name}_optical_frame"
                publisher.publish(to_message(drawn, from_ns(seen[name].stamp), frame_id))

    def _draw(self, camera: str, seen: _Seen, judgement: Judgement) -> detection.Image:
        image = seen.image.copy()
        height, width = image.shape[:2]
        annotate(image, seen.found, seen.view)
        text = f"{judgement.distance:.3f}" if judgement.valid else "not seen"
        text += " touched" if judgement.touched else ""
        cv2.putText(image, text, (4, height - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _BLACK)
        request = self._request
        if request is not None and request.state == "place_cube" and isfinite(request.cube_x):
            corners = self._poses[camera].footprint(
                request.cube_x, request.cube_y, request.cube_yaw, width, height
            )
            if corners is not None:
                outline = np.round(corners).astype(np.int32)
                cv2.polylines(image, [outline], isClosed=True, color=_YELLOW, thickness=2)
        return image

    def _report(self) -> None:
        with self._lock:
            recent = list(self._recent)
        silence = (self.get_clock().now().nanoseconds - self._heard) / 1e9
        share = sum(v.valid for v in recent) / max(1, len(recent))
        unseen: dict[str, int] = {}
        for judgement in recent:
            for name in judgement.unseen:
                unseen[name] = unseen.get(name, 0) + 1
        values = {"valid": f"{share:.0%}", **{f"unseen {k}": v for k, v in unseen.items()}}
        if self._bad:
            self._diagnostics.report("reward", ERROR, "; ".join(self._bad.values()), **values)
        elif silence > _SILENCE:
            message = f"no images of {' and '.join(self._config.cameras)} at the same time"
            self._diagnostics.report("reward", ERROR, message, **values)
        elif recent and share < 0.5:
            message = "gripper or cube are not seen: see the annotated images and tune_colours"
            self._diagnostics.report("reward", WARN, message, **values)
        else:
            self._diagnostics.report("reward", OK, "sees gripper and cube", **values)


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(PixelRewardNode)


if __name__ == "__main__":
    sys.exit(main())
