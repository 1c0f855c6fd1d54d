"""The Poppy Ergo Jr: URDF, kinematics, cameras, torque limiter and servo registers."""
