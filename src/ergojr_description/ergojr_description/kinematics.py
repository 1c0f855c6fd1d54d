"""Forward kinematics of the Poppy Ergo Jr with its gripper, by the numbers of its URDF.

The base frame has its origin in the middle of the base, at the table, with z up; at zero joint
angles the arm points along +y. At zero angles every link frame is parallel to the base frame, so
one offset and one axis describe a joint. Joint angles are those of Poppy's own configuration:
positive m2, m3 and m5 lean the arm forward and down. (Some servos are mounted the other way round,
which the driver's calibration accounts for.) All lengths are in metres, all angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def urdf_path(name: str) -> Path:
    """Return the URDF file of `arm`, `cube` or `floor`.

    Raises:
        FileNotFoundError: if there is no file of that name.
    """
    path = Path(__file__).with_name("urdf") / f"{name}.urdf"
    if not path.is_file():
        raise FileNotFoundError(f"ergojr_description has no URDF {name!r}: {path} does not exist")
    return path


_URDF = ElementTree.parse(urdf_path("arm")).getroot()
_JOINTS = _URDF.findall("joint[@type='revolute']")  # from the base to the gripper
_CHILDREN = [child.attrib["link"] for joint in _JOINTS for child in joint.findall("child")]
_LINKS = [link for name in _CHILDREN for link in _URDF.findall(f"link[@name='{name}']")]


def _numbers(elements: list[ElementTree.Element], path: str, *attributes: str) -> Array:
    """Read the numbers in some attributes of the child at `path` of each of N elements.

    Returns:
        [N, M] the M numbers of all attributes together.

    Raises:
        ValueError: if an element has no such child, or the child lacks an attribute.
    """
    rows = []
    for element in elements:
        found = element.find(path)
        if found is None or not set(attributes) <= set(found.keys()):
            wanted = f"{path} with {' and '.join(attributes)}"
            raise ValueError(f"arm.urdf: {element.get('name')} has no {wanted}")
        rows.append([float(word) for each in attributes for word in found.attrib[each].split()])
    return np.array(rows)


JOINT_NAMES: tuple[str, ...] = tuple(joint.attrib["name"] for joint in _JOINTS)
"""m1 to m6, from the base to the gripper."""
ACTIVE_JOINTS: tuple[int, ...] = (0, 1, 2, 4)
"""Indices of the joints that take effort; m4 (roll) and m6 (gripper) are held."""
ACTIVE_NAMES: tuple[str, ...] = tuple(JOINT_NAMES[index] for index in ACTIVE_JOINTS)

JOINT_OFFSETS: Array = _numbers(_JOINTS, "origin", "xyz")
"""[6, 3] m: each joint's origin in its parent's frame."""
JOINT_AXES: Array = _numbers(_JOINTS, "axis", "xyz")
"""[6, 3]: each joint's axis in its own frame."""
JOINT_LOW, JOINT_HIGH = _numbers(_JOINTS, "limit", "lower", "upper").T
"""[6] rad: the ends of each joint's range."""

LINK_MASSES: Array = _numbers(_LINKS, "inertial/mass", "value")[:, 0]
"""[6] kg: the mass of the link that each joint moves."""
LINK_CENTRES: Array = _numbers(_LINKS, "inertial/origin", "xyz")
"""[6, 3] m: each link's centre of mass in its own frame."""

GRAVITY = 9.81  # m/s^2

HAND = 4
"""Index of the link (moved by m5) that carries the fixed finger and the tip."""
TIP_OFFSET: Array = _numbers(_URDF.findall("joint[@name='tip']"), "origin", "xyz")[0]
"""[3] m: the `pickuppoint` between the fingers, in the hand's frame."""


@dataclass(frozen=True)
class CriticalPoint:
    """A sphere fixed to a link that must stay above the table and the arm's base."""

    name: str
    link: int
    offset: tuple[float, ...]
    """[3] m, in the link's frame."""
    radius: float
    """m"""


CRITICAL_POINTS: tuple[CriticalPoint, ...] = (
    CriticalPoint("m3", 2, (0.0, 0.0, 0.0), 0.018),
    CriticalPoint("m4 front", 3, (0.0, 0.0275, 0.0283), 0.0),
    CriticalPoint("m4 back", 3, (0.0, -0.0085, 0.0283), 0.0),
    CriticalPoint("m5", 4, (0.0, 0.0, 0.0), 0.018),
    CriticalPoint("m6", 4, tuple(JOINT_OFFSETS[5].tolist()), 0.014),
    CriticalPoint("finger left top", 4, (-0.020, 0.131, 0.010), 0.0),
    CriticalPoint("finger left bottom", 4, (-0.020, 0.131, -0.010), 0.0),
    CriticalPoint("finger right top", 5, (0.017, 0.077, 0.010), 0.0),
    CriticalPoint("finger right bottom", 5, (0.017, 0.077, -0.010), 0.0),
    CriticalPoint("tip", 4, tuple(TIP_OFFSET.tolist()), 0.0),
)
"""The lowest points of each part: motors as spheres or edges, fingers as their end corners.

Within the limits and with m4 and m6 at zero, no other part of the arm can touch the base, and the
arm cannot touch itself. When the arm is folded back, the upper edges of m4 are its lowest points.
"""

