"""The Poppy Ergo Jr: URDF, kinematics, cameras, torque limiter and servo registers."""

CONTROL_PERIOD = 0.05
"""Length of the arm's control tick, s, unless its driver is told another."""
