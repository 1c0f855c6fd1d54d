"""The world model: encoders, recurrent state-space model, decoders and heads.

    deterministic state   h_t = f(h_{t-1}, s_{t-1}, a_{t-1})              (paper, eq. 4)
    stochastic state      s_t ~ p(s_t | h_t)                     prior
    inferred state        s_t ~ q(s_t | h_t, e_t)                posterior
    embedding             e_t = [enc_1(o_t^1), ..., enc_N(o_t^N)]   (Robo-PlaNet: late fusion)
    observation           o_t^i ~ N(dec_i(h_t, s_t), 1)
    reward                r_t ~ N(reward(h_t, s_t), 1)
    termination           d_t ~ Bernoulli(sigmoid(termination(h_t, s_t)))  (optional)

The belief is the pair (h_t, s_t). :meth:`WorldModel.filter` takes it one step on while acting,
:meth:`WorldModel.infer` all steps of a chunk while training; both are the same :meth:`RSSM.step`.
Time runs as written in the package's docstring: `action` at step t is a_{t-1}.

Images have one layout throughout, height x width x colour ("channels last").
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_model.config import ModelConfig
from planet_model.episode import IMAGE_SIZE


class Belief(NamedTuple):
    """(h, s): deterministic [..., D] and stochastic [..., S] state."""

    deterministic: Tensor
    stochastic: Tensor

    @property
    def features(self) -> Tensor:
        """What decoders and heads see, [..., D + S]."""
        return torch.cat(self, -1)

    def repeat(self, n: int) -> Belief:
        """A belief of one row, [1, ...], as n rows."""
        return Belief(*(x.expand(n, -1) for x in self))


class Gaussian(NamedTuple):
    """A diagonal Gaussian; mean and standard deviation [..., S]."""

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor | None) -> Tensor:
        """mean + std * noise with standard normal `noise` [..., S]; None gives the mean."""
        return self.mean if noise is None else self.mean + self.std * noise


class Trajectory(NamedTuple):
    """What :meth:`WorldModel.infer` finds for a chunk; every tensor starts with [B, L]."""

    belief: Belief
    posterior: Gaussian
    prior: Gaussian


Observation = tuple[Tensor, ...]
"""o_t as the networks see it: for each camera float [..., 64, 64, 3] in [-0.5, 0.5)."""


def preprocess(images: Tensor, bit_depth: int, generator: torch.Generator | None) -> Observation:
    """uint8 [..., 64, 64 N, 3] to N cameras' float [..., 64, 64, 3] in [-0.5, 0.5).

    Colours are cut to `bit_depth` bits; uniform noise fills the width of a bit, so that the
    likelihood is that of a continuous variable (dequantisation). The noise has 256 levels: random
    bytes are several times cheaper to draw than random floats. Without generator: the global one.
    """

    def camera(image: Tensor) -> Tensor:
        count = image.numel()
        words = torch.empty((count + 7) // 8, dtype=torch.int64, device=image.device)
        noise = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:count]
        kept = (image.contiguous() >> (8 - bit_depth)).float()
        # (kept + (noise + 1/2) / 256) / 2^bits - 1/2, in place because it is memory-bound.
        level = 2.0 ** -(8 + bit_depth)
        return kept.mul_(256).add_(noise.view(image.shape)).mul_(level).add_(0.5 * level - 0.5)

    return tuple(camera(image) for image in torch.split(images, IMAGE_SIZE, -2))


def mlp(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    """Fully connected network with `layers` hidden ReLU layers."""
    sizes = (inputs, *[hidden] * layers)
    body = [m for pair in pairwise(sizes) for m in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*body, nn.Linear(sizes[-1], outputs))


class Encoder(nn.Module):
    """One camera's embedding; convolutions of Ha & Schmidhuber 2018 (64 -> 31 -> 14 -> 6 -> 2)."""

    def __init__(self, depth: int, embedding_size: int) -> None:
        super().__init__()
        channels = (3, depth, 2 * depth, 4 * depth, 8 * depth)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 4, stride=2) for i, o in pairwise(channels))
        size = 2 * 2 * channels[-1]
        self.output = nn.Identity() if size == embedding_size else nn.Linear(size, embedding_size)

    def forward(self, image: Tensor) -> Tensor:
        """float [n, 64, 64, 3] to [n, embedding_size]."""
        x = image.permute(0, 3, 1, 2)
        for conv in self.convs:
            x = F.relu(conv(x))
        embedding: Tensor = self.output(x.permute(0, 2, 3, 1).flatten(1))
        return embedding


