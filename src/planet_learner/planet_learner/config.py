"""What the learner can be told, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass

from planet_core.config import Config, setting
from planet_core.method import DEFAULT
from planet_core.run_id import run_id_setting


@dataclass(frozen=True)
class LearnerConfig(Config):
    """The learner's parameters; the defaults are those of PlaNet's Appendix A where it has any."""

    data_dir: str = setting(
        "~/.local/share/robo_planet/sim",
        "Directory under which the learner keeps checkpoints/ and metrics/.",
    )
    run_id: str = run_id_setting()
    method: str = setting(DEFAULT, "Name of the method that learns.")
    mode: str = setting(
        "async",
        "async trains without pause; sync trains collect_interval updates per episode.",
        choices=("async", "sync"),
    )
    seed_episodes: int = setting(
        5, "Training episodes S before the weights are first published.", low=1
    )
    pretrain_updates: int = setting(100, "Updates before the weights are first published.", low=1)
    collect_interval: int = setting(100, "Updates C per further episode, in sync mode.", low=1)
    train_ratio: float = setting(
        0.0,
        "Largest number of updates per decision of the training episodes, in async mode; the "
        "learner waits rather than exceed it. 0 trains as fast as the computer can.",
        low=0.0,
    )
    publish_seconds: float = setting(
        10.0, "Time after which the weights are published, in async mode (s).", low=0.0
    )
    publish_updates: int = setting(
        100, "Updates after which the weights are published, in async mode.", low=1
    )
    publish_decoder: bool = setting(
        True, "Whether the decoders are published too, which only the prediction image needs."
    )
    checkpoint_seconds: float = setting(60.0, "Time between checkpoints (s).", low=0.0)
    metrics_updates: int = setting(10, "Updates that a row of updates.csv averages.", low=1)
    capacity_steps: int = setting(
        200_000, "Observations held in memory; as many as the replay keeps.", low=1
    )
    device: str = setting("cpu", "Device that trains: cpu, cuda or cuda:<n>.")
    threads: int = setting(1, "CPU threads of the training.", low=1)
    seed: int = setting(0, "Seed of the first weights, the noise and the batches.", low=0)


@dataclass(frozen=True)
class EvaluatorConfig(Config):
    """What the evaluator can be told."""

    checkpoint: str = setting(
        "", "Run, checkpoint or weights file to evaluate: a data_dir, or a file."
    )
    data_dir: str = setting(
        "~/.local/share/robo_planet/evaluation",
        "Directory in which the episodes are stored and the results are written.",
    )
    run_id: str = run_id_setting()
    episodes: int = setting(100, "Number of episodes to make.", low=1)
    seed: int = setting(2_000_000, "The n-th episode, from 0, has the seed `seed` + n.", low=0)
    video: bool = setting(True, "Whether a video of the first episodes is written.")
    real_time_factor: float = setting(
        0.0, "The simulator's, which is written into the results.", low=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.checkpoint:
            raise ValueError("checkpoint is not set, expected a run's data_dir or a file")
