"""Forward kinematics of the Poppy Ergo Jr with its gripper, and where its URDF files lie.

Frames. The base frame has its origin in the middle of the base, at the table, z up; at zero joint
angles the arm points along +y. At zero angles every link frame is parallel to the base frame, so a
joint is described by one offset and one axis. Joint angles are those of Poppy's own
configuration: positive m2, m3 and m5 lean the arm forward and down. (Some servos are mounted the
other way round; that is the driver's business.) All lengths in metres, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINT_NAMES: tuple[str, ...] = ("m1", "m2", "m3", "m4", "m5", "m6")
ACTIVE_JOINTS: tuple[int, ...] = (0, 1, 2, 4)
"""Indices of the joints that take effort; m4 (roll) and m6 (gripper) are held."""
ACTIVE_NAMES: tuple[str, ...] = tuple(JOINT_NAMES[index] for index in ACTIVE_JOINTS)

JOINT_OFFSETS: Array = np.array(
    [
        [0.0, 0.0350, 0.0328],
        [0.0, 0.0, 0.0240],
        [0.0, 0.0, 0.0540],
        [0.0, 0.0, 0.0298],
        [0.0, 0.0480, 0.0152],
        [0.0, 0.0540, 0.0],
    ]
)
"""[6, 3] m: each joint's origin in its parent's frame."""
JOINT_AXES: Array = np.array(
    [
        [0.0, 0.0, 1.0],
        [-1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
        [-1.0, 0.0, 0.0],
        [0.0, 0.0, -1.0],
    ]
)
"""[6, 3]: each joint's axis in its own frame."""
JOINT_LOW: Array = np.radians([-150.0, -90.0, -90.0, -150.0, -90.0, -110.0])
JOINT_HIGH: Array = np.radians([150.0, 125.0, 90.0, 150.0, 90.0, 90.0])

LINK_MASSES: Array = np.array([0.0042, 0.0201, 0.0178, 0.0201, 0.0201, 0.0165])
"""[6] kg: the link that each joint moves."""
LINK_CENTRES: Array = np.array(
    [
        [0.0, 0.0, 0.0129],
        [0.0, 0.0, 0.0134],
        [0.0, 0.0, 0.0084],
        [0.0, 0.0124, 0.0148],
        [0.0, 0.0134, 0.0],
        [0.0140, 0.0220, 0.0],
    ]
)
"""[6, 3] m: each link's centre of mass in its own frame."""

HAND = 4
"""Index of the link (moved by m5) that carries the fixed finger and the tip."""
TIP_OFFSET: Array = np.array([0.0, 0.1240, 0.0])
"""[3] m: the `pickuppoint` between the fingers, in the hand's frame."""


@dataclass(frozen=True)
class CriticalPoint:
    """A sphere fixed to a link that must stay above the table and the arm's base."""

    name: str
    link: int
    offset: tuple[float, float, float]  # m, in the link's frame
    radius: float  # m


CRITICAL_POINTS: tuple[CriticalPoint, ...] = (
    CriticalPoint("m3", 2, (0.0, 0.0, 0.0), 0.018),
    CriticalPoint("m4 front", 3, (0.0, 0.0275, 0.0283), 0.0),
    CriticalPoint("m4 back", 3, (0.0, -0.0085, 0.0283), 0.0),
    CriticalPoint("m5", 4, (0.0, 0.0, 0.0), 0.018),
    CriticalPoint("m6", 4, (0.0, 0.054, 0.0), 0.014),
    CriticalPoint("finger left top", 4, (-0.020, 0.131, 0.010), 0.0),
    CriticalPoint("finger left bottom", 4, (-0.020, 0.131, -0.010), 0.0),
    CriticalPoint("finger right top", 5, (0.017, 0.077, 0.010), 0.0),
    CriticalPoint("finger right bottom", 5, (0.017, 0.077, -0.010), 0.0),
    CriticalPoint("tip", 4, (0.0, 0.124, 0.0), 0.0),
)
"""The lowest that each part can be: motors as spheres or edges, fingers as their end corners.

With m4 and m6 at zero nothing else of the arm can touch its base, and none of it itself, inside of
the limits. The upper edges of m4 are the lowest when the arm is folded back.
"""

BASE_RADIUS = 0.075  # m, of the disc that the arm stands on, around the origin
BASE_HEIGHT = 0.005  # m
BASE_SLOPE = 0.5  # of a ramp up to the disc, which the limiter takes for solid

