"""The world model: encoders, recurrent state-space model, decoders and heads.

    deterministic state   h_t = f(h_{t-1}, s_{t-1}, a_{t-1})              (paper, eq. 4)
    stochastic state      s_t ~ p(s_t | h_t)                     prior
    inferred state        s_t ~ q(s_t | h_t, e_t)                posterior
    embedding             e_t = [enc_1(o_t^1), ..., enc_N(o_t^N)]   (Robo-PlaNet: late fusion)
    observation           o_t^i ~ N(dec_i(h_t, s_t), 1)      each camera's image and, optionally,
                                                             the joints' positions and velocities
    reward                r_t ~ N(reward(h_t, s_t), 1)
    termination           d_t ~ Bernoulli(sigmoid(termination(h_t, s_t)))  (optional)

These are the equations of the RSSM; its ablations, without h_t or without s_t, stand in
:mod:`planet_model.transition`. The belief is the pair (h_t, s_t). :meth:`WorldModel.filter` takes
it one step on while acting, :meth:`WorldModel.infer` all steps of a chunk while training; both are
the same two calls, :meth:`Dynamics.transition` and :meth:`Dynamics.observe`.
Time runs as written in :mod:`planet_core`: `action` at step t is a_{t-1}.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from planet_model.config import ModelConfig
from planet_model.networks import (
    Decoder,
    Encoder,
    Frames,
    NetworkInput,
    initialise,
    mlp,
    preprocess,
    scale_state,
    to_pixels,
)
from planet_model.transition import Belief, Gaussian, make_dynamics


class Trajectory(NamedTuple):
    """What :meth:`WorldModel.infer` finds for a chunk; every tensor starts with [B, L]."""

    belief: Belief
    posterior: Gaussian
    prior: Gaussian
    explaining: Belief
    """The state that o_t and r_t are decoded from; see :meth:`Dynamics.explaining`."""


class WorldModel(nn.Module):
    """The whole model. Without decoders (`with_decoder` false) it can act but not be trained."""

    def __init__(self, config: ModelConfig, with_decoder: bool = True) -> None:
        super().__init__()
        self.config = config
        features, hidden = sum(config.belief_sizes), config.hidden_size
        self.encoders = nn.ModuleList(
            Encoder(config.conv_depth, config.embedding_size) for _ in config.observed_cameras
        )
        self.state_encoder = (
            mlp(config.state_size, hidden, hidden, layers=1) if config.state_size else None
        )
        self.rssm = make_dynamics(config)
        self.reward_head = mlp(features, hidden, 1, layers=2)
        self.termination_head = (
            mlp(features, hidden, 1, layers=2) if config.termination_head else None
        )
        self.decoders = (
            nn.ModuleList(Decoder(features, config.conv_depth) for _ in config.observed_cameras)
            if with_decoder
            else None
        )
        self.state_decoder = (
            mlp(features, hidden, config.state_size, layers=2)
            if with_decoder and config.state_size
            else None
        )
        initialise(self)
        self.image_dtype = torch.float32
        """What the convolutions are computed in: float32 or bfloat16. Weights stay float32."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def preprocess(
        self,
        images: Tensor | Frames,
        generator: torch.Generator | None = None,
        state: Tensor | None = None,
    ) -> NetworkInput:
        """What the model sees of images, uint8 [..., 64, 64 N, 3], and state, [..., 2 J].

        The state is positions (rad) | velocities (rad/s); a model that does not observe it leaves
        it out. See :func:`preprocess` for the noise that `generator` draws. Raises ValueError when
        the model observes a state of another size than `state`'s.
        """
        config = self.config
        if config.state_size == 0:
            state = torch.zeros(*images.shape[:-3], 0, device=images.device)
        elif state is None or state.shape[-1] != config.state_size:
            found = 0 if state is None else state.shape[-1]
            raise ValueError(
                f"world model: a state of {found} values, expected {config.state_size} (positions"
                " and velocities)"
            )
        else:
            state = scale_state(state)
        if not config.observed_cameras:
            return NetworkInput((), state)
        cameras = preprocess(images, config.bit_depth, generator, self.image_dtype)
        return NetworkInput(cameras, state)

    def encode(self, observation: NetworkInput) -> Tensor:
        """e_t, [..., embedded size]: the cameras' embeddings and the state's (late fusion)."""
        lead = observation.state.shape[:-1]
        parts = [
            encoder(image.flatten(0, len(lead) - 1)).view(*lead, -1)
            for encoder, image in zip(self.encoders, observation.cameras, strict=True)
        ]
        if self.state_encoder is not None:
            parts.append(self.state_encoder(observation.state))
        return torch.cat(parts, -1)

    def initial_belief(self, batch: int) -> Belief:
        """The belief before the first observation: zero, [batch, ...]."""
        deterministic, stochastic = (
            torch.zeros(batch, size, device=self.device) for size in self.config.belief_sizes
        )
        return Belief(deterministic, stochastic)

    def filter(
        self,
        belief: Belief,
        previous_action: Tensor,
        observation: NetworkInput,
        noise: Tensor | None,
    ) -> Belief:
        """One step while acting: (h_t, s_t) from (h_{t-1}, s_{t-1}), a_{t-1} and o_t.

        previous_action [n, A], observation [n, ...], noise [n, S].
        """
        observed = self.rssm.posterior_e(self.encode(observation))
        return self.rssm.step(belief, previous_action, observed, noise)[0]

    def infer(self, action: Tensor, observation: NetworkInput, noise: Tensor | None) -> Trajectory:
        """All steps of a chunk while training, from the zero belief.

        action [B, L, A] (a_{t-1} at t), observation [B, L, ...], noise [B, L, S].
        """
        observed = self.rssm.posterior_e(self.encode(observation))
        belief = self.initial_belief(len(action))
        steps = []
        for t in range(action.shape[1]):
            context = self.rssm.transition(belief, action[:, t])
            belief, posterior = self.rssm.observe(
                context, observed[:, t], None if noise is None else noise[:, t]
            )
            steps.append((context, *belief, *posterior))
        context, h, s, mean, std = (torch.stack(x, 1) for x in zip(*steps, strict=True))
        belief = Belief(h, s)
        return Trajectory(
            belief,
            Gaussian(mean, std),
            self.rssm.prior(context),
            self.rssm.explaining(context, belief),
        )

    def imagine(self, belief: Belief, action: Tensor, noise: Tensor | None) -> Belief:
        """The H beliefs that follow `belief` [n, ...] under actions [n, H, A], without looking.

        Result [n, H, ...]; noise [n, H, S], None for the prior's means.
        """
        steps = []
        for t in range(action.shape[1]):
            context = self.rssm.transition(belief, action[:, t])
            belief, _ = self.rssm.imagine(context, None if noise is None else noise[:, t])
            steps.append(belief)
        return Belief(*(torch.stack(x, 1) for x in zip(*steps, strict=True)))

    def reward(self, features: Tensor) -> Tensor:
        """Mean of r_t in scaled units, [...] from [..., D + S]."""
        reward: Tensor = self.reward_head(features).squeeze(-1)
        return reward

    def termination_logit(self, features: Tensor) -> Tensor | None:
        """Logit of the probability that step t ends the episode, [...]; None without the head."""
        if self.termination_head is None:
            return None
        logit: Tensor = self.termination_head(features).squeeze(-1)
        return logit

    def decode(self, features: Tensor) -> NetworkInput | None:
        """Mean of the observation, [n, ...] from [n, D + S]; None without decoders."""
        if self.decoders is None:
            return None
        cameras = tuple(decoder(features) for decoder in self.decoders)
        seen = self.state_decoder
        return NetworkInput(cameras, features[:, :0] if seen is None else seen(features))

    def pictures(self, features: Tensor) -> Tensor | None:
        """The mean images to be looked at: uint8 [n, 64, 64 N, 3] from [n, D + S].

        None without decoders, and for a model that sees no cameras.
        """
        observation = self.decode(features)
        if observation is None or not observation.cameras:
            return None
        return to_pixels(observation.cameras)

    @torch.inference_mode()
    def open_loop(
        self,
        images: Tensor,
        action: Tensor,
        context: int = 5,
        generator: torch.Generator | None = None,
        state: Tensor | None = None,
    ) -> Tensor | None:
        """Pictures of T steps of which only the first `context` were seen (paper, figure 10).

        images uint8 [n, T, 64, 64 N, 3], action [n, T, A] (a_{t-1} at t), state [n, T, 2 J] if it
        is observed; of images and state no more than the context is looked at. Result uint8
        [n, T, 64, 64 N, 3]: the context as the model explains it, then what it imagines, both at
        the mean states. `generator` draws the dequantisation noise. None without decoders, and for
        a model that sees no cameras; ValueError when no step is left to predict.
        """
        length = action.shape[1]
        if not 0 < context < length:
            raise ValueError(f"open loop: context is {context}, expected 1 to {length - 1}")
        joints = None if state is None else state[:, :context]
        observation = self.preprocess(images[:, :context], generator, joints)
        path = self.infer(action[:, :context], observation, None)
        last = Belief(*(x[:, -1] for x in path.belief))
        imagined = self.imagine(last, action[:, context:], None)
        features = torch.cat([path.explaining.features, imagined.features], 1)
        pictures = self.pictures(features.flatten(0, 1))
        return None if pictures is None else pictures.view(len(action), length, *pictures.shape[1:])
