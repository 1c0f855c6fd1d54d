"""The kinematics against pinocchio, which reads the URDF by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ergojr_description import kinematics
from ergojr_description.kinematics import Array

pinocchio = pytest.importorskip("pinocchio")

POSES = np.random.default_rng(4).uniform(-np.pi, np.pi, (200, 6))


@pytest.fixture(scope="module")
def model() -> Any:
    model = pinocchio.buildModelFromUrdf(str(kinematics.urdf_path("arm")))
    assert tuple(model.names)[1:] == kinematics.JOINT_NAMES
    return model


@pytest.fixture
def data(model: Any) -> Any:
    return model.createData()


@pytest.mark.parametrize("position", POSES[:50])
def test_link_frames(model: Any, data: Any, position: Array) -> None:
    pinocchio.forwardKinematics(model, data, position)
    theirs = [data.oMi[model.getJointId(name)].homogeneous for name in kinematics.JOINT_NAMES]
    np.testing.assert_allclose(kinematics.forward(position), theirs, atol=1e-12)


@pytest.mark.parametrize("position", POSES[:50])
def test_tip_and_its_jacobian(model: Any, data: Any, position: Array) -> None:
    frame = model.getFrameId("pickuppoint")
    jacobian = pinocchio.computeFrameJacobian(
        model, data, position, frame, pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
    )
    pinocchio.framesForwardKinematics(model, data, position)
    np.testing.assert_allclose(
        kinematics.tip(position), data.oMf[frame].translation, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(kinematics.tip_jacobian(position), jacobian[:3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("point", kinematics.CRITICAL_POINTS, ids=lambda point: point.name)
def test_critical_points_and_their_jacobians(model: Any, point: kinematics.CriticalPoint) -> None:
    joint = model.getJointId(kinematics.JOINT_NAMES[point.link])
    place = pinocchio.SE3(np.eye(3), np.array(point.offset))
    frame = model.addFrame(pinocchio.Frame(point.name, joint, place, pinocchio.FrameType.OP_FRAME))
    data = model.createData()
    ours = kinematics.Points((point.link,), np.array([point.offset]))
    for position in POSES:
        jacobian = pinocchio.computeFrameJacobian(
            model, data, position, frame, pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        pinocchio.framesForwardKinematics(model, data, position)
        poses = kinematics.forward(position)
        positions = ours.positions(poses)
        np.testing.assert_allclose(positions[0], data.oMf[frame].translation, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            ours.jacobian(poses, positions)[0], jacobian[:3], rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("position", POSES[:50])
def test_the_weight_that_the_limiter_predicts(model: Any, data: Any, position: Array) -> None:
    theirs = pinocchio.computeGeneralizedGravity(model, data, position)
    # The URDF gives the tip a mass of 1 mg, because simulators ask for one.
    np.testing.assert_allclose(kinematics.gravity_effort(position), theirs, rtol=0, atol=1e-5)
