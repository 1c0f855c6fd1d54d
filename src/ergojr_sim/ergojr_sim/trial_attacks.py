"""Ways to attack the limiter: commands that try to drive the arm beyond its limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ergojr_description import kinematics
from ergojr_description.config import MAX_EFFORT
from ergojr_description.kinematics import ACTIVE_JOINTS, Array
from ergojr_sim.trial_arms import POINTS, RADII

_ACTIVE = list(ACTIVE_JOINTS)

Attack = Callable[[Array, Array, int], Array]
"""Position, velocity, number of the command -> command."""


def _towards(direction: Array) -> Array:
    return MAX_EFFORT * np.where(direction >= 0.0, 1.0, -1.0)


def _uniform(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.uniform(-MAX_EFFORT, MAX_EFFORT, 4)


def _bang_bang(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.choice([-MAX_EFFORT, MAX_EFFORT], 4)


def _absurd(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: random.normal(0.0, 1e3, 4)


def _held(random: np.random.Generator) -> Attack:
    corner = random.choice([-MAX_EFFORT, MAX_EFFORT], 4)
    return lambda position, velocity, tick: corner


def _flips(random: np.random.Generator) -> Attack:
    corner = random.choice([-MAX_EFFORT, MAX_EFFORT], 4)
    return lambda position, velocity, tick: corner * (-1.0) ** tick


def _swings(random: np.random.Generator) -> Attack:
    """Square waves of 0.1 to 1.5 s."""
    period, phase = random.uniform(2.0, 30.0, 4), random.uniform(0.0, 2 * np.pi, 4)
    return lambda position, velocity, tick: _towards(np.sin(2 * np.pi * tick / period + phase))


def _pumps(random: np.random.Generator) -> Attack:
    """Always with the motion, as at resonance."""
    return lambda position, velocity, tick: _towards(velocity[_ACTIVE])


def _ends(random: np.random.Generator) -> Attack:
    """Towards the nearer end of each joint's range."""
    middle = (kinematics.JOINT_LOW + kinematics.JOINT_HIGH)[_ACTIVE] / 2
    return lambda position, velocity, tick: _towards(position[_ACTIVE] - middle)


def _gradient(position: Array, direction: Array) -> Array:
    return np.asarray(direction @ kinematics.tip_jacobian(position)[:, _ACTIVE])


def _outward(position: Array) -> Array:
    radial = kinematics.tip(position) - kinematics.SHOULDER
    return np.asarray(radial / np.linalg.norm(radial))


_DOWN = np.array([0.0, 0.0, -1.0])


def _dives(random: np.random.Generator) -> Attack:
    """Down with whatever is lowest."""

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        poses = kinematics.forward(position)
        points = POINTS.positions(poses)
        lowest = int((points[:, 2] - RADII).argmin())
        return _towards(-POINTS.jacobian(poses, points)[lowest, 2, _ACTIVE])

    return attack


def _stretches(random: np.random.Generator) -> Attack:
    return lambda position, velocity, tick: _towards(_gradient(position, _outward(position)))


def _corners(random: np.random.Generator) -> Attack:
    """To where sphere and floor meet, while m1 sweeps."""

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        command = _towards(_gradient(position, _outward(position) + _DOWN))
        command[0] = MAX_EFFORT * (-1.0) ** (tick // 8)
        return command

    return attack


def _flings(random: np.random.Generator) -> Attack:
    """Up and out with a swing, then down with it."""
    length = int(random.integers(3, 13))

    def attack(position: Array, velocity: Array, tick: int) -> Array:
        sign = 1.0 if tick // length % 2 else -1.0
        return _towards(_gradient(position, sign * _DOWN + 0.3 * _outward(position)))

    return attack


ATTACKS: dict[str, Callable[[np.random.Generator], Attack]] = {
    "uniform": _uniform,
    "bang-bang": _bang_bang,
    "absurd": _absurd,
    "held extremes": _held,
    "sign flips": _flips,
    "swings": _swings,
    "resonance": _pumps,
    "joint ends": _ends,
    "dives": _dives,
    "stretches": _stretches,
    "corners": _corners,
    "flings": _flings,
}
