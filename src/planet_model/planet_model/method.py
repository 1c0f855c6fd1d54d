"""PlaNet as a method of the suite."""

from __future__ import annotations

import torch

from planet_core.method import Inputs, Method, Settings, Trainer, setting_of
from planet_model.actor import load_actor
from planet_model.config import (
    ExplorationConfig,
    ModelConfig,
    NetworkConfig,
    ObjectiveConfig,
    PlannerConfig,
    TrainingConfig,
)
from planet_model.trainer import PlanetTrainer, find_device


def prepare(device: str, threads: int) -> None:
    """See :class:`planet_core.method.Method`."""
    find_device(device)
    torch.set_num_threads(threads)


def make_trainer(settings: Settings, robot: Inputs, device: str, seed: int) -> Trainer:
    """See :class:`planet_core.method.Method`."""
    model = ModelConfig.of(
        setting_of(settings, "model", NetworkConfig),
        robot.cameras,
        robot.action_size,
        robot.state_size // 2,
    )
    objective = setting_of(settings, "objective", ObjectiveConfig)
    training = setting_of(settings, "", TrainingConfig)
    return PlanetTrainer(model, objective, training, device=device, seed=seed)


METHOD = Method(
    training={"": TrainingConfig, "model": NetworkConfig, "objective": ObjectiveConfig},
    acting={"": ExplorationConfig, "planner": PlannerConfig},
    prepare=prepare,
    make_trainer=make_trainer,
    load_actor=load_actor,
)