class Decoder(nn.Module):
    """One camera's mean image; deconvolutions of Ha & Schmidhuber 2018 (1 -> 5 -> 13 -> 30 -> 64).

    The first one has a 1 x 1 input: a Linear. The last one (kernel 6, stride 2) is written as a
    3 x 3 convolution that gives the four pixels of each 2 x 2 block as 12 channels, which is the
    same function, several times cheaper.
    """

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.input = nn.Linear(features, 32 * depth)
        self.deconv1 = nn.Linear(32 * depth, 5 * 5 * 4 * depth)
        self.deconv2 = nn.ConvTranspose2d(4 * depth, 2 * depth, 5, stride=2)
        self.deconv3 = nn.ConvTranspose2d(2 * depth, depth, 6, stride=2)
        self.deconv4 = nn.Conv2d(depth, 2 * 2 * 3, 3, padding=2)

    def blocks(self, features: Tensor) -> Tensor:
        """[n, F] to the image as 2 x 2 blocks (see :func:`to_blocks`), float [n, 32, 32, 12]."""
        x = F.relu(self.deconv1(self.input(features)))
        x = x.view(-1, 5, 5, 4 * self.depth).permute(0, 3, 1, 2)
        x = F.relu(self.deconv2(x))
        x = F.relu(self.deconv3(x))
        blocks: Tensor = self.deconv4(x)
        return blocks.permute(0, 2, 3, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[n, F] to float [n, 64, 64, 3], nominally in [-0.5, 0.5]."""
        return from_blocks(self.blocks(features))


def to_blocks(image: Tensor) -> Tensor:
    """[n, 64, 64, 3] to [n, 32, 32, 12]: each 2 x 2 block of pixels as channels."""
    n, height, width, colours = image.shape
    x = image.reshape(n, height // 2, 2, width // 2, 2, colours).transpose(2, 3)
    return x.flatten(3)


def from_blocks(blocks: Tensor) -> Tensor:
    """The inverse of :func:`to_blocks`."""
    n, height, width, _ = blocks.shape
    x = blocks.reshape(n, height, width, 2, 2, 3).transpose(2, 3)
    return x.reshape(n, 2 * height, 2 * width, 3)


def initialise(model: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, as the paper's authors have; the GRU keeps its own.

    PyTorch's default shrinks the signal at every ReLU layer, which doubles the time until the
    embedding tells where things are.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class RSSM(nn.Module):
    """Recurrent state-space model (paper, section 3)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        deterministic, stochastic = config.deterministic_size, config.stochastic_size
        hidden = config.hidden_size
        self.min_std = config.min_std
        self.input = nn.Linear(stochastic + config.action_size, hidden)
        self.cell = nn.GRUCell(hidden, deterministic)
        self.prior_net = mlp(deterministic, hidden, 2 * stochastic, layers=1)
        # The posterior's first layer is W_h h + W_e e + b, in two parts, so that W_e e is
        # computed for all steps at once.
        self.posterior_e = nn.Linear(config.embedding_size * len(config.cameras), hidden)
        self.posterior_h = nn.Linear(deterministic, hidden, bias=False)
        self.posterior_out = nn.Linear(hidden, 2 * stochastic)

    def transition(self, belief: Belief, action: Tensor) -> Tensor:
        """h_t = f(h_{t-1}, s_{t-1}, a_{t-1}), [n, D]."""
        x = F.relu(self.input(torch.cat([belief.stochastic, action], -1)))
        h: Tensor = self.cell(x, belief.deterministic)
        return h

    def prior(self, h: Tensor) -> Gaussian:
        """p(s_t | h_t), for any leading dimensions."""
        return self._gaussian(self.prior_net(h))

    def posterior(self, h: Tensor, observed: Tensor) -> Gaussian:
        """q(s_t | h_t, e_t); `observed` is W_e e_t + b, [..., hidden]."""
        return self._gaussian(self.posterior_out(F.relu(self.posterior_h(h) + observed)))

    def step(
        self, belief: Belief, action: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """The belief at t from that at t-1, a_{t-1} and what is observed at t; and q(s_t)."""
        h = self.transition(belief, action)
        posterior = self.posterior(h, observed)
        return Belief(h, posterior.sample(noise)), posterior

    def _gaussian(self, x: Tensor) -> Gaussian:
        mean, std = x.chunk(2, -1)
        return Gaussian(mean, F.softplus(std) + self.min_std)


class WorldModel(nn.Module):
    """The whole model. Without decoders (`with_decoder` false) it can act but not be trained."""

    def __init__(self, config: ModelConfig, with_decoder: bool = True) -> None:
        super().__init__()
        self.config = config
        features = config.deterministic_size + config.stochastic_size
        self.encoders = nn.ModuleList(
            Encoder(config.conv_depth, config.embedding_size) for _ in config.cameras
        )
        self.rssm = RSSM(config)
        self.reward_head = mlp(features, config.hidden_size, 1, layers=2)
        self.termination_head = (
            mlp(features, config.hidden_size, 1, layers=2) if config.termination_head else None
        )
        self.decoders = (
            nn.ModuleList(Decoder(features, config.conv_depth) for _ in config.cameras)
            if with_decoder
            else None
        )
        initialise(self)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def preprocess(self, images: Tensor, generator: torch.Generator | None = None) -> Observation:
        """uint8 [..., 64, 64 N, 3] to N cameras' float [..., 64, 64, 3]; see :func:`preprocess`."""
        return preprocess(images, self.config.bit_depth, generator)

    def encode(self, observation: Observation) -> Tensor:
        """e_t: N cameras' [..., 64, 64, 3] to [..., N embedding_size] (late fusion)."""
        lead = observation[0].shape[:-3]
        embeddings = [
            encoder(image.flatten(0, -4))
            for encoder, image in zip(self.encoders, observation, strict=True)
        ]
        return torch.cat(embeddings, -1).reshape(*lead, -1)

    def initial_belief(self, batch: int) -> Belief:
        """The belief before the first observation: zero, [batch, ...]."""
        sizes = (self.config.deterministic_size, self.config.stochastic_size)
        return Belief(*(torch.zeros(batch, size, device=self.device) for size in sizes))

    def filter(
        self,
        belief: Belief,
        previous_action: Tensor,
        observation: Observation,
        noise: Tensor | None,
    ) -> Belief:
        """One step while acting: (h_t, s_t) from (h_{t-1}, s_{t-1}), a_{t-1} and o_t.

        previous_action [n, A], observation [n, 64, 64, 3] per camera, noise [n, S].
        """
        observed = self.rssm.posterior_e(self.encode(observation))
        return self.rssm.step(belief, previous_action, observed, noise)[0]

    def infer(self, action: Tensor, observation: Observation, noise: Tensor | None) -> Trajectory:
        """All steps of a chunk while training, from the zero belief.

        action [B, L, A] (a_{t-1} at t), observation [B, L, 64, 64, 3] per camera, noise [B, L, S].
        """
        observed = self.rssm.posterior_e(self.encode(observation))
        belief = self.initial_belief(len(action))
        steps = []
        for t in range(action.shape[1]):
            belief, posterior = self.rssm.step(
                belief, action[:, t], observed[:, t], None if noise is None else noise[:, t]
            )
            steps.append((*belief, *posterior))
        h, s, mean, std = (torch.stack(x, 1) for x in zip(*steps, strict=True))
        return Trajectory(Belief(h, s), Gaussian(mean, std), self.rssm.prior(h))

    def imagine(self, belief: Belief, action: Tensor, noise: Tensor | None) -> Belief:
        """The H beliefs that follow `belief` [n, ...] under actions [n, H, A], without looking.

        Result [n, H, ...]; noise [n, H, S], None for the prior's means.
        """
        steps = []
        for t in range(action.shape[1]):
            h = self.rssm.transition(belief, action[:, t])
            s = self.rssm.prior(h).sample(None if noise is None else noise[:, t])
            belief = Belief(h, s)
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

    def decode(self, features: Tensor) -> Observation | None:
        """Mean images, [n, D + S] to N cameras' [n, 64, 64, 3]; None without decoders."""
        if self.decoders is None:
            return None
        return tuple(decoder(features) for decoder in self.decoders)
