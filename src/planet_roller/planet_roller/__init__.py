"""The roller: it rolls out episodes on a robot, and sees that none is lost.

`loop` is the control loop; it sees a robot as `robot.Robot` does. `observations` joins what the
robot's topics bring, `policy` chooses actions, `recorder` makes an episode of them, `spool` keeps
it until the replay has it, `roller_node` binds all that to ROS.
"""
