"""The task: push a point mass to a goal, seen by two cameras.

The point (1 kg) lies on a square floor, x and y in [-1, 1] m. A decision pushes it for 0.1 s with a
force of up to 4 N along each axis; viscous friction of 1.5 N s/m slows it down, so it coasts for
most of a second and a single frame does not tell where it is going. A wall stops it. The point
begins anywhere in [-0.8, 0.8]^2, at rest; the goal is the middle. The reward after each decision is

    r = 1 / (1 + (distance / 0.4 m)^2)   in (0, 1],

so a return is nearly the number of decisions at the goal. Nothing terminates; time runs out.

Each camera stands 35 degrees above the floor: it sees the direction across its view well and the
depth, squeezed into a third of the picture, less well. The front camera looks along +y, the side
camera along -x, so that only together do they tell both coordinates well. The point glows green and
the goal red, and the glows add up, so neither hides the other and their places can be told to a
fraction of a pixel, also in 5-bit colours.
"""

from __future__ import annotations

from math import cos, pi, radians, sin
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

CAMERAS = ("camera_front", "camera_side")
CONTROL_PERIOD = 0.1  # s
START_RANGE = 0.8  # m
REWARD_WIDTH = 0.4  # m

_FORCE = 4.0  # N, along each axis
_FRICTION = 1.5  # N s/m
_SIZE = 64  # pixels
_GLOW_RADIUS = 0.35  # m, where it has fallen to 1/e
_POINT_COLOUR = (0.0, 200.0, 40.0)
_GOAL_COLOUR = (200.0, 0.0, 40.0)
_FLOOR_COLOUR = (30.0, 30.0, 40.0)

Array = NDArray[np.float64]


def advance(position: Array, velocity: Array, action: Array) -> tuple[Array, Array]:
    """Position (m) and velocity (m/s) after a decision; all [..., 2], action in [-1, 1]."""
    force = _FORCE * np.clip(action, -1.0, 1.0)
    # Friction is taken at the end of the step (implicit Euler), which is stable for any friction.
    velocity = (velocity + CONTROL_PERIOD * force) / (1.0 + CONTROL_PERIOD * _FRICTION)
    free = position + CONTROL_PERIOD * velocity
    return np.clip(free, -1.0, 1.0), np.where(np.abs(free) > 1.0, 0.0, velocity)


def reward_at(position: Array, goal: Array) -> Array:
    """The reward of being at `position`, [...] from [..., 2]."""
    distance = np.square(position - goal).sum(-1)
    return np.asarray(1.0 / (1.0 + distance / REWARD_WIDTH**2))


def oracle_action(position: Array, velocity: Array, goal: Array) -> Array:
    """The push, [..., 2], that knows the state: full speed ahead, then the brakes.

    Along each axis it goes for the velocity from which it can still stop at the goal,
    sqrt(2 a |error|) with the brakes' acceleration a; within a decision's reach, error / 1.5 dt.
    """
    error = goal - position
    brakes = _FORCE
    speed = np.minimum(np.sqrt(2 * brakes * np.abs(error)), np.abs(error) / (1.5 * CONTROL_PERIOD))
    wanted = np.sign(error) * speed
    push = wanted * (1.0 + CONTROL_PERIOD * _FRICTION) - velocity
    return np.asarray(np.clip(push / (CONTROL_PERIOD * _FORCE), -1.0, 1.0))


class PointPush(gymnasium.Env[NDArray[np.uint8], NDArray[np.float32]]):
    """The task as a Gymnasium environment; it is truncated after `steps` decisions.

    Observation: uint8 [64, 128, 3], the front and the side camera side by side. Action: float32 [2]
    in [-1, 1], the push along x and y as a share of 4 N.
    """

    def __init__(self, steps: int = 30) -> None:
        self.steps = steps
        self.observation_space = spaces.Box(0, 255, (_SIZE, _SIZE * len(CAMERAS), 3), np.uint8)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position: Array = np.zeros(2)
        self.velocity: Array = np.zeros(2)
        self.goal: Array = np.zeros(2)
        self._step = 0
        self._views = (_View(-pi / 2), _View(0.0))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """See :class:`gymnasium.Env`; `options` are not used."""
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-START_RANGE, START_RANGE, 2)
        self.goal = np.zeros(2)
        self.velocity = np.zeros(2)
        self._step = 0
        return self._images(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """See :class:`gymnasium.Env`."""
        self.position, self.velocity = advance(
            self.position, self.velocity, np.asarray(action, np.float64)
        )
        self._step += 1
        reward = float(reward_at(self.position, self.goal))
        return self._images(), reward, False, self._step >= self.steps, {}

    def _images(self) -> NDArray[np.uint8]:
        return np.concatenate([view.render(self.position, self.goal) for view in self._views], 1)


class _View:
    """A pinhole camera 4 m from the middle of the floor, 35 degrees above it.

    `azimuth` is the direction in which it stands, seen from the middle (rad, 0 = +x).
    """

    _DISTANCE = 4.0  # m
    _FOCAL_LENGTH = 76.0  # pixels
    _ELEVATION = radians(35.0)

    def __init__(self, azimuth: float) -> None:
        c, s = cos(azimuth), sin(azimuth)
        up, level = sin(self._ELEVATION), cos(self._ELEVATION)
        self._place = self._DISTANCE * np.array([level * c, level * s, up])
        right, down = [-s, c, 0.0], [up * c, up * s, -level]
        forward = [-level * c, -level * s, -up]
        self._axes = np.array([right, down, forward])
        self._pixels = np.arange(_SIZE)

    def project(self, point: Array) -> tuple[float, float, float]:
        """Column and row of a point [3] (m), (31.5, 31.5) in the middle, and pixels per metre."""
        x, y, depth = self._axes @ (point - self._place)
        scale = self._FOCAL_LENGTH / depth
        middle = (_SIZE - 1) / 2
        return middle + scale * x, middle + scale * y, scale

    def render(self, position: Array, goal: Array) -> NDArray[np.uint8]:
        """The picture, uint8 [64, 64, 3], of the point and the goal, both [2]."""
        image = np.full((_SIZE, _SIZE, 3), _FLOOR_COLOUR, np.float32)
        for place, colour in ((goal, _GOAL_COLOUR), (position, _POINT_COLOUR)):
            column, row, scale = self.project(np.array([*place, 0.0]))
            width = _GLOW_RADIUS * scale
            height = width * self._place[2] / self._DISTANCE  # a circle is seen as an ellipse
            # A Gaussian is the product of its profiles along columns and rows.
            across = np.exp(-np.square((self._pixels - column) / width))
            along = np.exp(-np.square((self._pixels - row) / height))
            image += np.outer(along, across)[..., None] * np.array(colour, np.float32)
        return np.asarray(image + 0.5, np.uint8)
