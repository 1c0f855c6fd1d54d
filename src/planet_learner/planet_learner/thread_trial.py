"""How long a plan and an update take, by their number of threads: JSON in, JSON out.

    python -m planet_learner.thread_trial < asked.json

A launch file asks before it starts roller and learner, since how the cores are best split shows
only to who knows both. Asked are `plan` and `update`, the numbers of threads to try, and `roller`
and `learner`, parameters of these nodes by name. The answer has `plan` and `update`: pairs of
threads and seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from planet_core.config import Config
from planet_core.episode_format import image_shape
from planet_core.method import Inputs, Observation, Settings, find
from planet_core.testing import make_episode
from planet_learner.config import LearnerConfig
from planet_learner.mirror import Mirror

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
    learner = LearnerConfig.pick(asked["learner"])
    method = find(learner.method)
    training = _settings(method.training, asked["learner"])
    robot = Inputs(CAMERAS, ACTIONS, 2 * JOINTS)
    trainer = method.make_trainer(training, robot, "cpu", 0)
    mirror = _mirror(trainer.inputs)
    plan, update = asked["plan"], asked["update"]

    def set_threads(count: int) -> None:
        method.prepare("cpu", count)

    times: dict[str, dict[int, float]] = {"plan": {}, "update": {}}
    if plan:
        acting = _settings(method.acting, asked["roller"])
        actor = method.load_actor(trainer.weights(False), acting, robot, "cpu", 0, None)
        images = np.full(image_shape(CAMERAS), 128, np.uint8)
        seen = Observation(images, np.zeros(2 * JOINTS, np.float32))
        action = np.zeros(ACTIONS, np.float32)
        times["plan"] = curve(lambda: actor.act(seen, action, False), plan, set_threads)
    if update:
        trainer.update(mirror)  # what is compiled is compiled here, and in no step that is timed
        times["update"] = curve(lambda: trainer.update(mirror), update, set_threads)
    return times


def curve(
    step: Callable[[], object],
    counts: Sequence[int],
    set_threads: Callable[[int], None],
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


def _settings(kinds: Mapping[str, type[Config]], parameters: Mapping[str, Any]) -> Settings:
    return {
        prefix: kind.pick(parameters, f"{prefix}." if prefix else "")
        for prefix, kind in kinds.items()
    }


def _mirror(inputs: Inputs) -> Mirror:
    """A mirror of one random episode."""
    episode = make_episode(
        "trial", steps=_STEPS, cameras=len(CAMERAS), actions=ACTIONS, joints=JOINTS, seed=0
    )
    images = image_shape(inputs.cameras)
    mirror = Mirror(_STEPS + 1, images, inputs.action_size, inputs.state_size)
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
