"""Gradient updates of the world model: a batch, the objective, Adam.

Everything random comes from two generators of the trainer's own, and everything that the next
update depends on is in :meth:`PlanetTrainer.state`: n updates, a checkpoint and n updates more are
2 n updates, bit for bit (on a CPU with one thread).
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from planet_core.experience import Experience
from planet_core.method import Inputs, MethodError, State, config_json
from planet_core.weights import Weights
from planet_model import convolution, convolution_kernel
from planet_model.batches import Batches
from planet_model.compiled import cpu_features
from planet_model.config import ModelConfig, ObjectiveConfig, TrainingConfig
from planet_model.held_out import held_out
from planet_model.objective import Batch, objective
from planet_model.weights import architecture_hash, to_bytes
from planet_model.world_model import WorldModel


class PlanetTrainer:
    """The world model in training (:class:`planet_core.method.Trainer`).

    Args:
        seed: of the first weights, the noise and the batches.

    Raises:
        MethodError: the device is not there, or latent overshooting reaches beyond a chunk.
    """

    def __init__(
        self,
        model: ModelConfig,
        objective_config: ObjectiveConfig,
        config: TrainingConfig,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.model_config = model
        self.objective_config = objective_config
        self._config = config
        check_overshooting(objective_config, config)
        self._device = find_device(device)
        self._seed = seed
        with torch.random.fork_rng(devices=[]):  # the weights do not depend on who drew before
            torch.manual_seed(seed)
            self._model = WorldModel(model).to(self._device)
        self._model.image_dtype = image_dtype(config.precision, self._device, model.conv_depth)
        self._parameters = dict(self._model.named_parameters())
        self._optimiser = torch.optim.Adam(
            self._parameters.values(),
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            fused=True,
        )
        self._noise = torch.Generator(self._device).manual_seed(seed)
        self._draws = np.random.default_rng(seed)
        self._batches: Batches | None = None
        if self._device.type == "cuda" and find_spec("triton") is not None:
            # Hundreds of small operations in time: launching them costs more than what they do.
            infer = torch.compile(self._model.infer, fullgraph=True, mode="reduce-overhead")
            self._model.infer = infer  # type: ignore[method-assign]

    @property
    def inputs(self) -> Inputs:
        """The cameras, the actions, and the joints' state where it is observed."""
        model = self.model_config
        return Inputs(model.cameras, model.action_size, model.state_size)

    @property
    def configuration(self) -> dict[str, dict[str, Any]]:
        """The configurations of model and objective."""
        return {
            "model": self.model_config.to_dict(),
            "objective": self.objective_config.to_dict(),
        }

    @property
    def title(self) -> str:
        """What computes: precision, instruction set or device, threads."""
        dtype = self._model.image_dtype
        images = torch.empty(0, dtype=dtype, device=self._device)
        ours = convolution.usable(images, self.model_config.conv_depth)
        by = convolution_kernel.title() if ours else f"PyTorch on {self._device}"
        threads = torch.get_num_threads()
        words = f"{str(dtype).removeprefix('torch.')} {by}, {threads} thread"
        return words if threads == 1 else f"{words}s"

    def update(self, experience: Experience) -> dict[str, float]:
        """Make one update on a batch of chunks, and return losses before their weights.

        `kl` is before free nats, `gradient_norm` before clipping. A loss or a gradient that is not
        finite changes no weight.
        """
        config = self._config
        batch = self._draw(experience)
        self._optimiser.zero_grad()
        losses = objective(self._model, batch, self.objective_config, self._noise)
        losses.loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), config.gradient_clip)
        # All numbers at once: reading one waits for the device.
        numbers = torch.stack([*losses, norm]).tolist()
        if all(map(math.isfinite, numbers)):
            self._optimiser.step()
        return dict(zip((*losses._fields, "gradient_norm"), numbers, strict=True))

    def held_out(self, experience: Experience) -> dict[str, float]:
        """See :func:`held_out`; the noise is always the same, and no later update notices."""
        generator = torch.Generator(self._device).manual_seed(self._seed)
        # To compile for other sizes than an update's would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            return held_out(self._model, self._of(experience), self.objective_config, generator)

    def _draw(self, experience: Experience) -> Batch:
        c = self._config
        batches = self._of(experience)
        return batches.draw(c.batch_size, c.chunk_length, self._draws, c.clipped_starts)

    def _of(self, experience: Experience) -> Batches:
        if self._batches is None or self._batches.experience is not experience:
            try:
                self._batches = Batches(experience, self._device, copied=self._device.type != "cpu")
            except torch.OutOfMemoryError as error:
                raise MethodError(
                    f"capacity_steps = {experience.capacity} observations do not fit into the"
                    f" memory of {self._device}: set it lower"
                ) from error
        return self._batches

    def weights(self, full: bool) -> Weights:
        """Return the weights as they are now, with the decoders if they are wanted in full."""
        return Weights(
            architecture_hash=architecture_hash(self.model_config),
            config_json=config_json("planet", self),
            data=to_bytes(self._model, full),
        )

    def state(self) -> State:
        """See :class:`planet_core.method.Trainer`."""
        tensors = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimiser.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors["noise"] = self._noise.get_state()
        # Copied, not only moved: the state must not change with the next update.
        return State(
            {
                name: tensor.detach().to("cpu", copy=True).numpy()
                for name, tensor in tensors.items()
            },
            {"draws": self._draws.bit_generator.state},
        )

    def load_state(self, state: State) -> None:
        """See :class:`planet_core.method.Trainer`; the state may be of another kind of device."""
        tensors = {name: torch.tensor(value) for name, value in state.tensors.items()}
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
            self._draws.bit_generator.state = state.values["draws"]
            if tensors["noise"].shape == self._noise.get_state().shape:
                self._noise.set_state(tensors["noise"])
            else:  # of another kind of device; reproducible all the same
                self._noise.manual_seed(int(self._draws.integers(2**63)))
        except (KeyError, ValueError, RuntimeError) as error:
            raise MethodError(f"the checkpoint does not fit the model: {error}") from error


def check_overshooting(objective_config: ObjectiveConfig, config: TrainingConfig) -> None:
    """Raise MethodError when no step of a chunk has a prior from so far back."""
    distance, length = objective_config.overshooting_distance, config.chunk_length
    if distance > length:
        raise MethodError(
            f"objective.overshooting_distance is {distance}, "
            f"expected at most chunk_length = {length}"
        )


def image_dtype(precision: str, device: torch.device, depth: int) -> torch.dtype:
    """Return what TrainingConfig.precision means for convolutions of this depth on this device."""
    if precision == "auto":
        few = depth < convolution.FEWER_THAN and depth % 8 == 0
        fast = "avx512_bf16" in cpu_features() and not (few and convolution_kernel.library())
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def find_device(name: str) -> torch.device:
    """Return the device of that name; MethodError when it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MethodError(f"device is '{name}', expected cpu, cuda or cuda:<n>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MethodError(
            f"device is '{name}', but PyTorch finds {torch.cuda.device_count()} CUDA devices here"
        )
    return device
