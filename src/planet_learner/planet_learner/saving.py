"""What a learner saves of its run, and when: once an update after it has proved it.

A checkpoint is written once the update after it was finite, so that no run goes on from weights
that cannot be trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planet_core.method import DEFAULT, Inputs, MethodError, State, Trainer, as_values
from planet_core.report import Report
from planet_learner.checkpoint import Checkpoints
from planet_learner.config import LearnerConfig
from planet_learner.schedules import Progress


@dataclass(frozen=True)
class RunState:
    """What a checkpoint says of its run, besides the trainer's state."""

    method: str
    robot: Inputs
    """What the robot shows."""
    progress: Progress
    configuration: Mapping[str, dict[str, Any]]
    """The trainer's."""

    def to_values(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {
            "progress": asdict(self.progress),
            "method": self.method,
            "robot": as_values(self.robot),
            **self.configuration,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> RunState:
        """Return what :meth:`to_values` wrote, also in an earlier version.

        Raises:
            KeyError, TypeError: it did not write this.
        """
        rest = dict(values)
        # An earlier version named no method, and wrote what the model reads of the robot.
        robot = rest.pop("robot", None) or rest["model"]
        return cls(
            progress=Progress(**rest.pop("progress")),
            method=str(rest.pop("method", DEFAULT)),
            robot=Inputs.from_dict(robot),
            configuration=rest,
        )

    def check_method(self, method: str, where: Path) -> None:
        """Raise MethodError when the run in `where` is of another method."""
        if self.method != method:
            raise MethodError(
                f"{where} holds a run of the method '{self.method}', but method is "
                f"'{method}': set it back, or choose another data_dir"
            )

    def check_configuration(self, trainer: Trainer, where: Path) -> None:
        """Raise MethodError when the run in `where` was trained with another configuration."""
        for part, fields in trainer.configuration.items():
            for name, value in fields.items():
                held = self.configuration.get(part, {}).get(name)
                if held != value:
                    raise MethodError(
                        f"{where} holds a run with {part}.{name} = {json.dumps(held)}, but "
                        f"{part}.{name} is {json.dumps(value)}: set it back, or choose another "
                        "data_dir"
                    )


@dataclass(frozen=True)
class _Candidate:
    update: int
    state: State
    values: dict[str, Any]


class Saver:
    """Holds a candidate until an update has proved it, then writes it.

    Args:
        checkpoints: where it is written.
        update: that of the checkpoint that the run goes on from.
        config: says how much time is between checkpoints.
        report: is told whether they can be written.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        update: int,
        config: LearnerConfig,
        report: Report,
        clock: Callable[[], float],
    ) -> None:
        self._checkpoints = checkpoints
        self._seconds = config.checkpoint_seconds
        self._report = report
        self._clock = clock
        self._held_at = clock()
        self._candidate: _Candidate | None = None
        self.update = update
        """The update of the last checkpoint; 0 without one."""

    def due(self, update: int) -> bool:
        """Whether it is time for a checkpoint of this update."""
        return update > self.update and self._clock() - self._held_at >= self._seconds

    def hold(self, state: State, run: RunState) -> None:
        """Hold a candidate, in place of the one before."""
        self._held_at = self._clock()
        self._candidate = _Candidate(run.progress.update, state, run.to_values())

    def drop(self) -> None:
        """Forget the candidate: the update after it was not finite."""
        self._candidate = None

    def write(self) -> None:
        """Write the candidate, if there is one: the update after it was finite."""
        if self._candidate is None:
            return
        candidate, self._candidate = self._candidate, None
        try:
            self._checkpoints.save(candidate.update, candidate.state, candidate.values)
        except OSError as error:
            self._report("checkpoint", "error", f"the checkpoint was not written: {error}")
        else:
            self.update = candidate.update
            self._report("checkpoint", "ok", "written", update=self.update)
