"""The latent dynamics: beliefs, and the three transition models that take them on (figure 2).

A step of time has two halves. :meth:`Dynamics.transition` goes from the belief at t-1 and a_{t-1}
to the *context* at t: all that is known of step t before looking. :meth:`Dynamics.observe` then
infers the belief with what is seen at t, :meth:`Dynamics.imagine` without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_model.config import ModelConfig
from planet_model.networks import mlp


class Belief(NamedTuple):
    """(h, s): deterministic [..., D] and stochastic [..., S] state.

    D is 0 in the purely stochastic model, S is 0 in the purely deterministic one.
    """

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
        """Return mean + std * noise with standard normal `noise` [..., S]; None gives the mean."""
        return self.mean if noise is None else self.mean + self.std * noise


class Dynamics(nn.Module, ABC):
    """What the transition models have in common. `noise` is standard normal, [n, S].

    `observed` is W_e e_t + b, [n, hidden], of the embedding e_t: the layer that looks at e_t comes
    first and knows nothing of the belief, so that it is computed for all steps at once.
    """

    posterior_e: nn.Linear

    @abstractmethod
    def transition(self, belief: Belief, action: Tensor) -> Tensor:
        """The context at t, [n, C], from the belief at t-1 and a_{t-1} [n, A]."""

    @abstractmethod
    def prior(self, context: Tensor) -> Gaussian:
        """p(s_t | s_<t, a_<t) given the context, for any leading dimensions."""

    @abstractmethod
    def observe(
        self, context: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """The belief at t after looking, and q(s_t), which its stochastic part is drawn from."""

    @abstractmethod
    def imagine(self, context: Tensor, noise: Tensor | None) -> tuple[Belief, Gaussian]:
        """The belief at t without looking, and p(s_t), which its stochastic part is drawn from."""

    def step(
        self, belief: Belief, action: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """The belief at t from that at t-1, a_{t-1} and what is observed at t; and q(s_t)."""
        return self.observe(self.transition(belief, action), observed, noise)

    def explaining(self, context: Tensor, belief: Belief) -> Belief:
        """The state that o_t and r_t are decoded from in training: the inferred one (eq. 3)."""
        return belief


class RSSM(Dynamics):
    """Recurrent state-space model (section 3, eq. 4, figure 2c). The context is h_t."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        deterministic, stochastic = config.deterministic_size, config.stochastic_size
        hidden = config.hidden_size
        self.min_std = config.min_std
        self.input = nn.Linear(stochastic + config.action_size, hidden)
        self.cell = nn.GRUCell(hidden, deterministic)
        self.prior_net = mlp(deterministic, hidden, 2 * stochastic, layers=1)
        # The posterior's first layer is W_h h + W_e e + b, in two parts.
        self.posterior_e = nn.Linear(config.embedded_size, hidden)
        self.posterior_h = nn.Linear(deterministic, hidden, bias=False)
        self.posterior_out = nn.Linear(hidden, 2 * stochastic)

    def transition(self, belief: Belief, action: Tensor) -> Tensor:
        """h_t = f(h_{t-1}, s_{t-1}, a_{t-1}), [n, D]."""
        x = F.relu(self.input(torch.cat([belief.stochastic, action], -1)))
        h: Tensor = self.cell(x, belief.deterministic)
        return h

    def prior(self, context: Tensor) -> Gaussian:
        """p(s_t | h_t)."""
        return _gaussian(self.prior_net(context), self.min_std)

    def posterior(self, h: Tensor, observed: Tensor) -> Gaussian:
        """q(s_t | h_t, e_t)."""
        x = F.relu(self.posterior_h(h) + observed)
        return _gaussian(self.posterior_out(x), self.min_std)

    def observe(
        self, context: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`."""
        posterior = self.posterior(context, observed)
        return Belief(context, posterior.sample(noise)), posterior

    def imagine(self, context: Tensor, noise: Tensor | None) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`."""
        prior = self.prior(context)
        return Belief(context, prior.sample(noise)), prior


class SSM(Dynamics):
    """Purely stochastic state-space model (section 3, figure 2b): no path but through s_t.

        prior      s_t ~ p(s_t | s_{t-1}, a_{t-1})
        posterior  s_t ~ q(s_t | s_{t-1}, a_{t-1}, e_t)

    Both have one hidden layer; as in the authors' code the posterior sees s_{t-1} and a_{t-1} as
    the prior's mean and standard deviation, which are the context. The belief is (nothing, s_t).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stochastic, hidden = config.stochastic_size, config.hidden_size
        self.min_std = config.min_std
        self.prior_net = mlp(stochastic + config.action_size, hidden, 2 * stochastic, layers=1)
        self.posterior_e = nn.Linear(config.embedded_size, hidden)
        self.posterior_h = nn.Linear(2 * stochastic, hidden, bias=False)
        self.posterior_out = nn.Linear(hidden, 2 * stochastic)

    def transition(self, belief: Belief, action: Tensor) -> Tensor:
        """Mean and standard deviation of the prior, [n, 2 S]."""
        x = self.prior_net(torch.cat([belief.stochastic, action], -1))
        return torch.cat(_gaussian(x, self.min_std), -1)

    def prior(self, context: Tensor) -> Gaussian:
        """p(s_t | s_{t-1}, a_{t-1})."""
        return Gaussian(*context.chunk(2, -1))

    def observe(
        self, context: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`."""
        x = self.posterior_out(F.relu(self.posterior_h(context) + observed))
        posterior = _gaussian(x, self.min_std)
        return Belief(context[..., :0], posterior.sample(noise)), posterior

    def imagine(self, context: Tensor, noise: Tensor | None) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`."""
        prior = self.prior(context)
        return Belief(context[..., :0], prior.sample(noise)), prior


class RNN(Dynamics):
    """Purely deterministic recurrent network (section 3, figure 2a).

        before looking   h'_t = f(h_{t-1}, a_{t-1})      the context
        after looking    h_t  = g(h'_t, e_t)             the belief (h_t, nothing)

    Both are GRUs of the RSSM's size. Nothing is random, so nothing has to be inferred: what eq. 3
    bounds is known exactly, sum_t ln p(o_t, r_t | o_<t, a_<t), by decoding h'_t. Decoding h_t
    instead would leave f without any gradient, for there is no KL to teach it. (The authors' DRNN
    is deterministic but for a Gaussian bottleneck between two GRUs, whose KL teaches the
    transition; figure 2a has none.)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        deterministic, hidden = config.deterministic_size, config.hidden_size
        self.input = nn.Linear(config.action_size, hidden)
        self.cell = nn.GRUCell(hidden, deterministic)
        self.posterior_e = nn.Linear(config.embedded_size, hidden)
        self.posterior_cell = nn.GRUCell(hidden, deterministic)

    def transition(self, belief: Belief, action: Tensor) -> Tensor:
        """h'_t = f(h_{t-1}, a_{t-1}), [n, D]."""
        h: Tensor = self.cell(F.relu(self.input(action)), belief.deterministic)
        return h

    def prior(self, context: Tensor) -> Gaussian:
        """Over nothing: its KL is zero."""
        return Gaussian(context[..., :0], context[..., :0])

    def observe(
        self, context: Tensor, observed: Tensor, noise: Tensor | None
    ) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`; there is nothing to draw."""
        h: Tensor = self.posterior_cell(F.relu(observed), context)
        return Belief(h, h[..., :0]), self.prior(context)

    def imagine(self, context: Tensor, noise: Tensor | None) -> tuple[Belief, Gaussian]:
        """See :class:`Dynamics`; there is nothing to draw."""
        return Belief(context, context[..., :0]), self.prior(context)

    def explaining(self, context: Tensor, belief: Belief) -> Belief:
        """h'_t: what was expected before o_t was seen."""
        return self.imagine(context, None)[0]


def make_dynamics(config: ModelConfig) -> Dynamics:
    """The transition model that ``config.transition`` names."""
    models: dict[str, type[RSSM | SSM | RNN]] = {"rssm": RSSM, "ssm": SSM, "rnn": RNN}
    return models[config.transition](config)


def _gaussian(x: Tensor, min_std: float) -> Gaussian:
    """The Gaussian of a network's output [..., 2 S]; no standard deviation is below `min_std`."""
    mean, std = x.chunk(2, -1)
    return Gaussian(mean, F.softplus(std) + min_std)
