"""Included by every_feature.launch.py."""

from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, ThisLaunchFileDir

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    names = [LaunchConfiguration(name) for name in ("name", "mode", "inner")]
    return LaunchDescription(
        [
            DeclareLaunchArgument("name", description="Has no default."),
            DeclareLaunchArgument("inner", default_value=["inner ", LaunchConfiguration("name")]),
            ExecuteProcess(
                cmd=[EnvironmentVariable("RECORDER"), *names, ThisLaunchFileDir()],
                name=LaunchConfiguration("name"),
            ),
        ]
    )
