"""The physics against the numbers it is made from, and the limiter in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ergojr_description import kinematics
from ergojr_description.cameras import CAMERAS
from ergojr_description.config import MAX_EFFORT, MAX_SPHERE_RADIUS
from ergojr_description.kinematics import ACTIVE_JOINTS, CRITICAL_POINTS, Array
from ergojr_description.limiter import Limited
from ergojr_sim.world import COULOMB_FRICTION, VISCOUS_FRICTION, World

ACTIVE = list(ACTIVE_JOINTS)
AWAY = (0.0, 5.0)  # a cube out of reach
POINTS = kinematics.Points(
    tuple(p.link for p in CRITICAL_POINTS), np.array([p.offset for p in CRITICAL_POINTS])
)
RADII = np.array([p.radius for p in CRITICAL_POINTS])


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def targets() -> Iterator[World]:
    made = World("position")
    yield made
    made.close()


def link_pose(world: World, joint: str) -> Array:
    """[4, 4]: the frame of the link that `joint` moves, from PyBullet."""
    bullet, arm = world._bullet, world._arm
    index = world._joints[kinematics.JOINT_NAMES.index(joint)]
    state = bullet.getLinkState(arm, index, computeForwardKinematics=True)
    pose = np.eye(4)
    pose[:3, :3] = np.reshape(bullet.getMatrixFromQuaternion(state[5]), (3, 3))
    pose[:3, 3] = state[4]
    return pose


def remove_table(world: World) -> None:
    """Nothing collides with it any more."""
    world._bullet.setCollisionFilterGroupMask(0, -1, 0, 0)


def test_forward_kinematics_agrees_with_the_link_states_of_the_physics(world: World) -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        position = random.uniform(kinematics.JOINT_LOW, kinematics.JOINT_HIGH)
        world.reset(position, AWAY, 0.0)
        np.testing.assert_allclose(world.tip(), kinematics.tip(position), atol=1e-6)
        poses = kinematics.forward(position)
        for name, pose in zip(kinematics.JOINT_NAMES, poses, strict=True):
            np.testing.assert_allclose(link_pose(world, name), pose, atol=1e-6)


def test_an_effort_against_friction_settles_at_its_terminal_speed(world: World) -> None:
    # m1 turns about the vertical: no gravity.
    world.reset(np.zeros(6), AWAY, 0.0)
    for _ in range(15):
        world.tick(np.array([0.12, 0.0, 0.0, 0.0]))
    expected = (0.12 - COULOMB_FRICTION) / VISCOUS_FRICTION
    assert world.joint_state().velocity[0] == pytest.approx(expected, rel=0.03)


def test_an_effort_below_friction_moves_nothing(world: World) -> None:
    world.reset(np.zeros(6), AWAY, 0.0)
    for _ in range(10):
        world.tick(np.array([0.9 * COULOMB_FRICTION, 0.0, 0.0, 0.0]))
    assert abs(world.joint_state().position[0]) < 1e-3


def test_friction_does_not_explode_under_alternating_efforts(world: World) -> None:
    # Explicit viscous friction with too large a step would.
    random = np.random.default_rng(1)
    fastest = 0.0
    for _ in range(5):
        world.reset(np.zeros(6), AWAY, 0.0)
        for _ in range(60):
            world.tick(random.choice([-MAX_EFFORT, MAX_EFFORT], 4))
            fastest = max(fastest, float(np.abs(world.joint_state().velocity).max()))
    assert fastest < 3.0


def uniform(random: np.random.Generator, world: World, tick: int) -> Array:
    return random.uniform(-MAX_EFFORT, MAX_EFFORT, 4)


def bang_bang(random: np.random.Generator, world: World, tick: int) -> Array:
    return random.choice([-MAX_EFFORT, MAX_EFFORT], 4)


def absurd(random: np.random.Generator, world: World, tick: int) -> Array:
    return random.normal(0.0, 1e3, 4)


def swing(random: np.random.Generator, world: World, tick: int) -> Array:
    return MAX_EFFORT * np.sign(np.sin(2 * np.pi * tick / np.array([7, 11, 5, 9]) + 0.1))


def dive(random: np.random.Generator, world: World, tick: int) -> Array:
    """Everything down for the lowest point."""
    poses = kinematics.forward(world.joint_state().position)
    points = POINTS.positions(poses)
    lowest = int((points[:, 2] - RADII).argmin())
    return -MAX_EFFORT * np.sign(POINTS.jacobian(poses, points)[lowest, 2, ACTIVE])


def stretch(random: np.random.Generator, world: World, tick: int) -> Array:
    """Everything away from the shoulder for the tip."""
    position = world.joint_state().position
    outward = kinematics.tip(position) - kinematics.SHOULDER
    return MAX_EFFORT * np.sign(outward @ kinematics.tip_jacobian(position)[:, ACTIVE])


def inside(random: np.random.Generator) -> Array:
    """A pose within the limits."""
    while True:
        position = np.zeros(6)
        low, high = kinematics.JOINT_LOW[ACTIVE] + 0.03, kinematics.JOINT_HIGH[ACTIVE] - 0.03
        position[ACTIVE] = random.uniform(low, high)
        points = POINTS.positions(kinematics.forward(position))
        outside = np.linalg.norm(points[-1] - kinematics.SHOULDER) > MAX_SPHERE_RADIUS
        if (points[:, 2] - RADII).min() > 0.006 and not outside:
            return position


@pytest.mark.parametrize("adversary", [uniform, bang_bang, absurd, swing, dive, stretch])
def test_no_adversary_drives_the_arm_out_of_its_limits(
    adversary: Callable[[np.random.Generator, World, int], Array], world: World
) -> None:
    """Within 1 degree of the joints' range, 5 mm of floor and sphere. The table is taken away, so
    that only the limiter is left to hold the arm."""
    random = np.random.default_rng(2)
    for _ in range(8):
        world.reset(inside(random), AWAY, 0.0)
        remove_table(world)
        for tick in range(60):
            world.tick(adversary(random, world, tick))
            position = world.joint_state().position
            points = POINTS.positions(kinematics.forward(position))
            beyond = np.maximum(kinematics.JOINT_LOW - position, position - kinematics.JOINT_HIGH)
            assert np.degrees(beyond[ACTIVE].max()) < 1.0
            assert (points[:, 2] - RADII).min() > -0.005
            radius = np.linalg.norm(points[-1] - kinematics.SHOULDER)
            assert radius < MAX_SPHERE_RADIUS + 0.005


def test_a_limiter_left_out_would_be_noticed(world: World) -> None:
    """The test above can fail: without the limiter the tip goes through the floor."""
    world.reset(np.radians([0.0, 30.0, 30.0, 0.0, 0.0, 0.0]), AWAY, 0.0)
    remove_table(world)
    world.limiter.limit_effort = (  # type: ignore[method-assign]
        lambda effort, position, velocity, dt: Limited(effort, frozenset())
    )
    lowest = 1.0
    for _ in range(40):
        world.tick(np.full(4, MAX_EFFORT))
        points = POINTS.positions(kinematics.forward(world.joint_state().position))
        lowest = min(lowest, float((points[:, 2] - RADII).min()))
    assert lowest < -0.02


def test_a_command_that_is_no_number_gives_no_torque_and_a_fault(world: World) -> None:
    world.reset(np.zeros(6), AWAY, 0.0)
    tick = world.tick(np.array([0.1, np.nan, 0.0, 0.0]))
    assert "m2" in tick.fault
    assert (world.joint_state().effort[ACTIVE] == 0.0).all()


def test_torque_off_lets_the_arm_sink_and_hold_keeps_it(world: World) -> None:
    pose = np.radians([0.0, 30.0, -20.0, 0.0, 0.0, 0.0])
    world.reset(pose, AWAY, 0.0)
    for _ in range(40):
        world.hold(pose)
    np.testing.assert_allclose(world.joint_state().position, pose, atol=0.02)
    for _ in range(40):
        world.tick(None)
    assert world.joint_state().position[1] > pose[1] + 0.2
    assert (world.joint_state().effort == 0.0).all()


def test_joint_targets_are_reached_at_the_papers_speed(targets: World) -> None:
    targets.reset(np.zeros(6), AWAY, 0.0)
    goal = np.array([0.6, 0.3, -0.4, 0.2])
    fastest = 0.0
    for _ in range(40):
        targets.tick(goal)
        fastest = max(fastest, float(np.abs(targets.joint_state().velocity).max()))
    np.testing.assert_allclose(targets.joint_state().position[ACTIVE], goal, atol=0.02)
    assert fastest < 0.85


def test_joint_targets_below_the_table_leave_the_tip_above_it(targets: World) -> None:
    targets.reset(np.zeros(6), AWAY, 0.0)
    for _ in range(60):
        tick = targets.tick(np.array([0.0, 1.5, 0.3, 0.3]))
    assert targets.tip()[2] > 0.0
    assert "floor" in tick.acted


def test_an_episode_is_the_same_after_another_one(world: World) -> None:
    def play() -> list[float]:
        random = np.random.default_rng(3)
        world.reset(np.zeros(6), (0.05, 0.13), 0.4)
        for _ in range(30):
            world.tick(random.uniform(-MAX_EFFORT, MAX_EFFORT, 4))
        return [*world.joint_state().position.tolist(), *world.cube().tolist()]

    first = play()
    world.reset(np.full(6, 0.1), (0.0, 0.2), 1.0)
    for _ in range(20):
        world.tick(np.array([0.0, 0.16, 0.16, 0.16]))
    assert play() == first


@pytest.fixture
def servos() -> Iterator[World]:
    made = World("servo")
    yield made
    made.close()


def test_servos_with_their_efforts_move_as_the_torques_of_a_tick_do(
    world: World, servos: World
) -> None:
    effort = np.array([0.1, -0.05, 0.08, -0.1])
    six = np.zeros(6)
    six[ACTIVE] = effort
    for one in (world, servos):
        one.reset(np.zeros(6), AWAY, 0.0)
    world.tick(effort)
    for _ in range(24):
        servos.servo_step(six.tolist())
    # m4 and m6, which `torque` holds, hang loose on the friction here.
    np.testing.assert_allclose(servos.motion()[0], world.joint_state().position, atol=0.01)
    assert abs(servos.motion()[0][0]) > 0.005


def test_the_cube_is_put_down_but_not_into_the_arm(servos: World) -> None:
    servos.reset(np.zeros(6), (0.1, 0.1), 0.0)
    assert servos.place_cube(-0.1, 0.12, 0.5)
    assert servos.cube_pose()[:2] == [-0.1, 0.12]
    assert not servos.place_cube(0.0, 0.03, 0.0)
    assert servos.cube_pose()[:2] == [-0.1, 0.12]


@pytest.mark.parametrize("camera", sorted(CAMERAS))
def test_a_window_shows_its_part_of_the_whole_picture(camera: str, world: World) -> None:
    world.reset(np.full(6, 0.4), (0.05, 0.13), 0.4)
    left, top, right, bottom = window = (11, 7, 60, 50)
    part = world.renderer.draw(camera, 80, 60, window)[0]
    assert (part == world.renderer.draw(camera, 80, 60)[0][top:bottom, left:right]).mean() > 0.999


@pytest.mark.parametrize("camera", sorted(CAMERAS))
def test_a_camera_shows_cube_and_gripper(world: World, camera: str) -> None:
    world.reset(np.radians([0.0, 0.0, 30.0, 0.0, 30.0, 0.0]), (-0.02, 0.14), 0.3)
    image = world.renderer.render(camera, 64, 64).astype(int)
    assert image.shape == (64, 64, 3)
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    assert ((red > 2 * green) & (red > 2 * blue)).sum() > 8
    assert ((green > 1.5 * red) & (green > 1.5 * blue)).sum() > 8


def test_a_camera_that_is_not_square_shows_the_same_middle(world: World) -> None:
    world.reset(np.zeros(6), (0.0, 0.13), 0.0)
    square, wide = (
        world.renderer.render("camera_front", 64, 64),
        world.renderer.render("camera_front", 128, 64),
    )
    assert wide.shape == (64, 128, 3)
    difference = np.abs(wide[:, 32:96].astype(int) - square.astype(int)).mean()
    assert difference < 3.0


def test_an_unknown_control_is_named() -> None:
    with pytest.raises(ValueError, match="control is 'speed', expected one of torque, position"):
        World("speed")