BASE_RADIUS, BASE_HEIGHT = _numbers(
    _URDF.findall("link[@name='base_link']"), "collision/geometry/cylinder", "radius", "length"
)[0].tolist()
"""m: size of the disc that the arm stands on, around the origin."""
BASE_SLOPE = 0.5
"""Slope of a ramp up to the disc, which the limiter takes for solid."""

_SKEW = np.zeros((6, 3, 3))
_SKEW[:, 0, 1], _SKEW[:, 0, 2] = -JOINT_AXES[:, 2], JOINT_AXES[:, 1]
_SKEW[:, 1, 0], _SKEW[:, 1, 2] = JOINT_AXES[:, 2], -JOINT_AXES[:, 0]
_SKEW[:, 2, 0], _SKEW[:, 2, 1] = -JOINT_AXES[:, 1], JOINT_AXES[:, 0]
_SKEW_SQUARED = _SKEW @ _SKEW
_IDENTITY = np.eye(3)


def forward(position: Array) -> Array:
    """Compute the pose of each link's frame in the base frame.

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
    """N points that are fixed to links: their positions and Jacobians for given link poses.

    Args:
        links: N indices of links.
        offsets: [N, 3] m in the links' frames.
    """

    def __init__(self, links: tuple[int, ...], offsets: Array) -> None:
        self._links = np.array(links)
        self._offsets = np.concatenate([offsets, np.ones((len(links), 1))], axis=1)[:, :, None]
        self._moved_by = (np.arange(6)[:, None] <= self._links).astype(np.float64)[:, None]

    def positions(self, poses: Array) -> Array:
        """Return [N, 3] m in the base frame, for `poses` from `forward`."""
        return np.asarray((poses[self._links] @ self._offsets)[:, :3, 0])

    def jacobian(self, poses: Array, positions: Array) -> Array:
        """Return [N, 3, 6] m/rad: d position / d angle = axis x (position - joint's origin)."""
        rotations = poses[:, :3, :3]
        # R [axis]x R' = [R axis]x: the cross product with each joint's axis in the base frame.
        cross = rotations @ _SKEW @ rotations.transpose(0, 2, 1)
        arms = positions.T[None] - poses[:, :3, 3:]
        return np.asarray((cross @ arms * self._moved_by).transpose(2, 1, 0))


def ground(points: Array) -> tuple[Array, Array]:
    """Find the ground under [N, 3] m: the table, or the arm's base with a ramp around it.

    Returns:
        The ground's height, [N] m, and its slope along x and y, [N, 2].
    """
    along = points[:, :2]
    distance = np.maximum(np.sqrt((along * along).sum(axis=1)), 1e-6)
    ramp = BASE_HEIGHT - BASE_SLOPE * (distance - BASE_RADIUS)
    height = np.minimum(np.maximum(ramp, 0.0), BASE_HEIGHT)
    slope = np.where(height == ramp, -BASE_SLOPE, 0.0) / distance
    return height, along * slope[:, None]


_TIP = Points((HAND,), TIP_OFFSET[None])
_MASSES = Points(tuple(range(6)), LINK_CENTRES)


def tip(position: Array) -> Array:
    """Return the place of the pick-up point between the fingers, [3] m, for [6] rad."""
    return np.asarray(_TIP.positions(forward(position))[0])


def tip_jacobian(position: Array) -> Array:
    """Return d tip / d joint angle, [3, 6] m/rad, for [6] rad."""
    poses = forward(position)
    return np.asarray(_TIP.jacobian(poses, _TIP.positions(poses))[0])


def reach() -> float:
    """Return the greatest distance in m of the tip from the axis of m2 (arm straight)."""
    elbow = np.linalg.norm(JOINT_OFFSETS[3] + JOINT_OFFSETS[4])
    return float(JOINT_OFFSETS[2, 2] + elbow + TIP_OFFSET[1])


def gravity_effort(position: Array) -> Array:
    """Return the effort that holds the arm against gravity, [6] N m, for [6] rad."""
    poses = forward(position)
    heights = _MASSES.jacobian(poses, _MASSES.positions(poses))[:, 2]
    return np.asarray(GRAVITY * (LINK_MASSES @ heights))


SHOULDER: Array = JOINT_OFFSETS[0] + JOINT_OFFSETS[1]
"""[3] m: the centre of m2, which is the centre of the reachable sphere."""
