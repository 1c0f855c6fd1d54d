"""PlaNet as a method of the suite."""

from __future__ import annotations

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
from planet_model.trainer import PlanetTrainer


def make_trainer(
    settings: Settings, robot: Inputs, device: str, threads: int, seed: int
) -> Trainer:
    """See :class:`planet_core.method.Method`."""
    model = ModelConfig.of(
        setting_of(settings, "model", NetworkConfig),
        robot.cameras,
        robot.action_size,
        robot.state_size // 2,
    )
    objective = setting_of(settings, "objective", ObjectiveConfig)
    training = setting_of(settings, "", TrainingConfig)
    return PlanetTrainer(model, objective, training, device=device, threads=threads, seed=seed)


METHOD = Method(
    training={"": TrainingConfig, "model": NetworkConfig, "objective": ObjectiveConfig},
    acting={"": ExplorationConfig, "planner": PlannerConfig},
    make_trainer=make_trainer,
    load_actor=load_actor,
)
