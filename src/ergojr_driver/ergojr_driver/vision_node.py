"""The cameras' nodes beside the pixel reward's in one process: all that looks at pictures.

The nodes are those of `camera_node` and `pixel_reward_node`, with their names, topics and
parameters; the cameras are those that the reward judges by. Each camera reads and publishes in
threads of its own, then hands the image to the reward, which thus needs no message for it. A camera
that is gone or hangs keeps nobody waiting. Only what ends the process takes all of them along, and
an arm that needs the images of every camera stops when one of them is missing anyway.

Parameters of the reward's node, besides its own: `<camera>.source`, for what starts this process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.parameter import Parameter

from ergojr_driver.camera import Frame
from ergojr_driver.camera_node import CameraNode
from ergojr_driver.pixel_reward_node import PixelRewardNode
from planet_core.config import Config, setting
from planet_node.main import run
from planet_node.parameters import declare


@dataclass(frozen=True)
class SourceConfig(Config):
    """What of a camera may be said here."""

    source: str = setting(
        "",
        "The camera's source, which overrides the parameter of the camera's own node; empty keeps "
        "that parameter.",
    )


class VisionNode(PixelRewardNode):
    """The reward's node, with the cameras' beside it."""

    def __init__(self) -> None:
        super().__init__(subscribes=False)
        self.beside = [self._camera(name) for name in self.cameras]

    def _camera(self, name: str) -> CameraNode:
        def watch(frame: Frame) -> None:
            self.look(name, frame.stamp, frame.image)

        source = declare(self, SourceConfig, name).source
        return CameraNode(
            name,
            watch,
            cli_args=without_name(sys.argv[1:]),
            use_global_arguments=False,
            parameter_overrides=[Parameter("source", value=source)] if source else [],
        )

    def close(self) -> None:
        """Let go of the cameras."""
        for node in self.beside:
            node.close()


def without_name(arguments: Sequence[str]) -> list[str]:
    """ROS arguments without the rule that gives all nodes of a process one name."""
    kept: list[str] = []
    for argument in arguments:
        if argument.startswith(("__node:=", "__name:=")):
            kept.pop()  # the option before it: -r or --remap
        else:
            kept.append(argument)
    return kept


def main() -> int:
    """Run the nodes; the exit code is for the launch file."""
    return run(VisionNode)


if __name__ == "__main__":
    sys.exit(main())
