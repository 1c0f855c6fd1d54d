"""rollout.c with one model's weights: the planner's candidates, followed by a kernel.

It computes what :meth:`WorldModel.imagine`, :meth:`WorldModel.reward` and
:meth:`WorldModel.termination_logit` compute for the candidates of a search, several times faster:
the large matrix products in int8 where the CPU is fast at them, all else in float32 or
bfloat16, a few candidates at a time through the whole horizon. That is enough to rank candidates:
the elites are almost the same (see test_rollout.py).
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_model.imagination import Outcomes
from planet_model.transition import RSSM, Belief
from planet_model.world_model import WorldModel

_WIDTH = 16  # what rollout.c's widths are multiples of


class Layout(NamedTuple):
    """How a kernel wants its weights; see `layout` in rollout.c."""

    lanes: int
    large: int
    """Inputs of a large product in 4 bytes: 1 of float32, 4 of int8."""
    small: int
    """Of a small one: 1 of float32, 2 of bfloat16."""
    four: int
    """What four int8 weights whose products are added up in 16 bits may sum to; 0 = no bound."""
    state_levels: int
    """What a state h in (-1, 1) is multiplied by,"""
    offset: int
    """and what is added to it."""

    @classmethod
    def of(cls, library: ctypes.CDLL) -> Layout:
        """The layout of a kernel."""
        numbers = [ctypes.c_int() for _ in cls._fields]
        library.layout(*map(ctypes.byref, numbers))
        return cls(*(number.value for number in numbers))


class _Product(ctypes.Structure):
    _fields_ = (
        ("groups", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int)
            for name in (
                "deterministic",
                "hidden",
                "stochastic",
                "action",
                "states",
                "stochastic_size",
                "action_size",
                "heads",
            )
        ),
        ("min_std", ctypes.c_float),
        ("input", _Product),
        ("gru", _Product),
        ("from_h", _Product),
        ("prior", _Product),
        ("head_s", _Product),
        ("head2", _Product * 2),
        ("head3", ctypes.c_void_p * 2),
        ("head3_bias", ctypes.c_float * 2),
    )


class Weights:
    """The weights of a model with the transition `rssm`, laid out for a kernel."""

    @torch.no_grad()
    def __init__(self, model: WorldModel, layout: Layout) -> None:
        rssm = model.rssm
        assert isinstance(rssm, RSSM)
        config = model.config
        self._layout = layout
        self.tensors: list[Tensor] = []
        """What the structure points to."""
        self.gates = (_filled(rssm.cell.weight_hh, 3), _filled(rssm.cell.bias_hh, 3))
        """Weight and bias of the GRU's gates of h, in float32."""
        heads = [h for h in (model.reward_head, model.termination_head) if h is not None]
        layers = [[m for m in head if isinstance(m, nn.Linear)] for head in heads]
        deterministic, stochastic = config.deterministic_size, config.stochastic_size

        first, out = (m for m in rssm.prior_net if isinstance(m, nn.Linear))
        state_weight = rssm.input.weight[:, :stochastic]
        input_weight = torch.cat(
            [_even(state_weight), _even(rssm.input.weight[:, stochastic:])], dim=1
        )
        from_h = [
            self.gates[0][:, :deterministic],
            *map(_filled, [first.weight, *(head[0].weight[:, :deterministic] for head in layers)]),
        ]
        from_h_bias = [
            self.gates[1],
            *map(_filled, [first.bias, *(head[0].bias for head in layers)]),
        ]
        head_s = [_filled(_even(head[0].weight[:, deterministic:])) for head in layers]
        self.structure = _Model(
            deterministic=_up(deterministic, _WIDTH),
            hidden=_up(config.hidden_size, _WIDTH),
            stochastic=_up(stochastic, 2),
            action=_up(config.action_size, 2),
            states=_up(stochastic, _WIDTH),
            stochastic_size=stochastic,
            action_size=config.action_size,
            heads=len(heads),
            min_std=config.min_std,
            input=self._small(_filled(input_weight), _filled(rssm.input.bias)),
            gru=self._large(_filled(rssm.cell.weight_ih, 3), _filled(rssm.cell.bias_ih, 3)),
            from_h=self._large(torch.cat(from_h), torch.cat(from_h_bias), of_state=True),
            prior=self._small(_filled(_even(out.weight), 2), _filled(out.bias, 2)),
            head_s=self._small(torch.cat(head_s), None),
        )
        for k, head in enumerate(layers):
            self.structure.head2[k] = self._large(_filled(head[1].weight), _filled(head[1].bias))
            self.structure.head3[k] = self._keep(_filled(head[2].weight[0]))
            self.structure.head3_bias[k] = float(head[2].bias)

    def _keep(self, x: Tensor) -> int:
        self.tensors.append(x.contiguous())
        return self.tensors[-1].data_ptr()

    def _small(self, weight: Tensor, bias: Tensor | None) -> _Product:
        """A product [N, K] with states and actions; N is a multiple of 16, K is even."""
        if self._layout.small == 2:
            weight = weight.bfloat16()
        return self._product(weight, bias, self._layout.small, None)

    def _large(self, weight: Tensor, bias: Tensor, of_state: bool = False) -> _Product:
        """A product [N, K] with the GRU's state, or with what comes out of a relu."""
        layout = self._layout
        if layout.large == 1:
            return self._product(weight, bias, 1, None)
        largest = weight.abs().amax(1).clamp(min=1e-20)
        if layout.four:
            lanes = F.pad(weight, (0, -weight.shape[1] % 8)).reshape(len(weight), -1, 2, 2, 2)
            sums = [part.sum((2, 4)).flatten(1).amax(1) for part in (lanes.relu(), (-lanes).relu())]
            # Four weights may each be rounded up by a half.
            largest = largest.maximum(127 / (layout.four - 2) * torch.stack(sums).amax(0))
        scale = largest / 127
        whole = (weight / scale[:, None]).round()
        if of_state:
            bias = bias - layout.offset / layout.state_levels * scale * whole.sum(1)
        return self._product(whole.to(torch.int8), bias, layout.large, scale)

    def _product(
        self, weight: Tensor, bias: Tensor | None, group: int, scale: Tensor | None
    ) -> _Product:
        packed = _packed(weight, self._layout.lanes, group)
        return _Product(
            groups=packed.shape[1],
            outputs=len(weight),
            weight=self._keep(packed),
            scale=None if scale is None else self._keep(scale),
            bias=self._keep(torch.zeros(len(weight)) if bias is None else bias),
        )


