from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planet_core.method import MethodError, State
from planet_core.testing import make_episode
from planet_learner.mirror import Mirror
from planet_model import convolution_kernel, trainer
from planet_model.config import ModelConfig, ObjectiveConfig, TrainingConfig
from planet_model.trainer import PlanetTrainer

MODEL = ModelConfig(
    cameras=("camera_0",),
    action_size=2,
    deterministic_size=8,
    stochastic_size=4,
    hidden_size=8,
    embedding_size=16,
    conv_depth=2,
)


@pytest.mark.parametrize(
    ("flags", "precision", "depth", "expected"),
    [
        ({"avx512_bf16"}, "auto", 32, torch.bfloat16),
        ({"avx512_bf16"}, "auto", 4, torch.bfloat16),
        ({"avx2"}, "auto", 32, torch.float32),
        ({"avx2"}, "bfloat16", 32, torch.bfloat16),
        ({"avx512_bf16"}, "float32", 32, torch.float32),
    ],
)
def test_bfloat16_is_used_where_the_cpu_is_fast_at_it_or_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    flags: set[str],
    precision: str,
    depth: int,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(trainer, "cpu_features", lambda: flags)
    assert trainer.image_dtype(precision, torch.device("cpu"), depth) == expected


@pytest.mark.parametrize(
    ("compiled", "expected"), [(object(), torch.float32), (None, torch.bfloat16)]
)
def test_few_channels_stay_in_float32_where_there_is_a_kernel_for_them(
    monkeypatch: pytest.MonkeyPatch, compiled: object | None, expected: torch.dtype
) -> None:
    monkeypatch.setattr(trainer, "cpu_features", lambda: {"avx512_bf16"})
    monkeypatch.setattr(convolution_kernel, "library", lambda: compiled)
    assert trainer.image_dtype("auto", torch.device("cpu"), 8) == expected


def test_overshooting_beyond_the_chunk_is_refused() -> None:
    config = TrainingConfig(chunk_length=5)
    PlanetTrainer(MODEL, ObjectiveConfig(overshooting_distance=5), config)
    with pytest.raises(
        MethodError, match=r"overshooting_distance is 6, expected at most chunk_length = 5"
    ):
        PlanetTrainer(MODEL, ObjectiveConfig(overshooting_distance=6), config)


def test_a_run_goes_on_from_another_device_s_noise_reproducibly() -> None:
    mirror = Mirror(100, (64, 64, 3), 2, 0)
    mirror.add(make_episode("e", steps=9, seed=0), 1)
    config = TrainingConfig(batch_size=4, chunk_length=5)
    before = PlanetTrainer(MODEL, ObjectiveConfig(), config)
    before.update(mirror)
    state = before.state()
    cuda = np.zeros(16, np.uint8)  # the size of a CUDA generator's
    state = State(state.tensors | {"noise": cuda}, state.values)
    losses = []
    for _ in range(2):
        after = PlanetTrainer(MODEL, ObjectiveConfig(), config)
        after.load_state(state)
        losses.append(after.update(mirror)["loss"])
    assert losses[0] == losses[1]
    noise = [made.state().tensors["noise"] for made in (after, before)]
    assert not np.array_equal(*noise)


def test_in_bfloat16_the_loss_falls_as_it_does_in_float32() -> None:
    mirror = Mirror(100, (64, 64, 3), 2, 0)
    for number in range(1, 4):
        episode = make_episode(f"e{number}", steps=9, seed=number)
        grey = np.full_like(episode.images, 250)  # which can be learnt, as noise cannot
        mirror.add(dataclasses.replace(episode, images=grey), number)

    def losses(precision: str) -> NDArray[np.float64]:
        """Means of ten updates each, which differ less than single ones while the loss falls."""
        config = TrainingConfig(
            batch_size=4, chunk_length=5, precision=precision, learning_rate=1e-2
        )
        learning = PlanetTrainer(MODEL, ObjectiveConfig(), config)
        made = [learning.update(mirror)["loss"] for _ in range(60)]
        return np.array(made).reshape(6, 10).mean(1)

    plain, fast = losses("float32"), losses("bfloat16")
    assert plain[-1] < 0.5 * plain[0]
    np.testing.assert_allclose(fast, plain, rtol=0.2)
