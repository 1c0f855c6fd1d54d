"""Included by every_feature.launch.py."""

import os

from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    names = [LaunchConfiguration(name) for name in ("name", "mode", "inner")]
    return LaunchDescription(
        [
            DeclareLaunchArgument("name", description="Has no default."),
            DeclareLaunchArgument("inner", default_value="inner"),
            ExecuteProcess(cmd=[os.environ["RECORDER"], *names], name=LaunchConfiguration("name")),
        ]
    )
