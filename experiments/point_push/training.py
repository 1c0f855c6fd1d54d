"""One run: a variant of the method and a seed, from nothing to a trained model and its returns.

The run is PlaNet's Algorithm 1 with the suite's own parts (mirror, trainer, agent) in one process:
an episode, C updates, an episode, ... Its course depends on the seed alone, not on how fast the
machine is, so variants are compared at the same number of decisions and of updates.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from experiments.point_push.environment import CAMERAS, PointPush
from experiments.point_push.open_loop import films, prediction_errors
from experiments.point_push.rollout import Acting, OraclePolicy, play
from experiments.tables import fresh
from planet_core.config import Config, setting
from planet_learner.mirror import Mirror
from planet_model.actor import PlanetActor
from planet_model.agent import Agent
from planet_model.config import ModelConfig, ObjectiveConfig, PlannerConfig, TrainingConfig
from planet_model.trainer import PlanetTrainer
from planet_model.weights import load
from planet_model.world_model import WorldModel
from planet_roller.policy import ActorPolicy, RandomPolicy

TRAINING_STARTS = 1_000_000
"""Starts of training episodes have seeds from here on; held-out ones have 0, 1, 2, ..."""

AT = ("episodes", "decisions", "updates", "seconds")
"""How far a run is: the first columns of its tables."""

SEED_ACTION_HOLDS = (1, 2, 5)

MODEL = ModelConfig(cameras=CAMERAS, action_size=2, conv_depth=8, embedding_size=256)
OBJECTIVE = ObjectiveConfig(
    reward_scale=10.0, reward_weight=30.0, outcome_overshooting=True, decoded_fraction=0.4
)
TRAINING = TrainingConfig(batch_size=16, chunk_length=12)
CEM = PlannerConfig(horizon=8, iterations=3, candidates=100, elites=10, warm_start=True)
# As many imagined sequences as CEM has.
RANDOM_SHOOTING = PlannerConfig(planner="random_shooting", horizon=8, candidates=300, elites=1)


@dataclass(frozen=True)
class Variant:
    """What is run."""

    label: str
    """In tables and pictures."""
    acting: PlannerConfig | None
    """Who collects after the seed episodes; None: random actions."""
    evaluated: PlannerConfig | None
    """Who is evaluated; None: nothing is trained."""
    transition: str = "rssm"


VARIANTS = {
    "rssm": Variant("RSSM, CEM", CEM, CEM),
    "ssm": Variant("SSM (purely stochastic)", CEM, CEM, "ssm"),
    "rnn": Variant("RNN (purely deterministic)", CEM, CEM, "rnn"),
    "random_shooting": Variant("random shooting", RANDOM_SHOOTING, RANDOM_SHOOTING),
    "random_collection": Variant("random collection", None, CEM),
    "random": Variant("random actions", None, None),
    "oracle": Variant("oracle", None, None),
}


@dataclass(frozen=True)
class Schedule(Config):
    """How long a run is."""

    seed_episodes: int = setting(60, "Random episodes S before the first update.", low=1)
    episodes: int = setting(110, "Episodes in all, seed episodes included.", low=1)
    pretrain_updates: int = setting(500, "Updates after the seed episodes.", low=1)
    collect_interval: int = setting(20, "Updates C per further episode.", low=1)
    steps: int = setting(30, "Decisions of an episode.", low=1)
    exploration_noise: float = setting(
        0.3, "Standard deviation, added to planned actions.", low=0.0
    )
    evaluation_interval: int = setting(10, "Episodes between evaluations.", low=1)
    evaluation_episodes: int = setting(5, "Held-out starts of an evaluation.", low=1)
    final_episodes: int = setting(30, "Held-out starts of the last evaluation.", low=1)
    open_loop_episodes: int = setting(30, "Episodes on which prediction is measured.", low=1)


def run(name: str, seed: int, schedule: Schedule, folder: Path) -> None:
    """Make the run of variant `name` with `seed` and write it under `folder`.

    evaluations.csv, and of a trained variant episodes.csv, updates.csv, open_loop.csv,
    weights.safetensors and config.json. run.json comes last: a folder without it is of a run that
    was interrupted, and which starts again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    variant = VARIANTS[name]
    if variant.evaluated is None:
        _reference(name, seed, schedule, folder)
    else:
        _train(variant, seed, schedule, folder)
    summary = {
        "variant": name,
        "seed": seed,
        "schedule": schedule.to_dict(),
        "seconds": round(time.perf_counter() - began, 1),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (folder / "run.json").write_text(json.dumps(summary, indent=1) + "\n")


def _reference(name: str, seed: int, schedule: Schedule, folder: Path) -> None:
    environment = PointPush(schedule.steps)
    policy: Acting = (
        OraclePolicy(environment)
        if name == "oracle"
        else RandomPolicy(2, [1], np.random.default_rng(seed))
    )
    evaluations = fresh(folder / "evaluations.csv", [*AT, "held_out", "result"])
    for start, value in enumerate(_returns(environment, policy, schedule.final_episodes)):
        evaluations.append(dict.fromkeys(AT, 0) | {"held_out": start, "result": value})


def _train(variant: Variant, seed: int, schedule: Schedule, folder: Path) -> None:
    environment = PointPush(schedule.steps)
    model_config = replace(MODEL, transition=variant.transition)
    trainer = PlanetTrainer(model_config, OBJECTIVE, TRAINING, seed=seed)
    rows = schedule.steps + 1
    mirror = Mirror(schedule.episodes * rows, (64, 64 * len(CAMERAS), 3), MODEL.action_size)
    random = RandomPolicy(MODEL.action_size, SEED_ACTION_HOLDS, np.random.default_rng(seed))
    model: WorldModel | None = None
    updates, seconds = 0, 0.0
    episodes = fresh(folder / "episodes.csv", [*AT, "policy", "result"])
    losses = fresh(folder / "updates.csv", AT)
    evaluations = fresh(folder / "evaluations.csv", [*AT, "held_out", "result"])
    for n in range(1, schedule.episodes + 1):
        began = time.perf_counter()
        policy: Acting = random
        if model is not None and variant.acting is not None:
            agent = Agent(model, variant.acting, seed=n)
            actor = PlanetActor(agent, schedule.exploration_noise)
            policy = ActorPolicy(actor, updates, evaluation=False)
        # Runs with the same seed have the same starts.
        episode = play(environment, policy, TRAINING_STARTS * (seed + 1) + n, f"{seed}-{n}")
        mirror.add(episode, n)
        learnt: list[dict[str, float]] = []
        if n >= schedule.seed_episodes:
            first = n == schedule.seed_episodes
            count = schedule.pretrain_updates if first else schedule.collect_interval
            learnt = [trainer.update(mirror) for _ in range(count)]
            updates += count
            model = load(trainer.weights(full=True).data, trainer.model_config)
        seconds += time.perf_counter() - began
        at = dict(zip(AT, (n, n * schedule.steps, updates, round(seconds, 1)), strict=True))
        episodes.append(at | {"policy": episode.policy, "result": round(episode.episode_return, 4)})
        if learnt:
            losses.append({**at, **_mean(learnt[-100:])})
        last = n == schedule.episodes
        if model is not None and (last or n % schedule.evaluation_interval == 0):
            count = schedule.final_episodes if last else schedule.evaluation_episodes
            assert variant.evaluated is not None
            actor = PlanetActor(Agent(model, variant.evaluated, seed), 0.0)
            tested = ActorPolicy(actor, updates, evaluation=True)
            for start, value in enumerate(_returns(environment, tested, count)):
                evaluations.append(at | {"held_out": start, "result": value})
    assert model is not None
    weights = trainer.weights(full=True)
    (folder / "weights.safetensors").write_bytes(weights.data)
    (folder / "config.json").write_text(weights.config_json + "\n")
    ours, stays = prediction_errors(model, films(schedule.open_loop_episodes))
    open_loop = fresh(folder / "open_loop.csv", ["step", "model", "last_frame"])
    for step, (a, b) in enumerate(zip(ours, stays, strict=True), 1):
        open_loop.append({"step": step, "model": f"{a:.6g}", "last_frame": f"{b:.6g}"})


def _returns(environment: PointPush, policy: Acting, count: int) -> Iterator[float]:
    """The returns of `policy` from the first `count` held-out starts."""
    for start in range(count):
        yield round(play(environment, policy, start, f"held-out-{start}").episode_return, 4)


def _mean(updates: Sequence[dict[str, float]]) -> dict[str, str]:
    return {name: f"{np.mean([u[name] for u in updates]):.6g}" for name in updates[0]}
