"""The nodes that our launch files start, by their full names."""

ROBOT = "ergojr"
ROBOT_NODES = (  # in the robot's namespace
    "camera_front",
    "camera_side",
    "driver",
    "operator",
    "pixel_reward",
    "progress",
    "rig",
    "roller",
    "scripted_operator",
    "sim",
)
SHARED_NODES = ("evaluator", "learner", "replay")  # they serve all robots and have no namespace
NODES = (*(f"/{ROBOT}/{name}" for name in ROBOT_NODES), *(f"/{name}" for name in SHARED_NODES))