_SKEW = np.zeros((6, 3, 3))
_SKEW[:, 0, 1], _SKEW[:, 0, 2] = -JOINT_AXES[:, 2], JOINT_AXES[:, 1]
_SKEW[:, 1, 0], _SKEW[:, 1, 2] = JOINT_AXES[:, 2], -JOINT_AXES[:, 0]
_SKEW[:, 2, 0], _SKEW[:, 2, 1] = -JOINT_AXES[:, 1], JOINT_AXES[:, 0]
_SKEW_SQUARED = _SKEW @ _SKEW
_IDENTITY = np.eye(3)


def urdf_path(name: str) -> Path:
    """The URDF file of `arm`, `cube` or `floor`.

    Raises:
        FileNotFoundError: if there is none of that name.
    """
    path = Path(__file__).with_name("urdf") / f"{name}.urdf"
    if not path.is_file():
        raise FileNotFoundError(f"ergojr_description has no URDF {name!r}: {path} does not exist")
    return path


def forward(position: Array) -> Array:
    """Pose of each link's frame in the base frame.

    Args:
        position: [6] rad.

    Returns:
        [6, 4, 4] homogeneous transforms, in the order of `JOINT_NAMES`.
    """
    sine = np.sin(position)[:, None, None]
    versine = (1.0 - np.cos(position))[:, None, None]
    local = np.zeros((6, 4, 4))
    # Rodrigues: R = 1 + sin(q) K + (1 - cos(q)) K^2
    local[:, :3, :3] = _IDENTITY + sine * _SKEW + versine * _SKEW_SQUARED
    local[:, :3, 3] = JOINT_OFFSETS
    local[:, 3, 3] = 1.0
    poses = np.empty((6, 4, 4))
    poses[0] = local[0]
    for index in range(1, 6):
        np.matmul(poses[index - 1], local[index], out=poses[index])
    return poses


class Points:
    """Points fixed to links: their positions and Jacobians for given link poses."""

    def __init__(self, links: tuple[int, ...], offsets: Array) -> None:
        """links: N link indices; offsets: [N, 3] m in the links' frames."""
        self._links = np.array(links)
        self._offsets = np.concatenate([offsets, np.ones((len(links), 1))], axis=1)[:, :, None]
        self._moved_by = (np.arange(6)[:, None] <= self._links).astype(np.float64)[:, None]

    def positions(self, poses: Array) -> Array:
        """[N, 3] m in the base frame, for `poses` from `forward`."""
        return np.asarray((poses[self._links] @ self._offsets)[:, :3, 0])

    def jacobian(self, poses: Array, positions: Array) -> Array:
        """[N, 3, 6] m/rad: d position / d joint angle = axis x (position - joint origin)."""
        rotations = poses[:, :3, :3]
        # R [axis]x R' = [R axis]x: the cross product with each joint's axis in the base frame.
        cross = rotations @ _SKEW @ rotations.transpose(0, 2, 1)
        arms = positions.T[None] - poses[:, :3, 3:]
        return np.asarray((cross @ arms * self._moved_by).transpose(2, 1, 0))


def ground(points: Array) -> tuple[Array, Array]:
    """What lies under [N, 3] m: the table or the arm's base, with a ramp around it.

    Returns:
        [N] m, its height, and [N, 2], the slope of that along x and y.
    """
    along = points[:, :2]
    distance = np.maximum(np.sqrt((along * along).sum(axis=1)), 1e-6)
    ramp = BASE_HEIGHT - BASE_SLOPE * (distance - BASE_RADIUS)
    height = np.minimum(np.maximum(ramp, 0.0), BASE_HEIGHT)
    slope = np.where(height == ramp, -BASE_SLOPE, 0.0) / distance
    return height, along * slope[:, None]


_TIP = Points((HAND,), TIP_OFFSET[None])


def tip(position: Array) -> Array:
    """[3] m: the pick-up point between the fingers, in the base frame, for [6] rad."""
    return np.asarray(_TIP.positions(forward(position))[0])


def tip_jacobian(position: Array) -> Array:
    """[3, 6] m/rad: d tip / d joint angle, for [6] rad."""
    poses = forward(position)
    return np.asarray(_TIP.jacobian(poses, _TIP.positions(poses))[0])


def reach() -> float:
    """m: the greatest distance of the tip from the axis of m2 (arm straight)."""
    elbow = np.linalg.norm(JOINT_OFFSETS[3] + JOINT_OFFSETS[4])
    return float(JOINT_OFFSETS[2, 2] + elbow + TIP_OFFSET[1])


SHOULDER: Array = JOINT_OFFSETS[0] + JOINT_OFFSETS[1]
"""[3] m: centre of m2, the centre of the reachable sphere."""
