"""What the learner can be told, besides the model and the objective."""

from __future__ import annotations

from dataclasses import dataclass

from planet_core.config import Config, setting


@dataclass(frozen=True)
class LearnerConfig(Config):
    """The learner's parameters; the defaults are those of PlaNet's Appendix A where it has any."""

    data_dir: str = setting(
        "~/.local/share/robo_planet/sim",
        "Directory under which checkpoints/ and metrics/ are kept.",
    )
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
    publish_seconds: float = setting(
        10.0, "Publish the weights after this time (s), in async mode.", low=0.0
    )
    publish_updates: int = setting(
        100, "Publish the weights after this many updates, in async mode.", low=1
    )
    publish_decoder: bool = setting(
        True, "Publish the decoders too, which only the prediction image needs."
    )
    checkpoint_seconds: float = setting(60.0, "Time between checkpoints (s).", low=0.0)
    metrics_updates: int = setting(10, "Updates per row of updates.csv, averaged.", low=1)
    batch_size: int = setting(50, "Chunks B per update.", low=1)
    chunk_length: int = setting(50, "Steps L of a chunk.", low=2)
    clipped_starts: bool = setting(True, "Draw an episode's last rows as often as its middle ones.")
    learning_rate: float = setting(1e-3, "Adam's step size.", low=0.0)
    adam_epsilon: float = setting(1e-4, "Adam's epsilon.", low=0.0)
    gradient_clip: float = setting(1000.0, "Largest norm of the gradient.", low=0.0)
    capacity_steps: int = setting(
        200_000, "Observations held in memory; as many as the replay keeps.", low=1
    )
    device: str = setting("cpu", "Where the model is trained: cpu, cuda or cuda:<n>.")
    threads: int = setting(1, "CPU threads of the training.", low=1)
    precision: str = setting(
        "auto",
        "Of the convolutions: bfloat16, float32, or auto (whichever is faster).",
        choices=("auto", "bfloat16", "float32"),
    )
    seed: int = setting(0, "Seed of the first weights, the noise and the batches.", low=0)
