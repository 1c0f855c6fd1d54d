"""How long a plan and an update take, by their number of threads: JSON in, JSON out.

    python -m planet_learner.thread_trial < asked.json

A launch file asks before it starts roller and learner, since how the cores are best split shows
only to who knows both. Asked are `plan` and `update`, the numbers of threads to try, and `roller`
and `learner`, parameters of these nodes by name. The answer has `plan` and `update`: pairs of
threads and seconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from planet_core.config import Config
from planet_core.episode import IMAGE_SIZE
from planet_core.testing import make_episode
from planet_learner.config import LearnerConfig
from planet_learner.mirror import Mirror
from planet_learner.trainer import Trainer
from planet_model import convolution
from planet_model.agent import Agent
from planet_model.config import ModelConfig, NetworkConfig, ObjectiveConfig, PlannerConfig
from planet_model.world_model import WorldModel

C = TypeVar("C", bound=Config)

CAMERAS = ("camera_front", "camera_side")  # as an Ergo Jr has them
ACTIONS = 4
JOINTS = 6
GAIN = 0.1
"""A larger number of threads must save this part of the time; else it does not pay."""

_ENOUGH = 0.15  # s of steps with one number of threads, after the first one
_LONG = 1.0  # s of steps after which the first one counts as well
_STEPS = 100  # of the episode that updates are made on


def measure(asked: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """See the module. Raises ValueError, one sentence, on a parameter that is out of range."""
    convolution.library()  # compiled here, and in no step that is timed
    learner = asked["learner"]
    network = _of(NetworkConfig, learner, "model.")
    model = ModelConfig.of(network, CAMERAS, ACTIONS, JOINTS)
    plan, update = asked["plan"], asked["update"]
    times: dict[str, dict[int, float]] = {"plan": {}, "update": {}}
    if plan:
        agent = Agent(WorldModel(model), _of(PlannerConfig, asked["roller"], "planner."), 0)
        images = np.full((IMAGE_SIZE, IMAGE_SIZE * len(CAMERAS), 3), 128, np.uint8)
        state, action = np.zeros(2 * JOINTS, np.float32), np.zeros(ACTIONS, np.float32)
        times["plan"] = curve(lambda: agent.act(images, action, 0.0, state), plan)
    if update:
        config = dataclasses.replace(_of(LearnerConfig, learner, ""), device="cpu")
        trainer = Trainer(model, _of(ObjectiveConfig, learner, "objective."), config)
        mirror = _mirror(model)
        times["update"] = curve(lambda: trainer.update(mirror), update)
    return times


def curve(
    step: Callable[[], object],
    counts: Sequence[int],
    *,
    set_threads: Callable[[int], None] = torch.set_num_threads,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """The shortest time of a step (s) by number of threads, up to the last one that pays.

    `counts` are in order. What takes long is done once or twice with each.
    """
    times: dict[int, float] = {}
    for count in counts:
        set_threads(count)
        spent: list[float] = []
        while sum(spent[1:]) < _ENOUGH and sum(spent) < _LONG:
            start = clock()
            step()
            spent.append(clock() - start)
        shortest = min(spent)
        if times and shortest > (1.0 - GAIN) * min(times.values()):
            break
        times[count] = shortest
    return times


def _of(kind: type[C], parameters: Mapping[str, Any], prefix: str) -> C:
    """The configuration with those of `parameters` that are its own; others are no matter here."""
    names = [f.name for f in dataclasses.fields(kind)]
    return kind(**{n: parameters[prefix + n] for n in names if prefix + n in parameters})


def _mirror(model: ModelConfig) -> Mirror:
    """A mirror of one random episode."""
    episode = make_episode(
        "trial", steps=_STEPS, cameras=len(CAMERAS), actions=ACTIONS, joints=JOINTS, seed=0
    )
    shape = (IMAGE_SIZE, IMAGE_SIZE * len(CAMERAS), 3)
    mirror = Mirror(_STEPS + 1, shape, model.action_size, model.state_size)
    mirror.add(episode, 1)
    return mirror


def main() -> None:
    """Answer what stdin asks."""
    try:
        times = measure(json.load(sys.stdin))
    except ValueError as error:
        sys.exit(str(error))
    print(json.dumps({name: list(found.items()) for name, found in times.items()}))


if __name__ == "__main__":
    main()
