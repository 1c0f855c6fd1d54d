"""The cameras' nodes and the pixel reward's node in one process.

The nodes are those of `camera_node` and `pixel_reward_node`, with their names, topics and
parameters; the cameras are those whose images the reward uses. Each camera reads and publishes in
threads of its own, then hands the image to the reward without a message. A camera that is gone or
hangs does not delay the others. If the process ends, all nodes end; but the arm stops anyway when
the images of one camera are missing.

The reward's node has further parameters `<camera>.source`, with which a launch can set a source.
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
    """What the reward's node can set of a camera."""

    source: str = setting(
        "",
        "The camera's source, which overrides the parameter of the camera's own node; empty keeps "
        "that parameter.",
    )


class VisionNode(PixelRewardNode):
    """The reward's node, with the cameras' nodes beside it."""

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
        """Stop reading the cameras."""
        for node in self.beside:
            node.close()


def without_name(arguments: Sequence[str]) -> list[str]:
    """Return ROS arguments without the rule that gives all nodes of the process one name."""
    kept: list[str] = []
    for argument in arguments:
        if argument.startswith(("__node:=", "__name:=")):
            kept.pop()  # the option -r or --remap before it
        else:
            kept.append(argument)
    return kept


def main() -> int:
    """Run the nodes; the exit code is for the launch file."""
    return run(VisionNode)


if __name__ == "__main__":
    sys.exit(main())
