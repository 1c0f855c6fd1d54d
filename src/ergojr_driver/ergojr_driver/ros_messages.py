"""The driver's readings, status and specification as ROS messages."""

from __future__ import annotations

from planet_msgs.msg import DriverStatus, RobotSpec
from sensor_msgs.msg import JointState

from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import ACTIVE_NAMES, JOINT_NAMES
from ergojr_driver.config import DriverConfig
from ergojr_driver.servo import Joints
from ergojr_driver.status import Status
from planet_node.stamps import from_ns


def joint_state(joints: Joints, stamp: int) -> JointState:
    """Make the message of a reading with this stamp (ns): m1 to m6 in rad, rad/s and N m."""
    message = JointState(
        name=list(JOINT_NAMES),
        position=joints.position.tolist(),
        velocity=joints.velocity.tolist(),
        effort=joints.load.tolist(),
    )
    message.header.stamp = from_ns(stamp)
    return message


def driver_status(status: Status, cause: str) -> DriverStatus:
    """Make the message of a status, with a `cause` that may say more than the status does."""
    message = DriverStatus(state=status.state, torque=status.torque, cause=cause)
    message.header.stamp = from_ns(status.stamp)
    return message


def robot_spec(config: DriverConfig, limits: LimiterConfig) -> RobotSpec:
    """Make the message that tells the roller what this robot is."""
    most = limits.max_effort
    return RobotSpec(
        run_id=config.run_id,
        name="ergojr",
        action_names=list(ACTIVE_NAMES),
        action_low=[-most] * len(ACTIVE_NAMES),
        action_high=[most] * len(ACTIVE_NAMES),
        cameras=list(config.cameras),
        state_names=list(JOINT_NAMES),
        control_period=config.control_period,
        max_steps=config.max_steps,
        real_time_factor=1.0,
    )
