"""real.launch.py without a robot.

Virtual servos on a serial port, virtual cameras, and a script that answers as the operator stand in
for it. Nothing of what it starts knows the difference.
"""

import socket
from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchContext, LaunchDescription
from planet_bringup.launching import Run, arguments

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
    port = run.data_dir / "port"
    if port.is_symlink():
        port.unlink()  # of a rig that was killed: by now it may lead to somebody's terminal
    front, side = reserve_ports(2)
    hardware = {
        "port_link": str(port),
        "front_http_port": front,
        "side_http_port": side,
        **run.seed,
    }
    url = "http://127.0.0.1:{}/stream.mjpg"
    return [
        run.node("ergojr_sim", "rig_node", "rig", [hardware]),
        run.node("planet_bringup", "scripted_operator_node", "scripted_operator"),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(REAL),
            launch_arguments=[
                ("port", str(port)),
                ("camera_front", url.format(front)),
                ("camera_side", url.format(side)),
            ],
        ),
    ]


def reserve_ports(count: int) -> list[int]:
    """Ports that are this process's until it ends.

    It does not listen at them, so the rig can, again and again, and nobody else is given them.
    """
    ports = []
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
        ports.append(one.getsockname()[1])
        one.detach()  # stays open
    return ports
