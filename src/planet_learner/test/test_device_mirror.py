from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from planet_learner.device_mirror import DeviceMirror
from planet_model.config import ModelConfig
from planet_model.episode import Episode
from planet_model.world_model import WorldModel
from planet_replay.mirror import Mirror


@pytest.mark.parametrize("clipped", [False, True])
def test_it_draws_what_the_mirror_draws_also_after_episodes_came_and_went(
    make_episode: Callable[..., Episode], clipped: bool
) -> None:
    mirror = Mirror(40, (64, 64, 3), 2, 4)
    held = DeviceMirror(mirror, torch.device("cpu"))
    lengths = (3, 9, 5, 12, 7, 6, 11)  # a ring of 40 rows forgets the first ones
    for number, steps in enumerate(lengths, 1):
        mirror.add(make_episode(f"e{number}", steps=steps, seed=number), number)
        expected = mirror.sample(8, 6, np.random.default_rng(number), clipped)
        found = held.sample(8, 6, np.random.default_rng(number), clipped)
        for name in found._fields:
            np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name))


def test_a_mirror_that_was_cleared_is_copied_anew(make_episode: Callable[..., Episode]) -> None:
    mirror = Mirror(40, (64, 64, 3), 2, 4)
    held = DeviceMirror(mirror, torch.device("cpu"))
    for seed in (1, 2):  # the same sequence, place and length
        mirror.clear()
        mirror.add(make_episode("e", steps=9, seed=seed), 1)
        expected = mirror.sample(2, 6, np.random.default_rng(0), False)
        found = held.sample(2, 6, np.random.default_rng(0), False)
        np.testing.assert_array_equal(found.images.numpy(), expected.images)


def test_inference_compiles_as_one_graph_and_gives_the_same_beliefs() -> None:
    torch.manual_seed(0)
    model = WorldModel(
        ModelConfig(
            cameras=("front",),
            action_size=2,
            deterministic_size=8,
            stochastic_size=4,
            hidden_size=8,
            embedding_size=16,
            conv_depth=2,
        )
    )
    images = torch.randint(0, 256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    action, noise = torch.rand(2, 3, 2), torch.randn(2, 3, 4)
    observation = model.preprocess(images)
    compiled = torch.compile(model.infer, fullgraph=True, backend="aot_eager")
    found, expected = (f(action, observation, noise) for f in (compiled, model.infer))
    torch.testing.assert_close(found.belief.features, expected.belief.features)
    found.belief.features.sum().backward()
    assert all(p.grad is not None for p in model.encoders.parameters())
