"""Gradient updates of the world model: a batch, the objective, Adam.

Everything random comes from two generators of the trainer's own, and everything that the next
update depends on is in :meth:`Trainer.state`: n updates, a checkpoint and n updates more are 2 n
updates, bit for bit (on a CPU with one thread).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from planet_model.compiled import cpu_features
from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.objective import Batch, objective
from planet_model.weights import architecture_hash, to_bytes
from planet_model.world_model import WorldModel
from planet_replay.mirror import Mirror
from torch import Tensor

from planet_learner.batches import Batches
from planet_learner.config import LearnerConfig
from planet_learner.held_out import held_out
from planet_model import convolution


class TrainerError(ValueError):
    """The trainer cannot be made, or a state is not one of its own; one sentence says why."""


@dataclass(frozen=True)
class Update:
    """Plain numbers of one update; losses before their weights, kl before free nats."""

    loss: float
    image_loss: float
    state_loss: float
    reward_loss: float
    termination_loss: float
    kl: float
    gradient_norm: float
    """Before clipping."""

    @property
    def applied(self) -> bool:
        """Whether loss and gradient were finite; the weights are unchanged if not."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


@dataclass(frozen=True)
class Weights:
    """What the roller needs to act."""

    architecture_hash: str
    config_json: str
    """JSON object with the fields of ModelConfig (`model`) and ObjectiveConfig (`objective`)."""
    data: bytes
    """Safetensors."""


class Trainer:
    """The world model in training.

    Raises:
        TrainerError: the device is not there, or latent overshooting reaches beyond a chunk.
    """

    def __init__(
        self, model: ModelConfig, objective_config: ObjectiveConfig, config: LearnerConfig
    ) -> None:
        self.model_config = model
        self.objective_config = objective_config
        self._config = config
        check_overshooting(objective_config, config)
        self._device = find_device(config.device)
        with torch.random.fork_rng(devices=[]):  # the weights do not depend on who drew before
            torch.manual_seed(config.seed)
            self._model = WorldModel(model).to(self._device)
        self._model.image_dtype = image_dtype(config.precision, self._device, model.conv_depth)
        self._parameters = dict(self._model.named_parameters())
        self._optimiser = torch.optim.Adam(
            self._parameters.values(),
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            fused=True,
        )
        self._noise = torch.Generator(self._device).manual_seed(config.seed)
        self._draws = np.random.default_rng(config.seed)
        self._batches: Batches | None = None
        if self._device.type == "cuda" and find_spec("triton") is not None:
            # Hundreds of small operations in time: launching them costs more than what they do.
            infer = torch.compile(self._model.infer, fullgraph=True, mode="reduce-overhead")
            self._model.infer = infer  # type: ignore[method-assign]

    @property
    def title(self) -> str:
        """What computes: precision, instruction set or device, threads."""
        dtype = self._model.image_dtype
        images = torch.empty(0, dtype=dtype, device=self._device)
        ours = convolution.usable(images, self.model_config.conv_depth)
        by = convolution.title() if ours else f"PyTorch on {self._device}"
        threads = torch.get_num_threads()
        words = f"{str(dtype).removeprefix('torch.')} {by}, {threads} thread"
        return words if threads == 1 else f"{words}s"

    def update(self, mirror: Mirror) -> Update:
        """Make one update on a batch of chunks; a loss that is not finite changes no weight."""
        config = self._config
        batch = self._draw(mirror)
        self._optimiser.zero_grad()
        losses = objective(self._model, batch, self.objective_config, self._noise)
        losses.loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), config.gradient_clip)
        # All numbers at once: reading one waits for the device.
        update = Update(*torch.stack([*losses, norm]).tolist())
        if update.applied:
            self._optimiser.step()
        return update

    def held_out(self, mirror: Mirror) -> dict[str, float]:
        """See :func:`held_out`; the noise is always the same, and no later update notices."""
        generator = torch.Generator(self._device).manual_seed(self._config.seed)
        # To compile for other sizes than an update's would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            return held_out(self._model, self._of(mirror), self.objective_config, generator)

    def _draw(self, mirror: Mirror) -> Batch:
        c = self._config
        return self._of(mirror).draw(c.batch_size, c.chunk_length, self._draws, c.clipped_starts)

    def _of(self, mirror: Mirror) -> Batches:
        if self._batches is None or self._batches.mirror is not mirror:
            try:
                self._batches = Batches(mirror, self._device, copied=self._device.type != "cpu")
            except torch.OutOfMemoryError as error:
                raise TrainerError(
                    f"capacity_steps = {mirror.capacity} observations do not fit into the"
                    f" memory of {self._device}: set it lower"
                ) from error
        return self._batches

    def weights(self, with_decoder: bool) -> Weights:
        """Return the weights as they are now."""
        configs = {
            "model": self.model_config.to_dict(),
            "objective": self.objective_config.to_dict(),
        }
        return Weights(
            architecture_hash=architecture_hash(self.model_config),
            config_json=json.dumps(configs, sort_keys=True),
            data=to_bytes(self._model, with_decoder),
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the next update depends on, as CPU tensors and as JSON values."""
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimiser.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors["noise"] = self._noise.get_state()
        # Copied, not only moved: the state must not change with the next update.
        return (
            {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()},
            {"draws": self._draws.bit_generator.state},
        )

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` returned, on whatever device that was.

        Raises:
            TrainerError: it belongs to another model.
        """
        try:
            self._model.load_state_dict(
                {name: tensors[f"model.{name}"] for name in self._model.state_dict()}
            )
            trained = any(name.startswith("adam.") for name in tensors)
            optimiser = self._optimiser.state_dict()
            optimiser["state"] = {
                i: {key: tensors[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
                for i, name in enumerate(self._parameters)
                if trained
            }
            self._optimiser.load_state_dict(optimiser)
            self._draws.bit_generator.state = values["draws"]
            if tensors["noise"].shape == self._noise.get_state().shape:
                self._noise.set_state(tensors["noise"])
            else:  # of another kind of device; reproducible all the same
                self._noise.manual_seed(int(self._draws.integers(2**63)))
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainerError(f"the checkpoint does not fit the model: {error}") from error


def check_overshooting(objective_config: ObjectiveConfig, config: LearnerConfig) -> None:
    """Raise TrainerError when no step of a chunk has a prior from so far back."""
    distance, length = objective_config.overshooting_distance, config.chunk_length
    if distance > length:
        raise TrainerError(
            f"objective.overshooting_distance is {distance}, "
            f"expected at most chunk_length = {length}"
        )


def image_dtype(precision: str, device: torch.device, depth: int) -> torch.dtype:
    """Return what LearnerConfig.precision means for convolutions of this depth on this device."""
    if precision == "auto":
        few = depth < convolution.FEWER_THAN and depth % 8 == 0
        fast = "avx512_bf16" in cpu_features() and not (few and convolution.library())
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def find_device(name: str) -> torch.device:
    """Return the device of that name; TrainerError when it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainerError(f"device is '{name}', expected cpu, cuda or cuda:<n>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainerError(
            f"device is '{name}', but PyTorch finds {torch.cuda.device_count()} CUDA devices here"
        )
    return device
