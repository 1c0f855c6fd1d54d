"""real.launch.py without a robot: virtual servos on a serial port, virtual cameras, and a script
that answers as the operator. Nothing of what it starts knows the difference.
"""

import socket
from contextlib import ExitStack
from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from planet_bringup.launching import Run, arguments

from launch import LaunchContext, LaunchDescription

REAL = str(Path(__file__).resolve().parent / "real.launch.py")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(data_dir="~/.local/share/robo_planet/rig"),
            DeclareLaunchArgument(
                "robot",
                default_value="rig",
                description="The virtual lab: config/<robot>.yaml, or the path of such a file.",
            ),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    run = Run(context)
    run.files += [str(run.config / "rig.yaml"), run.lab()]
    port = str(run.data_dir / "port")
    front, side = free_ports(2)
    hardware = {"port_link": port, "front_http_port": front, "side_http_port": side, **run.seed}
    url = "http://127.0.0.1:{}/stream.mjpg"
    return [
        run.node("ergojr_sim", "rig_node", "rig", [hardware], urgent=True),
        run.node("planet_bringup", "scripted_operator_node", "scripted_operator"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(REAL),
            launch_arguments=[
                ("port", port),
                ("camera_front", url.format(front)),
                ("camera_side", url.format(side)),
            ],
        ),
    ]


def free_ports(count: int) -> list[int]:
    """Ports that are free now; the rig takes them in a moment, and keeps them if it restarts."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
