"""Losses on episodes that nothing was learnt from: the evaluation episodes of the experience.

They tell whether the model only remembers, which the losses of the updates cannot. The newest
`EPISODES` evaluation episodes are looked at, at most `STEPS` rows of each. They take no memory of
their own: the learner's mirror holds and evicts them by its one rule for all episodes.
"""

from __future__ import annotations

import dataclasses

import torch

from planet_model.batches import Batches
from planet_model.config import ObjectiveConfig
from planet_model.networks import Frames
from planet_model.objective import objective
from planet_model.world_model import WorldModel

EPISODES = 4
STEPS = 50
CONTEXT = 5
"""Rows that are seen before the open-loop prediction, as in figure 10 of the paper."""


@torch.inference_mode()
def held_out(
    model: WorldModel, batches: Batches, config: ObjectiveConfig, generator: torch.Generator
) -> dict[str, float]:
    """Return the model's errors on the newest evaluation episodes, by name.

    ``held_out_image_loss`` and ``held_out_reward_loss`` are those of the objective, before their
    weights, with all frames decoded. ``held_out_open_loop_error`` is the mean squared error of the
    pixels, which lie in [0, 1], from step `CONTEXT` on, predicted from the steps before and the
    actions (:meth:`WorldModel.open_loop`). It is left out for a model that sees no images, and when
    no episode is longer than the context. Without an evaluation episode there are no errors at all.

    Costs the forward pass of `EPISODES` x `STEPS` steps and as many imagined ones at most.
    `generator` draws all noise, on the model's device.
    """
    batch = batches.evaluation(EPISODES, STEPS)
    if len(batch.mask) == 0:
        return {}
    plain = dataclasses.replace(
        config, decoded_fraction=1.0, overshooting_distance=1, outcome_overshooting=False
    )
    losses = objective(model, batch, plain, generator)
    errors = {
        "held_out_image_loss": float(losses.image_loss),
        "held_out_reward_loss": float(losses.reward_loss),
    }
    assert isinstance(batch.images, Frames)
    images = batch.images.store[batch.images.rows]
    predicted = batch.mask[:, CONTEXT:]
    if not predicted.any():
        return errors
    pictures = model.open_loop(images, batch.action, CONTEXT, generator, batch.state)
    if pictures is not None:
        difference = (pictures.float() - images.float())[:, CONTEXT:][predicted] / 255
        errors["held_out_open_loop_error"] = float(difference.square().mean())
    return errors
