"""The configurations of the world model, its loss and its planner.

Names are the paper's, and the defaults are the values of its Appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planet_core.config import Config, setting
from planet_model.kernels import KERNELS


@dataclass(frozen=True)
class NetworkConfig(Config):
    """Sizes of the world model that do not depend on the robot."""

    deterministic_size: int = setting(200, "Size of the deterministic state h (the GRU).", low=1)
    stochastic_size: int = setting(30, "Size of the stochastic state s.", low=1)
    hidden_size: int = setting(200, "Width of the fully connected layers.", low=1)
    embedding_size: int = setting(
        1024, "Size of one camera's embedding; 32 conv_depth needs no further layer.", low=1
    )
    conv_depth: int = setting(32, "Channels of the encoder's first layer.", low=1)
    min_std: float = setting(0.1, "Added to the standard deviation of every state.", low=0.0)
    bit_depth: int = setting(5, "Bits of a colour that the model sees.", low=1, high=8)
    termination_head: bool = setting(False, "Whether the end of an episode is predicted.")
    transition: str = setting(
        "rssm",
        "rssm, or its ablations: ssm (purely stochastic), rnn (purely deterministic).",
        choices=("rssm", "ssm", "rnn"),
    )
    observation: str = setting(
        "images",
        "What is observed: the cameras, the joints' positions and velocities, or both.",
        choices=("images", "state", "images_and_state"),
    )


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """The world model: its sizes, and the robot's cameras and actions. Keyword arguments only."""

    cameras: tuple[str, ...] = field(
        kw_only=True, metadata={"doc": "Cameras, in the order in which their images are joined."}
    )
    action_size: int = field(kw_only=True, metadata={"doc": "Number of actions A.", "low": 1})
    state_size: int = field(
        default=0,
        kw_only=True,
        metadata={"doc": "Positions and velocities that are observed; 0 = none.", "low": 0},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.state_size > 0) != (self.observation != "images"):
            raise ValueError(
                f"ModelConfig.state_size is {self.state_size} with observation"
                f" '{self.observation}', expected 0 if and only if it is 'images'"
            )
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(
                f"ModelConfig.cameras is {self.cameras}, expected one or more distinct names"
            )

    @classmethod
    def of(
        cls, network: NetworkConfig, cameras: tuple[str, ...], action_size: int, joints: int
    ) -> ModelConfig:
        """The model of these sizes for a robot with these cameras, actions and joints.

        Raises ValueError when the joints are to be observed and there are none.
        """
        if network.observation != "images" and joints == 0:
            raise ValueError(
                f"ModelConfig.observation is '{network.observation}', but the robot has no joints"
            )
        state_size = 0 if network.observation == "images" else 2 * joints
        return cls(
            **network.to_dict(), cameras=cameras, action_size=action_size, state_size=state_size
        )

    @property
    def observed_cameras(self) -> tuple[str, ...]:
        """The cameras that the model encodes and decodes: all or, observing the state, none."""
        return () if self.observation == "state" else self.cameras

    @property
    def embedded_size(self) -> int:
        """Size of the embedding e_t: one part per camera and, if it is observed, the state's."""
        state = self.hidden_size if self.state_size else 0
        return len(self.observed_cameras) * self.embedding_size + state

    @property
    def belief_sizes(self) -> tuple[int, int]:
        """Sizes (D, S) of the belief's deterministic and stochastic part."""
        return (
            0 if self.transition == "ssm" else self.deterministic_size,
            0 if self.transition == "rnn" else self.stochastic_size,
        )


