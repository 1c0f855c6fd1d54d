"""The part of ROS 2's `launch_ros` that Robo-PlaNet uses, with its names and semantics."""

from . import actions, descriptions, parameter_descriptions, substitutions

__all__ = ["actions", "descriptions", "parameter_descriptions", "substitutions"]
