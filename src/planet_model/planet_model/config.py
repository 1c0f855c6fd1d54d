"""One frozen dataclass per part, with the paper's names and (as defaults) its Appendix A values.

Every field's metadata holds ``doc`` and, where they apply, ``low``, ``high`` and ``choices``; they
are checked when a configuration is built, and nodes turn them into parameter descriptors. All
configurations go to JSON and back unchanged.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from planet_model.kernels import KERNELS

C = TypeVar("C", bound="Config")


@dataclass(frozen=True)
class Config:
    """Checks its fields against their types and metadata; raises ValueError, one sentence."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value = _typed(getattr(self, f.name), hints[f.name])
            where = f"{type(self).__name__}.{f.name}"
            if value is None:
                raise ValueError(f"{where} is {getattr(self, f.name)!r}, expected {f.type}")
            object.__setattr__(self, f.name, value)
            if isinstance(value, (int, float)):
                if not math.isfinite(value):
                    raise ValueError(f"{where} is {value}, expected a finite number")
                if "low" in f.metadata and value < f.metadata["low"]:
                    raise ValueError(f"{where} is {value}, expected at least {f.metadata['low']}")
                if "high" in f.metadata and value > f.metadata["high"]:
                    raise ValueError(f"{where} is {value}, expected at most {f.metadata['high']}")
            if "choices" in f.metadata and value not in f.metadata["choices"]:
                choices = ", ".join(map(str, f.metadata["choices"]))
                raise ValueError(f"{where} is {value!r}, expected one of {choices}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types (tuples as lists)."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def to_json(self) -> str:
        """The fields as canonical JSON (sorted keys, no spaces)."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration with exactly these fields; ValueError when one is odd or missing."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__}: {values!r} is no object of fields")  # noqa: TRY004
        names = {f.name for f in dataclasses.fields(cls)}
        odd = sorted(names ^ set(values))
        if odd:
            kind = "lacks" if odd[0] in names else "does not know"
            raise ValueError(f"{cls.__name__} {kind} '{odd[0]}'")
        return cls(**values)

    @classmethod
    def from_json(cls: type[C], text: str) -> C:
        """The configuration that :meth:`to_json` wrote; ValueError when `text` is not one."""
        return cls.from_dict(json.loads(text))


def _typed(value: Any, kind: Any) -> Any:
    """`value` as `kind` (an int passes as float, a list as tuple), or None when it is not one."""
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            return None
        items = tuple(_typed(v, get_args(kind)[0]) for v in value)
        return None if None in items else items
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None


@dataclass(frozen=True)
class NetworkConfig(Config):
    """Sizes of the world model that do not depend on the robot."""

    deterministic_size: int = field(
        default=200, metadata={"doc": "Size of the deterministic state h (the GRU).", "low": 1}
    )
    stochastic_size: int = field(
        default=30, metadata={"doc": "Size of the stochastic state s.", "low": 1}
    )
    hidden_size: int = field(
        default=200, metadata={"doc": "Width of the fully connected layers.", "low": 1}
    )
    embedding_size: int = field(
        default=1024,
        metadata={
            "doc": "Size of one camera's embedding; 32 conv_depth needs no further layer.",
            "low": 1,
        },
    )
    conv_depth: int = field(
        default=32, metadata={"doc": "Channels of the encoder's first layer.", "low": 1}
    )
    min_std: float = field(
        default=0.1, metadata={"doc": "Added to the standard deviation of every state.", "low": 0.0}
    )
    bit_depth: int = field(
        default=5, metadata={"doc": "Bits of a colour that the model sees.", "low": 1, "high": 8}
    )
    termination_head: bool = field(
        default=False, metadata={"doc": "Whether the end of an episode is predicted."}
    )
    transition: str = field(
        default="rssm",
        metadata={
            "doc": "rssm, or its ablations: ssm (purely stochastic), rnn (purely deterministic).",
            "choices": ("rssm", "ssm", "rnn"),
        },
    )
    observation: str = field(
        default="images",
        metadata={
            "doc": "What is observed: the cameras, the joints' positions and velocities, or both.",
            "choices": ("images", "state", "images_and_state"),
        },
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

    free_nats: float = field(
        default=3.0, metadata={"doc": "Nats of KL per step that cost nothing.", "low": 0.0}
    )
    reward_scale: float = field(
        default=1.0,
        metadata={"doc": "Factor of the reward before it is learnt; the planner's unit."},
    )
    reward_weight: float = field(
        default=1.0, metadata={"doc": "Weight of the reward's loss.", "low": 0.0}
    )
    termination_weight: float = field(
        default=1.0, metadata={"doc": "Weight of the termination's loss.", "low": 0.0}
    )
    image_weight: float = field(
        default=1.0, metadata={"doc": "Weight of the images' loss.", "low": 0.0}
    )
    state_weight: float = field(
        default=1.0, metadata={"doc": "Weight of the observed state's loss.", "low": 0.0}
    )
    overshooting_distance: int = field(
        default=1,
        metadata={"doc": "D: latent overshooting up to this many steps; 1 = none.", "low": 1},
    )
    overshooting_weights: tuple[float, ...] = field(
        default=(1.0,),
        metadata={
            "doc": "beta_1, beta_2, ...: weights of the KL at distances 1, 2, ...; the last one"
            " holds for all further distances.",
        },
    )
    global_prior_weight: float = field(
        default=0.0,
        metadata={"doc": "Weight of the KL to a standard normal prior.", "low": 0.0},
    )
    outcome_overshooting: bool = field(
        default=False,
        metadata={"doc": "Learn reward and termination from imagined beliefs too (open loop)."},
    )
    decoded_fraction: float = field(
        default=1.0,
        metadata={
            "doc": "Random share of the valid frames that is decoded in an update.",
            "low": 0.0,
            "high": 1.0,
        },
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
class PlannerConfig(Config):
    """The planner."""

    planner: str = field(
        default="cem",
        metadata={
            "doc": "cem (cross-entropy method), random_shooting (the best of J candidates) or"
            " random (uniform actions).",
            "choices": ("cem", "random_shooting", "random"),
        },
    )
    horizon: int = field(default=12, metadata={"doc": "Horizon H, in decisions.", "low": 1})
    iterations: int = field(default=10, metadata={"doc": "Iterations I of a search.", "low": 1})
    candidates: int = field(default=1000, metadata={"doc": "Candidates J per iteration.", "low": 1})
    elites: int = field(
        default=100, metadata={"doc": "Best candidates K that are fitted.", "low": 1}
    )
    warm_start: bool = field(
        default=False,
        metadata={"doc": "Start from the last plan's mean, shifted by one, instead of zero."},
    )
    kept_elites: int = field(
        default=0,
        metadata={
            "doc": "Best candidates of the last plan, shifted by one, that join the first ones.",
            "low": 0,
        },
    )
    deadline: float = field(
        default=0.45,
        metadata={
            "doc": "In real time, the share of a decision's time after which a plan is ready.",
            "low": 0.05,
            "high": 0.9,
        },
    )
    kernel: str = field(
        default="auto",
        metadata={
            "doc": "What imagines on a CPU: auto (the fastest kernel that agrees with the model),"
            " model (PyTorch in float32), or a kernel by name.",
            "choices": ("auto", "model", *(kernel.name for kernel in KERNELS)),
        },
    )
    termination_bonus: float = field(
        default=0.0,
        metadata={
            "doc": "Worth of the terminating step, in scaled reward (needs the termination head)."
        },
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
