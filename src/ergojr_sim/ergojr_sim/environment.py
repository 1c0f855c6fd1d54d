"""The task: poke the cube. Importing this module registers it with Gymnasium as `ErgoJrPoke-v0`.

>>> import gymnasium
>>> env = gymnasium.make("ergojr_sim.environment:ErgoJrPoke-v0", control="torque")
>>> observation, info = env.reset(seed=0)
>>> observation["camera_front"].shape, observation["position"].shape
((64, 64, 3), (6,))

An episode starts near the rest pose (all zero, each active joint moved by up to 18 degrees), with
the cube at a random place on the table in front of the arm. The reward of a step is minus the
distance (m) between the tip and the cube's centre, plus 1 on the step that touches the cube. The
arm touches it when the distance is below 0.04 m or a finger is in contact. A touch terminates the
episode; `max_steps` (100 ticks of 50 ms) truncates it.

Actions are for m1 m2 m3 m5 in the robot's units: efforts within +-0.16 N m (`control="torque"`) or
joint targets within +-pi/2 rad (`control="position"`, the paper's environment).
"""

from __future__ import annotations

from math import pi, radians
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ergojr_description import CONTROL_PERIOD
from ergojr_description.cameras import CAMERAS
from ergojr_description.config import LimiterConfig
from ergojr_sim.world import World, command_bounds

ENVIRONMENT_ID = "ErgoJrPoke-v0"

TOUCH_DISTANCE = 0.04  # m
START_NOISE = radians(18.0)
CUBE_X = (-0.12, 0.12)  # m
CUBE_Y = (0.10, 0.17)  # m

DictObservation = dict[str, NDArray[Any]]


class PokeEnvironment(gymnasium.Env[DictObservation, NDArray[Any]]):
    """Poke the cube with a simulated Ergo Jr.

    An observation is a dict with a uint8 [height, width, 3] image per camera, and `position` (rad),
    `velocity` (rad/s) and `effort` (N m, as applied) of m1 to m6, each float32 [6].

    The `info` holds distance (m), touched, is_success, limits (names of the limits that acted, see
    `ergojr_description.limiter`) and fault.

    Args:
        control: `torque` or `position`.
        cameras: names of the cameras to render; may be empty.
        size: height and width of the images in pixels.
        max_steps: length of an episode in ticks.
        render_mode: None or `rgb_array` (all cameras side by side).
        limiter: limits that are tighter than the hard ones.

    Raises:
        ValueError: if an argument is not one of those.
    """

    metadata = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "render_fps": round(1 / CONTROL_PERIOD),
    }

    def __init__(
        self,
        control: str = "torque",
        cameras: tuple[str, ...] = tuple(CAMERAS),
        size: tuple[int, int] = (64, 64),
        max_steps: int = 100,
        render_mode: str | None = None,
        limiter: LimiterConfig | None = None,
    ) -> None:
        unknown = [name for name in cameras if name not in CAMERAS]
        if unknown:
            raise ValueError(
                f"{ENVIRONMENT_ID}: no camera {unknown[0]!r}, expected some of {', '.join(CAMERAS)}"
            )
        if render_mode not in (None, "rgb_array"):
            raise ValueError(
                f"{ENVIRONMENT_ID}: render_mode is {render_mode!r}, expected None or 'rgb_array'"
            )
        if max_steps < 1:
            raise ValueError(f"{ENVIRONMENT_ID}: max_steps is {max_steps}, expected at least 1")
        self.world = World(control, limiter)
        self.cameras = tuple(cameras)
        self.size = size
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.steps = 0
        low, high = command_bounds(control)
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        images: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 255, (*size, 3), np.uint8) for name in self.cameras
        }
        self.observation_space = spaces.Dict(
            {
                **images,
                "position": spaces.Box(-2 * pi, 2 * pi, (6,), np.float32),
                "velocity": spaces.Box(-100.0, 100.0, (6,), np.float32),
                "effort": spaces.Box(-1.0, 1.0, (6,), np.float32),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[DictObservation, dict[str, Any]]:
        """Start an episode; the same seed gives the same episode, whatever was before.

        Args:
            seed: seed of the start.
            options: `cube` may hold (x, y) in m for the cube, instead of a random place.
        """
        super().reset(seed=seed)
        random = self.np_random
        position = np.zeros(6)
        position[[0, 1, 2, 4]] = random.uniform(-START_NOISE, START_NOISE, 4)
        cube = (random.uniform(*CUBE_X), random.uniform(*CUBE_Y))
        yaw = random.uniform(-pi, pi)
        if options and "cube" in options:
            cube = (float(options["cube"][0]), float(options["cube"][1]))
        self.world.reset(position, cube, yaw)
        self.steps = 0
        return self.observe()

    def observe(self) -> tuple[DictObservation, dict[str, Any]]:
        """Return the present observation and info; nothing moves."""
        return self._observe(), self._info(False, frozenset(), "")

    def step(
        self, action: NDArray[Any] | None
    ) -> tuple[DictObservation, float, bool, bool, dict[str, Any]]:
        """Advance by one tick of 50 ms.

        Args:
            action: [4] N m or rad, depending on `control`; None switches the torque off. The
                limiter bounds actions beyond the action space. A number that is not finite is a
                fault, for which the arm gets no torque.
        """
        tick = self.world.tick(None if action is None else np.asarray(action, np.float64))
        self.steps += 1
        info = self._info(tick.touched, tick.acted, tick.fault)
        touched = bool(info["touched"])
        reward = -info["distance"] + (1.0 if touched else 0.0)
        truncated = not touched and self.steps >= self.max_steps
        return self._observe(), reward, touched, truncated, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return uint8 [height, width * cameras, 3] RGB for `rgb_array`, else None."""
        if self.render_mode is None:
            return None
        names = self.cameras or tuple(CAMERAS)
        return np.concatenate([self._image(name) for name in names], axis=1)

    def close(self) -> None:
        """Free the physics."""
        self.world.close()

    def _image(self, camera: str) -> NDArray[np.uint8]:
        return self.world.renderer.render(camera, width=self.size[1], height=self.size[0])

    def _observe(self) -> DictObservation:
        state = self.world.joint_state()
        observation: DictObservation = {name: self._image(name) for name in self.cameras}
        observation["position"] = state.position.astype(np.float32)
        observation["velocity"] = state.velocity.astype(np.float32)
        observation["effort"] = state.effort.astype(np.float32)
        return observation

    def _info(self, contact: bool, acted: frozenset[str], fault: str) -> dict[str, Any]:
        distance = self.world.distance()
        touched = contact or distance < TOUCH_DISTANCE
        return {
            "distance": distance,
            "touched": touched,
            "is_success": touched,
            "limits": tuple(sorted(acted)),
            "fault": fault,
        }


gymnasium.register(ENVIRONMENT_ID, entry_point="ergojr_sim.environment:PokeEnvironment")