@dataclass(frozen=True)
class ObjectiveConfig(Config):
    """The loss."""

    free_nats: float = setting(3.0, "Nats of KL per step that cost nothing.", low=0.0)
    reward_scale: float = setting(
        1.0, "Factor of the reward before it is learnt; the planner's unit."
    )
    reward_weight: float = setting(1.0, "Weight of the reward's loss.", low=0.0)
    termination_weight: float = setting(1.0, "Weight of the termination's loss.", low=0.0)
    image_weight: float = setting(1.0, "Weight of the images' loss.", low=0.0)
    state_weight: float = setting(1.0, "Weight of the observed state's loss.", low=0.0)
    overshooting_distance: int = setting(
        1, "D: latent overshooting up to this many steps; 1 = none.", low=1
    )
    overshooting_weights: tuple[float, ...] = setting(
        (1.0,),
        "beta_1, beta_2, ...: weights of the KL at distances 1, 2, ...; the last one"
        " holds for all further distances.",
    )
    global_prior_weight: float = setting(
        0.0, "Weight of the KL to a standard normal prior.", low=0.0
    )
    outcome_overshooting: bool = setting(
        False, "Learn reward and termination from imagined beliefs too (open loop)."
    )
    decoded_fraction: float = setting(
        1.0, "Random share of the valid frames that is decoded in an update.", low=0.0, high=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoded_fraction == 0.0:
            raise ValueError("ObjectiveConfig.decoded_fraction is 0, expected a share above 0")
        if not self.overshooting_weights or min(self.overshooting_weights) < 0:
            raise ValueError(
                f"ObjectiveConfig.overshooting_weights is {list(self.overshooting_weights)},"
                " expected one or more numbers of at least 0"
            )

    def overshooting_weight(self, distance: int) -> float:
        """beta_d of latent overshooting (eq. 7), d = 1, 2, ..."""
        return self.overshooting_weights[min(distance, len(self.overshooting_weights)) - 1]


@dataclass(frozen=True)
class TrainingConfig(Config):
    """The gradient updates."""

    batch_size: int = setting(50, "Chunks B per update.", low=1)
    chunk_length: int = setting(50, "Steps L of a chunk.", low=2)
    clipped_starts: bool = setting(
        True,
        "Whether every row is drawn equally often; an episode's ends may then clip a chunk.",
    )
    learning_rate: float = setting(1e-3, "Adam's step size.", low=0.0)
    adam_epsilon: float = setting(1e-4, "Adam's epsilon.", low=0.0)
    gradient_clip: float = setting(1000.0, "Largest norm of the gradient.", low=0.0)
    precision: str = setting(
        "auto",
        "Of the convolutions: bfloat16, float32, or auto (whichever is faster).",
        choices=("auto", "bfloat16", "float32"),
    )


@dataclass(frozen=True)
class ExplorationConfig(Config):
    """How training episodes differ from the plan."""

    exploration_noise: float = setting(
        0.3, "Standard deviation of the noise on planned actions.", low=0.0
    )


@dataclass(frozen=True)
class PlannerConfig(Config):
    """The planner."""

    planner: str = setting(
        "cem",
        "cem (cross-entropy method), random_shooting (the best of J candidates) or"
        " random (uniform actions).",
        choices=("cem", "random_shooting", "random"),
    )
    horizon: int = setting(12, "Horizon H, in decisions.", low=1)
    iterations: int = setting(10, "Iterations I of a search.", low=1)
    candidates: int = setting(1000, "Candidates J per iteration.", low=1)
    elites: int = setting(100, "Best candidates K that are fitted.", low=1)
    warm_start: bool = setting(
        False, "Start from the last plan's mean, shifted by one, instead of zero."
    )
    kept_elites: int = setting(
        0, "Best candidates of the last plan, shifted by one, that join the first ones.", low=0
    )
    deadline: float = setting(
        0.45,
        "In real time, the share of a decision's time after which a plan is ready.",
        low=0.05,
        high=0.9,
    )
    kernel: str = setting(
        "auto",
        "What imagines on a CPU: auto (the fastest kernel that agrees with the model),"
        " model (PyTorch in float32), or a kernel by name.",
        choices=("auto", "model", *(kernel.name for kernel in KERNELS)),
    )
    termination_bonus: float = setting(
        0.0, "Worth of the terminating step, in scaled reward (needs the termination head)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.candidates:
            raise ValueError(
                f"PlannerConfig.elites is {self.elites}, expected at most the"
                f" {self.candidates} candidates"
            )
        if self.kept_elites > self.elites:
            raise ValueError(
                f"PlannerConfig.kept_elites is {self.kept_elites}, expected at most the"
                f" {self.elites} elites"
            )
