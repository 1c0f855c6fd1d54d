"""The Poppy Ergo Jr: URDF, kinematics, cameras, torque limiter and servo registers."""

CONTROL_PERIOD = 0.05
"""Length of the arm's control tick in s, unless its driver has another one."""
