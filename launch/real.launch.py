"""A real Ergo Jr learns to poke: driver, two cameras, reward by pixels, operator, and the learning.

Everything about one lab stands in the file `robot`; what is plugged in can be named here as well.
"""

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from ergojr_description import CONTROL_PERIOD
from launch import LaunchContext, LaunchDescription
from planet_bringup.launching import Run, arguments

CAMERAS = ("camera_front", "camera_side")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(data_dir="~/.local/share/robo_planet/real"),
            DeclareLaunchArgument(
                "robot",
                default_value="robot",
                description="The lab: config/<robot>.yaml, or the path of such a file.",
            ),
            DeclareLaunchArgument(
                "port", default_value="", description="Serial port of the arm; empty: the lab's."
            ),
            *(
                DeclareLaunchArgument(
                    name,
                    default_value="",
                    description="V4L2 index or path, video file or URL; empty: the lab's.",
                )
                for name in CAMERAS
            ),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    run = Run(context, essential=["driver"], ends=["operator"])
    run.files.append(run.lab())
    run.begin(
        control="torque",
        control_period=run.parameter("driver", "control_period", CONTROL_PERIOD),
    )

    def given(argument: str, parameter: str) -> list[dict]:
        value = run.argument(argument)
        return [{parameter: value}] if value else []

    return [
        run.node(
            "ergojr_driver",
            "driver",
            "driver",
            [{"autostart": True, **run.run_id}, *given("port", "port")],
            remappings=[("reset", "driver/reset")],
            again=False,
            urgent=True,
        ),
        # With the cameras' nodes beside it, in one process.
        run.node(
            "ergojr_driver",
            "vision_node",
            "pixel_reward",
            [part for name in CAMERAS for part in given(name, f"{name}.source")],
            urgent=True,
        ),
        run.node(
            "ergojr_driver",
            "operator",
            "operator",
            [{"terminal": terminal(), **run.seed}],
            urgent=True,
        ),
        *run.learning(yields=True),
        *run.ending(),
    ]


def terminal() -> str:
    """The terminal that this launch was started from; a node has none of its own."""
    return Path("/proc/self/fd/0").readlink().as_posix() if sys.stdin.isatty() else ""
