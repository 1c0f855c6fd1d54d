"""How hard the task is: random, zero and an oracle that knows where the cube is.

    python -m ergojr_sim.oracle --episodes 50

The oracle solves the inverse kinematics (damped least squares) for a point on the cube; with torque
control a PD law with gravity compensation drives the joints there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ergojr_description import kinematics
from ergojr_description.kinematics import ACTIVE_JOINTS, Array
from ergojr_sim.environment import PokeEnvironment
from ergojr_sim.world import CONTROLS, COULOMB_FRICTION, command_bounds

_ACTIVE = list(ACTIVE_JOINTS)


class Policy(Protocol):
    """Chooses the command of each tick from the true state of the world."""

    def reset(self, environment: PokeEnvironment) -> None:
        """Called after the environment's reset."""

    def act(self, environment: PokeEnvironment) -> Array:
        """[4] command in the environment's units."""


class RandomPolicy:
    """Uniform over the action space, a new action every tick."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def reset(self, environment: PokeEnvironment) -> None:
        """Nothing to forget."""

    def act(self, environment: PokeEnvironment) -> Array:
        """[4] command."""
        low, high = command_bounds(environment.world.control)
        return self._random.uniform(low, high)


class ZeroPolicy:
    """No torque, or the rest pose as target."""

    def reset(self, environment: PokeEnvironment) -> None:
        """Nothing to forget."""

    def act(self, environment: PokeEnvironment) -> Array:
        """[4] zeros."""
        return np.zeros(4)


class OraclePolicy:
    """Reaches for the cube with inverse kinematics, and PD control where efforts are asked for."""

    stiffness = 0.6  # N m/rad
    damping = 0.02  # N m s/rad
    height = 0.035  # m over the table: the tip comes from above and the fingers clear the floor

    def __init__(self) -> None:
        self._target: Array = np.zeros(6)

    def reset(self, environment: PokeEnvironment) -> None:
        """Solve for the cube's place."""
        cube = environment.world.cube()
        start = environment.world.joint_state().position
        self._target = inverse_kinematics(np.array([cube[0], cube[1], self.height]), start)

    def act(self, environment: PokeEnvironment) -> Array:
        """[4] command."""
        world = environment.world
        low, high = command_bounds(world.control)
        if world.control == "position":
            return np.clip(self._target[_ACTIVE], low, high)
        state = world.joint_state()
        error = (self._target - state.position)[_ACTIVE]
        effort = self.stiffness * error - self.damping * state.velocity[_ACTIVE]
        effort += COULOMB_FRICTION * np.tanh(error / 0.02)
        effort += kinematics.gravity_effort(state.position)[_ACTIVE]
        return np.asarray(np.clip(effort, low, high))


def inverse_kinematics(target: Array, start: Array) -> Array:
    """[6] rad with the tip near `target` [3] m, within the joints' ranges; m4 and m6 at zero.

    Damped least squares (Buss, "Introduction to Inverse Kinematics", 2004, eq. 11).
    """
    position = np.array(start)
    position[0] = np.arctan2(-target[0], target[1] - kinematics.SHOULDER[1])
    # Elbow-up start, hand pointing down: the basin that clears the floor.
    position[1:] = np.radians([20.0, 40.0, 0.0, 40.0, 0.0])
    for _ in range(100):
        error = target - kinematics.tip(position)
        jacobian = kinematics.tip_jacobian(position)[:, _ACTIVE]
        damped = jacobian @ jacobian.T + 1e-4 * np.eye(3)
        position[_ACTIVE] += jacobian.T @ np.linalg.solve(damped, error)
        position = np.clip(position, kinematics.JOINT_LOW + 0.05, kinematics.JOINT_HIGH - 0.05)
    return position


@dataclass(frozen=True)
class Score:
    """Of some episodes: the share that touched, returns, and ticks until the touch."""

    episodes: int
    touched: float
    mean_return: float
    deviation: float
    mean_steps: float  # nan when nothing was touched
    limited: float  # share of ticks in which the limiter acted


def evaluate(environment: PokeEnvironment, policy: Policy, episodes: int, seed: int) -> Score:
    """Play `episodes` episodes with seeds `seed`, `seed` + 1, ..."""
    returns, steps, ticks, limited = [], [], 0, 0
    for episode in range(episodes):
        environment.reset(seed=seed + episode)
        policy.reset(environment)
        total, done = 0.0, False
        while not done:
            action = policy.act(environment).astype(np.float32)
            _, reward, terminated, truncated, info = environment.step(action)
            total += reward
            done = terminated or truncated
            ticks += 1
            limited += bool(info["limits"])
        returns.append(total)
        if terminated:
            steps.append(environment.steps)
    return Score(
        episodes,
        len(steps) / episodes,
        float(np.mean(returns)),
        float(np.std(returns)),
        float(np.mean(steps)) if steps else float("nan"),
        limited / ticks,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Random, zero and oracle on ErgoJrPoke-v0.")
    parser.add_argument(
        "--episodes", type=int, default=50, help="number of episodes of each policy"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode")
    arguments = parser.parse_args()
    print("| control | policy | touches | return | steps to touch | limited ticks |")
    print("|---|---|---|---|---|---|")
    for control in CONTROLS:
        environment = PokeEnvironment(control, cameras=())
        policies: dict[str, Policy] = {
            "random": RandomPolicy(arguments.seed),
            "zero": ZeroPolicy(),
            "oracle": OraclePolicy(),
        }
        for name, policy in policies.items():
            score = evaluate(environment, policy, arguments.episodes, arguments.seed)
            steps = "-" if np.isnan(score.mean_steps) else f"{score.mean_steps:.0f}"
            print(
                f"| {control} | {name} | {score.touched:.0%} "
                f"| {score.mean_return:.2f} ± {score.deviation:.2f} | {steps} "
                f"| {score.limited:.0%} |",
                flush=True,
            )
        environment.close()


if __name__ == "__main__":
    main()