class Rollout:
    """A kernel with one set of weights; an :class:`~planet_model.imagination.Imagination`.

    Args:
        title: what people call the kernel.
    """

    def __init__(self, model: WorldModel, library: ctypes.CDLL, title: str) -> None:
        self.title = title
        self._library = library
        self._weights = Weights(model, Layout.of(library))
        self._belief_sizes = model.config.belief_sizes

    def __call__(self, belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        """See :class:`~planet_model.imagination.Imagination`; float32.

        As many threads as PyTorch has are used.
        """
        model = self._weights.structure
        heads = model.heads
        count, horizon, _ = actions.shape
        found = [list(x.shape) for x in (*belief, actions, noise)]
        sizes = [
            *([1, size] for size in self._belief_sizes),
            [count, horizon, model.action_size],
            [count, horizon, model.stochastic_size],
        ]
        if found != sizes:
            raise ValueError(f"rollout: belief, actions and noise {found}, expected {sizes}")
        if any(x.dtype != torch.float32 for x in (*belief, actions, noise)):
            raise ValueError("rollout: belief, actions and noise must be float32")
        h = F.pad(belief.deterministic[0], (0, model.deterministic - belief.deterministic.shape[1]))
        weight, bias = self._weights.gates
        gates = (weight @ belief.deterministic[0] + bias).contiguous()
        s = belief.stochastic[0].contiguous()
        actions, noise = actions.contiguous(), noise.contiguous()
        out = torch.empty(count, horizon, heads, dtype=torch.float32)

        failed = self._library.rollout(
            ctypes.byref(model),
            torch.get_num_threads(),
            count,
            horizon,
            *(ctypes.c_void_p(x.data_ptr()) for x in (h, s, gates, actions, noise, out)),
        )
        if failed:
            raise MemoryError("rollout: no memory for its buffers")
        return Outcomes(out[..., 0], out[..., 1] if heads > 1 else None)


def _packed(weight: Tensor, lanes: int, group: int) -> Tensor:
    """[N, K] in the order of rollout.c: [N / lanes, K / group, lanes, group]."""
    weight = F.pad(weight, (0, -weight.shape[1] % (2 * group)))  # groups come in pairs
    outputs, inputs = weight.shape
    blocks = weight.reshape(outputs // lanes, lanes, inputs // group, group)
    return blocks.transpose(1, 2)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _even(weight: Tensor) -> Tensor:
    """[N, K] with K filled up to an even number."""
    return F.pad(weight, (0, weight.shape[1] % 2))


def _filled(weight: Tensor, parts: int = 1) -> Tensor:
    """Each of `parts` parts of the outputs, [N, ...], filled up to a multiple of 16 with zeros."""
    chunks = weight.detach().chunk(parts)
    fill = -len(chunks[0]) % _WIDTH
    return torch.cat([F.pad(c, (*(0, 0) * (weight.dim() - 1), 0, fill)) for c in chunks])
