"""The part of ROS 2's `launch_ros` that Robo-PlaNet uses, with its names and semantics."""
