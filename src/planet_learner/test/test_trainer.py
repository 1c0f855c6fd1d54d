from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planet_learner.config import LearnerConfig
from planet_learner.trainer import Trainer, TrainerError
from planet_model.config import ModelConfig, ObjectiveConfig
from planet_model.episode import Episode
from planet_replay.mirror import Mirror

from planet_learner import trainer
from planet_model import convolution

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
    monkeypatch.setattr(convolution, "library", lambda: compiled)
    assert trainer.image_dtype("auto", torch.device("cpu"), 8) == expected


def test_overshooting_beyond_the_chunk_is_refused() -> None:
    config = LearnerConfig(chunk_length=5)
    Trainer(MODEL, ObjectiveConfig(overshooting_distance=5), config)
    with pytest.raises(
        TrainerError, match=r"overshooting_distance is 6, expected at most chunk_length = 5"
    ):
        Trainer(MODEL, ObjectiveConfig(overshooting_distance=6), config)


def test_a_run_goes_on_from_another_device_s_noise_reproducibly(
    make_episode: Callable[..., Episode],
) -> None:
    mirror = Mirror(100, (64, 64, 3), 2, 0)
    mirror.add(make_episode("e", steps=9), 1)
    config = LearnerConfig(batch_size=4, chunk_length=5)
    before = Trainer(MODEL, ObjectiveConfig(), config)
    before.update(mirror)
    tensors, values = before.state()
    tensors["noise"] = torch.zeros(16, dtype=torch.uint8)  # the size of a CUDA generator's
    losses = []
    for _ in range(2):
        after = Trainer(MODEL, ObjectiveConfig(), config)
        after.load_state(tensors, values)
        losses.append(after.update(mirror).loss)
    assert losses[0] == losses[1]
    assert not torch.equal(after.state()[0]["noise"], before.state()[0]["noise"])


def test_in_bfloat16_the_loss_falls_as_it_does_in_float32(
    make_episode: Callable[..., Episode],
) -> None:
    mirror = Mirror(100, (64, 64, 3), 2, 0)
    for number in range(1, 4):
        episode = make_episode(f"e{number}", steps=9, seed=number)
        grey = np.full_like(episode.images, 250)  # which can be learnt, as noise cannot
        mirror.add(dataclasses.replace(episode, images=grey), number)

    def losses(precision: str) -> NDArray[np.float64]:
        """Means of ten updates each, which differ less than single ones while the loss falls."""
        config = LearnerConfig(
            batch_size=4, chunk_length=5, precision=precision, learning_rate=1e-2
        )
        learning = Trainer(MODEL, ObjectiveConfig(), config)
        return np.array([learning.update(mirror).loss for _ in range(60)]).reshape(6, 10).mean(1)

    plain, fast = losses("float32"), losses("bfloat16")
    assert plain[-1] < 0.5 * plain[0]
    np.testing.assert_allclose(fast, plain, rtol=0.2)
