"""What a robot is: its actions, cameras and joints, and its rhythm."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RobotSpec:
    """What the robot is. Raises ValueError, one sentence, for one that cannot be controlled."""

    name: str
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    """Lowest action per action name, in the robot's units."""
    action_high: tuple[float, ...]
    cameras: tuple[str, ...]
    """There may be none."""
    state_names: tuple[str, ...]
    """The joints; there may be none where there are cameras."""
    control_period: float
    """One tick, s (simulated seconds in a simulator)."""
    max_steps: int
    """Length of an episode, ticks."""
    real_time_factor: float
    """Simulated seconds per second; 0 = lockstep: the robot waits for each command."""

    def __post_init__(self) -> None:
        where = f"robot_spec of '{self.name}'"
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", self.name):
            raise ValueError(f"{where}: the name must be 1 to 64 of [A-Za-z0-9._-]")
        if not self.action_names:
            raise ValueError(f"{where}: action_names is empty")
        if not self.cameras and not self.state_names:
            raise ValueError(f"{where}: it has neither cameras nor state_names to be observed by")
        for what in ("action_names", "cameras", "state_names"):
            names = getattr(self, what)
            if len(set(names)) != len(names):
                raise ValueError(f"{where}: {what} names something twice: {', '.join(names)}")
        if not len(self.action_low) == len(self.action_high) == len(self.action_names):
            raise ValueError(
                f"{where}: {len(self.action_low)} action_low and {len(self.action_high)} "
                f"action_high for {len(self.action_names)} action_names"
            )
        limits = np.array([self.action_low, self.action_high])
        if not np.isfinite(limits).all() or (limits[0] >= limits[1]).any():
            raise ValueError(f"{where}: action_low must be finite and less than action_high")
        if not (np.isfinite(self.control_period) and self.control_period > 0.0):
            raise ValueError(f"{where}: control_period is {self.control_period} s, not positive")
        if self.max_steps < 1:
            raise ValueError(f"{where}: max_steps is {self.max_steps}, expected at least 1 tick")
        if not (np.isfinite(self.real_time_factor) and self.real_time_factor >= 0.0):
            raise ValueError(f"{where}: real_time_factor is {self.real_time_factor}, negative")

    @property
    def action_size(self) -> int:
        """A, the number of values in an action."""
        return len(self.action_names)

    @property
    def lockstep(self) -> bool:
        """Whether the robot waits for each command."""
        return self.real_time_factor == 0.0

    @property
    def tick(self) -> float:
        """One control period on the steady clock, s; meaningless in lockstep."""
        return self.control_period / self.real_time_factor

    def scale(self, action: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The action, [A] in [-1, 1], in the robot's units: -1 is its low, +1 its high."""
        low, high = np.asarray(self.action_low), np.asarray(self.action_high)
        return np.asarray(low + (action.astype(np.float64) + 1.0) / 2.0 * (high - low))
