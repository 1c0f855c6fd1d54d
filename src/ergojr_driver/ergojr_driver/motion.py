"""Where the arm is to be while no effort is commanded: a reset's way, and the pose it holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from ergojr_description.kinematics import JOINT_HIGH, JOINT_LOW, JOINT_NAMES, Array
from ergojr_description.limiter import Limiter
from ergojr_driver.config import DriverConfig
from ergojr_driver.motors import FaultError
from ergojr_driver.servo import ACTIVE, HELD, Joints
from planet_core.robot import ResetResult

_SETTLE_SECONDS = 1.5  # after a reset's trajectory
_SETTLE_ERROR = 0.15  # rad; gravity and friction bend the position controller
_SETTLE_SPEED = 0.3  # rad/s
_SHORTEST_RESET = 0.8  # s
_DRAWS = 100  # of a start pose until one is inside of the limits


@dataclass(frozen=True)
class _Way:
    """From `origin` to `target`, [6] rad each, in `seconds` from `start` (s) on."""

    start: float
    seconds: float
    origin: Array
    target: Array


class Motion:
    """The position goal of all six joints, and its way to a start pose.

    Attributes:
        goal: [6] rad.
    """

    def __init__(self, config: DriverConfig, limiter: Limiter, steady: Callable[[], float]) -> None:
        self._config = config
        self._limiter = limiter
        self._steady = steady
        self._period = 1.0 / config.bus_rate
        self._rest = np.array(config.rest_pose)
        self.goal: Array = self._rest
        self._way: _Way | None = None
        self._pending: Future[ResetResult] | None = None

    def stay(self, position: Array) -> None:
        """Hold all joints where they are, [6] rad, or at the nearest end of their range."""
        self.goal = self._reachable(position)
        self._way = None

    def stay_but_held(self, position: Array) -> None:
        """The same, but the joints that are held in an episode keep their goal."""
        held = self.goal[HELD]
        self.stay(position)
        self.goal[HELD] = held

    def reset(self, seed: int) -> Future[ResetResult]:
        """Set out for a start pose: minimum jerk, at most 15/8 as fast as its mean."""
        self.give_up("another reset came")
        target, trouble = self._draw_start(seed)
        if trouble:
            return refused(f"no start pose is clear: {trouble}")
        way = float(np.abs(target - self.goal).max())
        seconds = max(way * 1.875 / self._config.reset_speed, _SHORTEST_RESET)
        self._way = _Way(self._steady(), seconds, self.goal, target)
        self._pending = Future()
        return self._pending

    def answer(self, result: ResetResult) -> None:
        """Tell who waits for the reset what came of it; the way ends."""
        self._way = None
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.set_result(result)

    def give_up(self, message: str) -> None:
        """Go nowhere any more, because of `message`."""
        self.answer(ResetResult(False, message))

    def _draw_start(self, seed: int) -> tuple[Array, str]:
        """A start pose inside of the limits, or the last one drawn and why it is not."""
        random = np.random.default_rng(seed if seed >= 0 else None)
        span = self._config.reset_noise
        for _ in range(_DRAWS):
            pose = self._rest.copy()
            pose[ACTIVE] += random.uniform(-span, span, len(ACTIVE))
            trouble = self._limiter.clear(pose)
            if not trouble:
                break
        return pose, trouble

    def advance(self, now: float) -> None:
        """Move the goal by one cycle: along the way, and inside of the limits.

        Raises:
            FaultError: the limiter cannot use the goal.
        """
        wanted = self.goal
        if self._way is not None:
            way = self._way
            t = min((now + self._period - way.start) / way.seconds, 1.0)
            share = t**3 * (10.0 - 15.0 * t + 6.0 * t * t)
            wanted = way.origin + (way.target - way.origin) * share
        most = self._config.reset_speed
        speed = np.clip((wanted - self.goal) / self._period, -most, most)
        limited = self._limiter.limit_velocity(speed[ACTIVE], self.goal, self._period)
        if limited.fault:
            raise FaultError(f"limiter: {limited.fault}")
        speed[ACTIVE] = limited.command
        self.goal = self.goal + speed * self._period

    def arrived(self, joints: Joints, now: float) -> str | None:
        """'' when the arm has come to its target, None while it is on its way, or why it fails."""
        assert self._way is not None, "asked during a reset only"
        late = now - self._way.start - self._way.seconds
        if late < 0.0:
            return None
        error = np.abs(joints.position - self._way.target)
        worst = int(error.argmax())
        if error[worst] < _SETTLE_ERROR and np.abs(joints.velocity).max() < _SETTLE_SPEED:
            return ""
        if late > _SETTLE_SECONDS:
            return (
                f"the arm did not get to its start: {JOINT_NAMES[worst]} is "
                f"{error[worst]:.2f} rad away"
            )
        return None

    def _reachable(self, position: Array) -> Array:
        margin = self._limiter.config.range_margin
        return np.clip(position, JOINT_LOW + margin, JOINT_HIGH - margin)


def refused(message: str) -> Future[ResetResult]:
    """The answer to a reset that does not begin."""
    future: Future[ResetResult] = Future()
    future.set_result(ResetResult(False, message))
    return future
