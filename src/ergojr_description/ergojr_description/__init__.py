"""The Poppy Ergo Jr: URDF, forward kinematics and the torque limiter. Needs numpy only."""

CONTROL_PERIOD = 0.05
"""Length of the arm's control tick, s, unless its driver is told another."""
