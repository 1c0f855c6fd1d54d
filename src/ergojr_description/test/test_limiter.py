"""What the limiter must never do, whatever it is given."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ergojr_description import kinematics
from ergojr_description.config import MAX_EFFORT, MAX_SPHERE_RADIUS, LimiterConfig
from ergojr_description.kinematics import GRAVITY, Array
from ergojr_description.limiter import Limiter

CYCLE = 0.01  # s
ACTIVE = list(kinematics.ACTIVE_JOINTS)
REST = np.zeros(6)
STILL = np.zeros(6)

anything = st.floats(allow_nan=True, allow_infinity=True)
angle = st.floats(-3.0, 3.0)
speed = st.floats(-12.0, 12.0)


def vector(values: st.SearchStrategy[float], size: int) -> st.SearchStrategy[Array]:
    return st.lists(values, min_size=size, max_size=size).map(lambda v: np.array(v, np.float64))


@given(vector(anything, 4), vector(anything, 6), vector(anything, 6))
def test_effort_is_finite_and_bounded_for_any_command_and_state(
    effort: Array, position: Array, velocity: Array
) -> None:
    result = Limiter().limit_effort(effort, position, velocity, CYCLE)
    assert np.isfinite(result.command).all()
    assert (np.abs(result.command) <= MAX_EFFORT).all()


@given(vector(st.floats(-1.0, 1.0), 4), vector(angle, 6), vector(speed, 6), st.floats(0.01, 0.16))
def test_a_tightened_effort_limit_holds_in_every_plausible_state(
    effort: Array, position: Array, velocity: Array, limit: float
) -> None:
    limiter = Limiter(LimiterConfig(max_effort=limit))
    result = limiter.limit_effort(effort, position, velocity, CYCLE)
    assert (np.abs(result.command) <= limit).all()
    assert not result.fault


@given(vector(st.floats(-20.0, 20.0), 4), vector(angle, 6))
def test_speed_is_finite_and_bounded(target: Array, position: Array) -> None:
    limiter = Limiter()
    result = limiter.limit_velocity(target, position, CYCLE)
    assert (np.abs(result.command) <= limiter.config.max_speed + 1e-9).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["command", "position", "velocity"])
def test_a_number_that_is_none_gives_zero_effort_and_a_fault(where: str, bad: float) -> None:
    values = {"command": np.full(4, 0.1), "position": np.zeros(6), "velocity": np.zeros(6)}
    values[where][2] = bad
    result = Limiter().limit_effort(
        values["command"], values["position"], values["velocity"], CYCLE
    )
    assert (result.command == 0.0).all()
    assert result.fault.startswith(where)
    assert "m3" in result.fault


def test_an_implausible_reading_is_a_fault() -> None:
    velocity = np.zeros(6)
    velocity[4] = 1e6
    result = Limiter().limit_effort(np.full(4, 0.1), REST, velocity, CYCLE)
    assert (result.command == 0.0).all()
    assert "velocity of m5" in result.fault


def test_it_works_on_after_a_fault() -> None:
    limiter = Limiter()
    limiter.limit_effort(np.full(4, np.nan), REST, STILL, CYCLE)
    assert not limiter.limit_effort(np.full(4, 0.05), REST, STILL, CYCLE).fault


def test_a_command_far_from_every_limit_passes_unchanged() -> None:
    effort = np.array([0.02, -0.03, 0.05, -0.01])
    result = Limiter().limit_effort(effort, REST, STILL, CYCLE)
    np.testing.assert_allclose(result.command, effort, atol=1e-12)
    assert result.acted == frozenset()


def test_too_much_effort_is_cut_and_told() -> None:
    result = Limiter().limit_effort(np.array([0.5, 0, 0, 0]), REST, STILL, CYCLE)
    assert result.command[0] == MAX_EFFORT
    assert result.acted == {"effort"}


@pytest.mark.parametrize("joint", range(4))
@pytest.mark.parametrize("side", [-1, 1])
def test_a_joint_that_runs_towards_its_end_is_braked(joint: int, side: int) -> None:
    index = kinematics.ACTIVE_JOINTS[joint]
    ends = kinematics.JOINT_HIGH if side > 0 else kinematics.JOINT_LOW
    position, velocity, effort = np.zeros(6), np.zeros(6), np.zeros(4)
    position[index] = ends[index] - side * 0.03
    velocity[index] = side * 1.0
    effort[joint] = side * MAX_EFFORT
    result = Limiter().limit_effort(effort, position, velocity, CYCLE)
    assert side * result.command[joint] < 0.0
    assert "range" in result.acted


def test_a_joint_beyond_its_end_is_pushed_back() -> None:
    position = np.zeros(6)
    position[0] = kinematics.JOINT_HIGH[0] + 0.05
    result = Limiter().limit_effort(np.array([MAX_EFFORT, 0, 0, 0]), position, STILL, CYCLE)
    assert result.command[0] < 0.0


def test_a_fast_joint_is_slowed_down() -> None:
    velocity = np.zeros(6)
    velocity[0] = 4.0
    result = Limiter().limit_effort(np.array([MAX_EFFORT, 0, 0, 0]), REST, velocity, CYCLE)
    assert result.command[0] < -0.5 * MAX_EFFORT
    assert "speed" in result.acted


def test_the_tip_is_stopped_above_the_floor() -> None:
    position = np.radians([0.0, 20.0, 20.0, 0.0, 22.0, 0.0])
    height = float(kinematics.tip(position)[2])
    assert 0.0 < height < 0.03
    velocity = np.array([0, 0.5, 0.5, 0, 0.5, 0])
    result = Limiter().limit_effort(np.full(4, MAX_EFFORT), position, velocity, CYCLE)
    assert "floor" in result.acted
    assert (result.command[1:] < MAX_EFFORT).any()


def test_a_tighter_sphere_stops_the_tip_from_leaving() -> None:
    limiter = Limiter(LimiterConfig(sphere_radius=0.17))
    position = np.radians([0.0, 0.0, 40.0, 0.0, 0.0, 0.0])
    radius = np.linalg.norm(kinematics.tip(position) - kinematics.SHOULDER)
    assert 0.16 < radius < 0.17
    outward = (kinematics.tip(position) - kinematics.SHOULDER) @ kinematics.tip_jacobian(position)
    away = MAX_EFFORT * np.sign(outward[list(kinematics.ACTIVE_JOINTS)])
    velocity = 0.5 * np.sign(outward)
    result = limiter.limit_effort(away, position, velocity, CYCLE)
    assert "sphere" in result.acted


def test_sustained_effort_is_derated_and_recovers() -> None:
    limiter = Limiter()
    hold = np.array([0.14, 0.0, 0.0, 0.0])
    sustained = limiter.config.sustained_effort
    for _ in range(int(120.0 / CYCLE)):
        result = limiter.limit_effort(hold, REST, STILL, CYCLE)
    assert result.acted == {"sustained"}
    assert abs(result.command[0]) <= 1.05 * sustained
    limiter.reset()
    assert limiter.limit_effort(hold, REST, STILL, CYCLE).command[0] == pytest.approx(0.14)


@pytest.mark.parametrize("item", fields(LimiterConfig), ids=lambda item: item.name)
def test_no_limit_can_be_configured_away(item: object) -> None:
    name, high = item.name, item.metadata["high"]  # type: ignore[attr-defined]
    for wide in (high * 1.01, np.inf, np.nan, -1.0):
        with pytest.raises(ValueError, match=name):
            LimiterConfig(**{name: wide})


def test_hard_maxima_do_not_reach_beyond_the_joints_range() -> None:
    limiter = Limiter(LimiterConfig(range_margin=0.0, floor_clearance=0.0))
    position = kinematics.JOINT_HIGH + 0.01
    push = np.full(4, MAX_EFFORT)
    result = limiter.limit_effort(push, position, STILL, CYCLE)
    assert "range" in result.acted


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1)])
def test_a_wrong_shape_is_a_programming_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Limiter().limit_effort(np.zeros(shape), REST, STILL, CYCLE)


def test_a_cycle_time_of_zero_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="cycle time"):
        Limiter().limit_effort(np.zeros(4), REST, STILL, 0.0)


def inside(seed: int, limiter: Limiter) -> Array:
    """[6] rad: a pose inside of the limits."""
    random = np.random.default_rng(seed)
    while True:
        position = np.zeros(6)
        position[ACTIVE] = random.uniform(kinematics.JOINT_LOW, kinematics.JOINT_HIGH)[ACTIVE]
        if not limiter.clear(position):
            return position


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(vector(st.floats(-0.5, 0.5), 4), min_size=1, max_size=6),
    st.integers(1, 20),
    st.booleans(),
)
def test_in_the_world_that_it_predicts_nothing_leaves_the_limits(
    seed: int, commands: list[Array], held: int, tired: bool
) -> None:
    """Each joint for itself, with gravity and viscous friction, for a second."""
    limiter = Limiter()
    if tired:
        limiter.tire()
    position, velocity = inside(seed, limiter), np.zeros(6)
    masses = kinematics.Points(tuple(range(6)), kinematics.LINK_CENTRES)
    for cycle in range(100):
        effort = commands[cycle // held % len(commands)]
        limited = limiter.limit_effort(effort, position, velocity, CYCLE)
        poses = kinematics.forward(position)
        heights = masses.jacobian(poses, masses.positions(poses))[:, 2, ACTIVE]
        gravity = GRAVITY * kinematics.LINK_MASSES @ heights
        net = limited.command - gravity - limiter.viscous * velocity[ACTIVE]
        velocity[ACTIVE] += CYCLE * net / limiter.inertia
        position = position + CYCLE * velocity
        beyond = np.maximum(kinematics.JOINT_LOW - position, position - kinematics.JOINT_HIGH)
        assert np.degrees(beyond.max()) < 1.0
        tip = kinematics.tip(position)
        assert tip[2] > -0.005
        assert np.linalg.norm(tip - kinematics.SHOULDER) < MAX_SPHERE_RADIUS + 0.005


def test_a_delay_is_looked_ahead() -> None:
    position = np.zeros(6)
    position[0] = kinematics.JOINT_HIGH[0] - 0.12
    velocity = np.array([1.8, 0, 0, 0, 0, 0])
    now = Limiter().limit_effort(np.zeros(4), position, velocity, CYCLE)
    late = Limiter(delay=0.02).limit_effort(np.zeros(4), position, velocity, CYCLE)
    assert late.command[0] < now.command[0]


def test_what_stays_below_the_floor_is_lifted_ever_harder() -> None:
    limiter = Limiter()
    stuck = np.radians([0, 92.0, -80.0, 0, 27.0, 0])
    assert limiter.clear(stuck)
    efforts = [
        float(np.abs(limiter.limit_effort(np.zeros(4), stuck, STILL, CYCLE).command).sum())
        for _ in range(100)
    ]
    assert efforts[-1] > efforts[50] > efforts[0]


def test_the_base_is_higher_than_the_table() -> None:
    folded = np.radians([0, -86.0, -62.0, 0, 0, 0.0])
    assert Limiter().clear(folded) == "m4 back is 2 mm too low"


def test_a_pose_says_which_limit_it_is_beyond() -> None:
    limiter = Limiter()
    assert limiter.clear(REST) == ""
    assert limiter.clear(np.radians([0, 0, 0, 0, 0, 95.0])) == "m6 is 6.1 degrees beyond its range"
    assert "too low" in limiter.clear(np.radians([0, 60, 60, 0, 0, 0.0]))
    straight = np.radians([0, 0, -47.0, 0, -43.0, 0.0])
    assert "outside of the sphere" in limiter.clear(straight)


def test_a_path_is_clear_only_if_all_of_it_is() -> None:
    limiter = Limiter()
    left, right = np.radians([[0, 85.0, -80.0, 0, 25.0, 0], [0, 20.0, 85.0, 0, 85.0, 0]])
    assert limiter.clear(left) == limiter.clear(right) == ""
    assert limiter.clear_path(REST, left) == ""
    assert limiter.clear_path(left, right).startswith("on the way")
    fallen = np.radians([0, 92.0, -80.0, 0, 50.0, 0])
    assert "too low" in limiter.clear(fallen)
    assert limiter.clear_path(fallen, REST) == ""
    assert "too low" in limiter.clear_path(REST, fallen)
