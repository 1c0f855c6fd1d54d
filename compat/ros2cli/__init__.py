"""The part of the `ros2` command that Robo-PlaNet uses."""
