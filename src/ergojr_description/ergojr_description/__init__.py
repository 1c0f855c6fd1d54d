"""The Poppy Ergo Jr: URDF, forward kinematics and the torque limiter. Needs numpy only."""
