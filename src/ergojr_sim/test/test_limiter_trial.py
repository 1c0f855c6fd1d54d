"""The limiter on trial, in small: see `ergojr_sim.limiter_trial`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from ergojr_description import kinematics
from ergojr_description.kinematics import Array
from ergojr_description.limiter import Limited
from ergojr_sim.limiter_trial import EPISODE, attack, start_inside
from ergojr_sim.trial_arms import ARMS, Arm, Worst
from ergojr_sim.trial_attacks import ATTACKS
from ergojr_sim.world import World

COMMANDS = EPISODE // 2


@pytest.fixture(scope="module", params=list(ARMS))
def arm(request: pytest.FixtureRequest) -> Iterator[Arm]:
    made = ARMS[request.param]()
    yield made
    made.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_drives_the_arm_out_of_its_limits(arm: Arm, name: str) -> None:
    worst = attack(arm, name, COMMANDS, np.random.default_rng(7))
    assert worst.tolerable, worst
    assert worst.speed > 0.3  # it was powered


def test_a_limiter_left_out_would_be_noticed(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    def pass_on(effort: Array, position: Array, velocity: Array, dt: float) -> Limited:
        arm.worst.see(position, velocity)
        return Limited(effort, frozenset())

    monkeypatch.setattr(arm.limiter, "limit_effort", pass_on)
    worst = attack(arm, "dives", COMMANDS, np.random.default_rng(7))
    assert not worst.tolerable


def test_the_worst_is_measured_in_degrees_and_millimetres() -> None:
    worst = Worst()
    position = np.zeros(6)
    position[0] = kinematics.JOINT_HIGH[0] + np.radians(2.0)
    worst.see(position, np.zeros(6))
    assert worst.joint == pytest.approx(2.0)
    assert worst.tip_below == pytest.approx(-155.8)
    assert not worst.tolerable


def overlap(world: World) -> float:
    """m: how deep the arm is in itself or in its base; links next to each other do not count."""
    links = [-1, *world._joints]
    return max(
        (
            -float(contact[8])
            for one, other in combinations(range(len(links)), 2)
            if other > one + 1
            for contact in world._bullet.getClosestPoints(
                world._arm, world._arm, 0.0, links[one], links[other]
            )
        ),
        default=0.0,
    )


def test_no_pose_inside_of_the_limits_is_one_of_self_collision(world: World) -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        world.show(start_inside(random).tolist(), [0.0, 5.0, 0.015, 0.0, 0.0, 0.0, 1.0])
        assert overlap(world) == 0.0


def test_a_folded_arm_would_collide_with_its_base(world: World) -> None:
    """The test above can fail."""
    folded = np.radians([0.0, -89.0, -89.0, 0.0, 0.0, 0.0])
    world.show(folded.tolist(), [0.0, 5.0, 0.015, 0.0, 0.0, 0.0, 1.0])
    assert overlap(world) > 0.003


@pytest.mark.parametrize("folding", [(-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (1, 1, 1)])
def test_an_arm_that_is_folded_with_all_effort_stops_before_its_base(
    folding: tuple[int, int, int], world: World
) -> None:
    world.reset(np.zeros(6), (0.0, 5.0), 0.0)
    deepest = 0.0
    for tick in range(60):
        world.tick(0.16 * np.array([(-1.0) ** (tick // 10), *folding]))
        deepest = max(deepest, overlap(world))
    assert deepest < 0.005
