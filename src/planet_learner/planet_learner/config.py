"""What the learner can be told, besides the model and the objective."""

from __future__ import annotations

from dataclasses import dataclass, field

from planet_model.config import Config


@dataclass(frozen=True)
class LearnerConfig(Config):
    """The learner's parameters; the defaults are those of PlaNet's Appendix A where it has any."""

    data_dir: str = field(
        default="~/.local/share/robo_planet/sim",
        metadata={"doc": "Directory under which checkpoints/ and metrics/ are kept."},
    )
    mode: str = field(
        default="async",
        metadata={
            "doc": "async trains without pause; sync trains collect_interval updates per episode.",
            "choices": ("async", "sync"),
        },
    )
    seed_episodes: int = field(
        default=5,
        metadata={
            "doc": "Training episodes S before the weights are first published.",
            "low": 1,
        },
    )
    pretrain_updates: int = field(
        default=100, metadata={"doc": "Updates before the weights are first published.", "low": 1}
    )
    collect_interval: int = field(
        default=100, metadata={"doc": "Updates C per further episode, in sync mode.", "low": 1}
    )
    publish_seconds: float = field(
        default=10.0,
        metadata={"doc": "Publish the weights after this time (s), in async mode.", "low": 0.0},
    )
    publish_updates: int = field(
        default=100,
        metadata={"doc": "Publish the weights after this many updates, in async mode.", "low": 1},
    )
    publish_decoder: bool = field(
        default=True,
        metadata={"doc": "Publish the decoders too, which only the prediction image needs."},
    )
    checkpoint_seconds: float = field(
        default=60.0, metadata={"doc": "Time between checkpoints (s).", "low": 0.0}
    )
    metrics_updates: int = field(
        default=10, metadata={"doc": "Updates per row of updates.csv, averaged.", "low": 1}
    )
    batch_size: int = field(default=50, metadata={"doc": "Chunks B per update.", "low": 1})
    chunk_length: int = field(default=50, metadata={"doc": "Steps L of a chunk.", "low": 2})
    clipped_starts: bool = field(
        default=True,
        metadata={"doc": "Draw every row equally often: an episode's ends may clip a chunk."},
    )
    learning_rate: float = field(default=1e-3, metadata={"doc": "Adam's step size.", "low": 0.0})
    adam_epsilon: float = field(default=1e-4, metadata={"doc": "Adam's epsilon.", "low": 0.0})
    gradient_clip: float = field(
        default=1000.0, metadata={"doc": "Largest norm of the gradient.", "low": 0.0}
    )
    capacity_steps: int = field(
        default=200_000,
        metadata={"doc": "Observations held in memory; as many as the replay keeps.", "low": 1},
    )
    device: str = field(
        default="cpu", metadata={"doc": "Where the model is trained: cpu, cuda or cuda:<n>."}
    )
    threads: int = field(default=1, metadata={"doc": "CPU threads of the training.", "low": 1})
    precision: str = field(
        default="auto",
        metadata={
            "doc": "Of the convolutions: bfloat16, float32, or auto (whichever is faster).",
            "choices": ("auto", "bfloat16", "float32"),
        },
    )
    seed: int = field(
        default=0,
        metadata={"doc": "Seed of the first weights, the noise and the batches.", "low": 0},
    )
