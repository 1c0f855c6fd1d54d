"""The part of ROS 2's `launch` that Robo-PlaNet uses, with its names and semantics."""

from .entities import Action, LaunchDescription, LaunchDescriptionEntity
from .launch_context import LaunchContext
from .launch_service import LaunchService

__all__ = [
    "Action",
    "LaunchContext",
    "LaunchDescription",
    "LaunchDescriptionEntity",
    "LaunchService",
]
