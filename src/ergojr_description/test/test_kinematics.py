"""The chain's numbers, as the URDF says them, and its Jacobian."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergojr_description import kinematics
from ergojr_description.kinematics import Array

angles = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).map(np.array)


def test_rest_pose_puts_the_tip_where_the_dimensions_say() -> None:
    np.testing.assert_allclose(kinematics.tip(np.zeros(6)), [0.0, 0.207, 0.1558], atol=1e-12)


def test_positive_shoulder_and_elbow_lean_the_arm_forward_and_down() -> None:
    rest = kinematics.tip(np.zeros(6))
    for joint in (1, 2, 4):
        leaning = np.zeros(6)
        leaning[joint] = 0.3
        assert kinematics.tip(leaning)[2] < rest[2]


def test_straight_arm_reaches_as_far_as_reach_says() -> None:
    best = max(
        float(
            np.linalg.norm(kinematics.tip(np.array([0, 0, m3, 0, m5, 0.0])) - kinematics.SHOULDER)
        )
        for m3 in np.linspace(-1.5, 1.5, 121)
        for m5 in np.linspace(-1.5, 1.5, 121)
    )
    assert best == pytest.approx(kinematics.reach(), abs=2e-4)


@given(angles)
def test_jacobian_is_the_derivative_of_the_tip(position: Array) -> None:
    step = 1e-6
    for joint in range(6):
        moved = np.zeros(6)
        moved[joint] = step
        numeric = (kinematics.tip(position + moved) - kinematics.tip(position - moved)) / (2 * step)
        np.testing.assert_allclose(kinematics.tip_jacobian(position)[:, joint], numeric, atol=1e-8)


@given(angles)
def test_link_frames_stay_rigid(position: Array) -> None:
    for pose in kinematics.forward(position):
        rotation = pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_the_arm_has_the_dimensions_of_its_drawings() -> None:
    assert kinematics.JOINT_NAMES == ("m1", "m2", "m3", "m4", "m5", "m6")
    offsets = [
        *([0.0, 0.0350, 0.0328], [0.0, 0.0, 0.0240], [0.0, 0.0, 0.0540]),
        *([0.0, 0.0, 0.0298], [0.0, 0.0480, 0.0152], [0.0, 0.0540, 0.0]),
    ]
    np.testing.assert_array_equal(kinematics.JOINT_OFFSETS, offsets)
    axes = [[0, 0, 1], [-1, 0, 0], [-1, 0, 0], [0, 0, 1], [-1, 0, 0], [0, 0, -1]]
    np.testing.assert_array_equal(kinematics.JOINT_AXES, axes)
    low, high = [-150, -90, -90, -150, -90, -110], [150, 125, 90, 150, 90, 90]
    np.testing.assert_array_equal(kinematics.JOINT_LOW, np.radians(low))
    np.testing.assert_array_equal(kinematics.JOINT_HIGH, np.radians(high))
    masses = [0.0042, 0.0201, 0.0178, 0.0201, 0.0201, 0.0165]
    np.testing.assert_array_equal(kinematics.LINK_MASSES, masses)
    centres = [
        *([0.0, 0.0, 0.0129], [0.0, 0.0, 0.0134], [0.0, 0.0, 0.0084]),
        *([0.0, 0.0124, 0.0148], [0.0, 0.0134, 0.0], [0.0140, 0.0220, 0.0]),
    ]
    np.testing.assert_array_equal(kinematics.LINK_CENTRES, centres)
    np.testing.assert_array_equal(kinematics.TIP_OFFSET, [0.0, 0.1240, 0.0])
    assert (kinematics.BASE_RADIUS, kinematics.BASE_HEIGHT) == (0.075, 0.005)


def test_the_urdf_is_the_chain_that_the_kinematics_takes_it_for() -> None:
    robot = ElementTree.parse(kinematics.urdf_path("arm")).getroot()
    assert not robot.findall("joint/origin[@rpy]")
    joints = robot.findall("joint[@type='revolute']")
    parents = [parent.get("link") for joint in joints for parent in joint.findall("parent")]
    children = [child.get("link") for joint in joints for child in joint.findall("child")]
    assert parents == ["base_link", *children[:-1]]
    tip = robot.find("joint[@name='tip']/parent")
    assert tip is not None
    assert tip.get("link") == children[kinematics.HAND]


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_the_ground_is_flat_but_for_a_ramp_up_to_the_base(x: float, y: float) -> None:
    height, slope = kinematics.ground(np.array([[x, y, 0.1]]))
    distance = float(np.hypot(x, y))
    ramp = kinematics.BASE_HEIGHT / kinematics.BASE_SLOPE
    if distance < kinematics.BASE_RADIUS - 1e-6:
        assert (height[0], *slope[0]) == (kinematics.BASE_HEIGHT, 0.0, 0.0)
    elif distance > kinematics.BASE_RADIUS + ramp + 1e-6:
        assert (height[0], *slope[0]) == (0.0, 0.0, 0.0)
    else:
        assert 0.0 <= height[0] <= kinematics.BASE_HEIGHT


def test_the_slope_of_the_ground_is_the_derivative_of_its_height() -> None:
    point, step = np.array([0.05, 0.062, 0.1]), 1e-6
    slope = kinematics.ground(point[None])[1][0]
    assert slope.any()
    for axis in range(2):
        moved = np.zeros(3)
        moved[axis] = step
        heights, _ = kinematics.ground(np.array([point - moved, point + moved]))
        assert slope[axis] == pytest.approx((heights[1] - heights[0]) / (2 * step), abs=1e-6)


def test_urdf_inertias_obey_the_triangle_inequality() -> None:
    # PyBullet silently zeroes a tensor that violates it.
    robot = ElementTree.parse(kinematics.urdf_path("arm")).getroot()
    for inertia in robot.iter("inertia"):
        x, y, z = (float(inertia.get(key, "")) for key in ("ixx", "iyy", "izz"))
        assert x + y >= z
        assert y + z >= x
        assert z + x >= y


def test_an_unknown_urdf_is_named_in_the_error() -> None:
    with pytest.raises(FileNotFoundError, match="no URDF 'leg'"):
        kinematics.urdf_path("leg")


def test_urdf_files_lie_in_the_package() -> None:
    assert Path(kinematics.urdf_path("cube")).parent.name == "urdf"
