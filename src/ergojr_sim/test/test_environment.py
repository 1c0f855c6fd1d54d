"""The task as Gymnasium sees it."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from ergojr_sim.environment import ENVIRONMENT_ID, TOUCH_DISTANCE, PokeEnvironment
from ergojr_sim.oracle import OraclePolicy, RandomPolicy, ZeroPolicy, evaluate


@pytest.fixture
def blind() -> Iterator[PokeEnvironment]:
    environment = PokeEnvironment(cameras=())
    yield environment
    environment.close()


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space.*")
@pytest.mark.parametrize("control", ["torque", "position"])
def test_gymnasiums_checker_is_content(control: str) -> None:
    environment = gymnasium.make(ENVIRONMENT_ID, control=control, render_mode="rgb_array")
    check_env(environment.unwrapped)
    environment.close()


def test_gymnasium_finds_the_task_by_its_module() -> None:
    environment = gymnasium.make(f"ergojr_sim.environment:{ENVIRONMENT_ID}", cameras=())
    assert isinstance(environment.unwrapped, PokeEnvironment)
    environment.close()


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    environment = PokeEnvironment(size=(32, 32))

    def play(seed: int) -> np.ndarray:
        frames = [environment.reset(seed=seed)[0]["camera_front"]]
        environment.action_space.seed(0)
        for _ in range(5):
            frames.append(environment.step(environment.action_space.sample())[0]["camera_side"])
        return np.array(frames)

    first = play(1)
    assert (play(2) != first).any()
    assert (play(1) == first).all()
    environment.close()


def test_reward_is_minus_the_distance_until_the_touch_which_adds_one(
    blind: PokeEnvironment,
) -> None:
    policy = OraclePolicy()
    blind.reset(seed=3)
    policy.reset(blind)
    terminated = False
    while not terminated:
        _, reward, terminated, truncated, info = blind.step(policy.act(blind))
        assert not truncated
        assert reward == pytest.approx(-info["distance"] + (1.0 if terminated else 0.0))
        assert info["touched"] == info["is_success"] == terminated
        if info["distance"] < TOUCH_DISTANCE:
            assert terminated


def test_an_episode_without_a_touch_is_truncated_not_terminated(blind: PokeEnvironment) -> None:
    blind.max_steps = 7
    blind.reset(seed=0)
    ends = [blind.step(np.zeros(4))[2:4] for _ in range(7)]
    assert ends == [(False, False)] * 6 + [(False, True)]


def test_starts_are_spread_as_the_task_says(blind: PokeEnvironment) -> None:
    starts, cubes = [], []
    for seed in range(60):
        starts.append(blind.reset(seed=seed)[0]["position"])
        cubes.append(blind.world.cube())
    degrees, places = np.degrees(starts), np.array(cubes)
    assert np.abs(degrees).max() <= 18.001
    assert np.abs(degrees[:, [0, 1, 2, 4]]).max() > 15.0
    assert (degrees[:, [3, 5]] == 0.0).all()
    assert places[:, 0].min() >= -0.12
    assert places[:, 0].max() <= 0.12
    assert places[:, 1].min() >= 0.10
    assert places[:, 1].max() <= 0.17
    assert np.ptp(places[:, 0]) > 0.2


def test_the_cube_can_be_put_where_asked(blind: PokeEnvironment) -> None:
    blind.reset(seed=0, options={"cube": (0.02, 0.15)})
    np.testing.assert_allclose(blind.world.cube()[:2], [0.02, 0.15])


def test_an_action_that_is_no_number_is_told_and_does_nothing(blind: PokeEnvironment) -> None:
    blind.reset(seed=0)
    observation, *_, info = blind.step(np.full(4, np.nan, np.float32))
    assert info["fault"]
    assert (observation["effort"][[0, 1, 2, 4]] == 0.0).all()


def test_only_the_asked_cameras_are_rendered() -> None:
    environment = PokeEnvironment(cameras=("camera_side",), size=(16, 24))
    observation, _ = environment.reset(seed=0)
    assert set(observation) == {"camera_side", "position", "velocity", "effort"}
    assert observation["camera_side"].shape == (16, 24, 3)
    environment.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cameras": ("camera_top",)}, "no camera 'camera_top'"),
        ({"control": "speed"}, "control is 'speed'"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PokeEnvironment(**arguments)


@pytest.mark.parametrize("control", ["torque", "position"])
def test_the_oracle_solves_the_task_and_chance_does_not(control: str) -> None:
    """The limiter leaves the task solvable."""
    environment = PokeEnvironment(control, cameras=())
    assert evaluate(environment, OraclePolicy(), 12, 0).touched >= 0.9
    assert evaluate(environment, RandomPolicy(0), 8, 100).touched <= 0.5
    assert evaluate(environment, ZeroPolicy(), 4, 0).touched == 0.0
    environment.close()
