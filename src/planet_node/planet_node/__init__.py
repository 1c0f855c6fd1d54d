"""What every node shares at the ROS edge: parameters, QoS, start and stop, diagnostics, images."""
