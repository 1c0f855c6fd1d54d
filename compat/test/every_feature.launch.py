"""Uses everything of launch and launch_ros that compat has; see compare_with_real.py.

Its nodes are the recorder itself (by RECORDER).
"""

import os
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

HERE = Path(__file__).parent
PARAMETERS = str(HERE / "parameters.yaml")
RECORDER = os.environ["RECORDER"]
ROBOTS = LaunchConfiguration("robots")


def robots(context: LaunchContext) -> list[Node]:
    count = int(ROBOTS.perform(context))
    return [
        Node(executable=RECORDER, name="robot", namespace=f"robot_{i}", exec_name=f"robot_{i}")
        for i in range(count)
    ]


def exited(event: ProcessExited, context: LaunchContext) -> list[ExecuteProcess]:
    if event.returncode != 3:
        return []
    words = f"{event.process_name} ended with {event.returncode}"
    return [ExecuteProcess(cmd=[RECORDER, words], name="after_dies")]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("robots", default_value="2", description="How many"),
            DeclareLaunchArgument(
                "mode",
                default_value="async",
                choices=["async", "sync"],
                description="Which way.",
            ),
            OpaqueFunction(function=robots),
            # Parameters of every type
            Node(
                executable=RECORDER,
                exec_name="typed",
                name="typed",
                namespace="somewhere/else",
                parameters=[
                    PARAMETERS,
                    {
                        "a.b": 1,
                        "int": 3,
                        "float": 1e-5,
                        "whole_float": 3.0,
                        "large": 2**62,
                        "flag": True,
                        "text": "7",
                        "empty": "",
                        "yes": "yes",
                        "octal": "0928",
                        "lines": "one\ntwo: 'x'",
                        "ints": [1, 2, 3],
                        "floats": (0.5, 1.5),
                        "bools": [True, False],
                        "texts": ["1", "b c", "true"],
                    },
                ],
                remappings=[("image", "camera/image"), ("~/x", ["/y_", ROBOTS])],
                arguments=["plain", ["joined ", ROBOTS]],
                ros_arguments=["--log-level", "info"],
                additional_env={"ONLY_HERE": LaunchConfiguration("mode")},
                prefix="taskset --cpu-list 0",
                output="screen",
                respawn=True,
                respawn_delay=0.1,
            ),
            Node(executable=RECORDER, parameters=[{"x": 1}], output="log"),
            Node(executable=RECORDER, name="named", parameters=[{"x": 1}]),
            Node(executable=RECORDER, namespace="/absolute", parameters=[{"x": 1}]),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HERE / "included.launch.py")),
                launch_arguments=[("name", ["in_", LaunchConfiguration("mode")])],
            ),
            # What an include is given stays set behind it
            ExecuteProcess(
                cmd=[RECORDER, LaunchConfiguration("name"), FindPackageShare("ament_index_python")],
                name="last",
                prefix=["env PREFIXED=", LaunchConfiguration("not_set", default="yes")],
            ),
            ExecuteProcess(cmd=["sh", "-c", "exit 3"], name="dies"),
            RegisterEventHandler(OnProcessExit(on_exit=exited)),
            TimerAction(period=0.5, actions=[ExecuteProcess(cmd=[RECORDER], name="timed")]),
            TimerAction(period=1000.0, actions=[Shutdown(reason="never")]),
        ]
    )
