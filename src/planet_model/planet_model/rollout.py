"""The planner's rollouts in low precision: on a CPU rollout.c, compiled when it is first needed.

It computes what :meth:`WorldModel.imagine`, :meth:`WorldModel.reward` and
:meth:`WorldModel.termination_logit` compute for the candidates of a search, several times faster:
matrix products in int8 (the large ones) and bfloat16, all else in float32, a few candidates at a
time through the whole horizon. That is enough to rank candidates: the elites are almost the same
(see test_rollout.py). On a GPU the model itself runs in bfloat16, as one CUDA graph.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from planet_model.transition import RSSM, Belief
from planet_model.world_model import WorldModel

_log = logging.getLogger(__name__)

CPU_FLAGS = {"avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"}
_SOURCE = Path(__file__).with_name("rollout.c")
_LANES = 16


class Outcomes(NamedTuple):
    """What the planner asks of the imagined steps of J candidates, [J, H]."""

    reward: Tensor
    """Mean of the reward, in scaled units."""
    termination_logit: Tensor | None
    """None without the termination head."""


Imagination = Callable[[Belief, Tensor, Tensor], Outcomes]
"""From a belief of one row, actions [J, H, A] and noise [J, H, S] to their outcomes."""


def plain_imagination(model: WorldModel) -> Imagination:
    """The model's own, in its own precision, for any model and device."""

    def imagine(belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        features = model.imagine(belief.repeat(len(actions)), actions, noise).features
        return Outcomes(model.reward(features), model.termination_logit(features))

    return imagine


def compiled_imagination(model: WorldModel, **options: Any) -> Imagination:
    """The model's own in bfloat16, compiled as one graph; `options` are torch.compile's."""
    plain = torch.compile(plain_imagination(model), fullgraph=True, **options)

    def imagine(belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        with torch.autocast(model.device.type, torch.bfloat16):
            reward, logit = plain(belief, actions, noise)
        # The next replay of a CUDA graph writes over this one's results.
        return Outcomes(reward.float().clone(), None if logit is None else logit.float().clone())

    return imagine


def fast_imagination(model: WorldModel) -> Imagination | None:
    """The low-precision one with the model's present weights, or None where there is none.

    On a CPU it needs AVX-512 with VNNI and BF16, a C compiler, and the transition `rssm`.
    """
    if model.device.type == "cuda":
        return compiled_imagination(model, mode="reduce-overhead")
    single = all(p.dtype == torch.float32 for p in model.parameters())
    if model.device.type != "cpu" or not isinstance(model.rssm, RSSM) or not single:
        return None
    library = _library()
    return None if library is None else Rollout(model, library)


@cache
def _library() -> ctypes.CDLL | None:
    """rollout.c as a library; None, with a line in the log, where it cannot be had."""
    if not cpu_flags() >= CPU_FLAGS:
        _log.info("the planner runs in float32: this CPU has no AVX-512 with VNNI and BF16")
        return None
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        _log.warning("the planner runs in float32, which is slower: there is no C compiler")
        return None
    options = [
        "-O3",
        "-shared",
        "-fPIC",
        "-fopenmp",
        *(f"-m{f.replace('_', '')}" for f in sorted(CPU_FLAGS)),
    ]
    key = hashlib.sha256(" ".join([compiler, *options]).encode() + _SOURCE.read_bytes())
    name = f"rollout-{key.hexdigest()[:16]}.so"
    try:
        cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        path = cache_home / "robo_planet" / name
        if not path.exists() or path.stat().st_size == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / name
                command = [compiler, *options, "-o", str(made), str(_SOURCE)]
                subprocess.run(command, check=True, capture_output=True, text=True)
                with made.open("rb") as file:
                    os.fsync(file.fileno())  # a short file under this name would stay for ever
                made.replace(path)
        library = ctypes.CDLL(str(path))
        library.rollout.restype = ctypes.c_int
    except (OSError, RuntimeError, AttributeError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        _log.warning("the planner runs in float32, which is slower: %s", reason)
        return None
    return library


def cpu_flags() -> set[str]:
    """The CPU's features by Linux' names; empty where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


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


class Rollout:
    """rollout.c with one set of weights; an :data:`Imagination`."""

    @torch.no_grad()
    def __init__(self, model: WorldModel, library: ctypes.CDLL) -> None:
        rssm = model.rssm
        assert isinstance(rssm, RSSM)
        config = model.config
        self._library = library
        self._kept: list[Tensor] = []  # what the structure points to
        self._gates = (_filled(rssm.cell.weight_hh, 3), _filled(rssm.cell.bias_hh, 3))
        heads = [h for h in (model.reward_head, model.termination_head) if h is not None]
        layers = [[m for m in head if isinstance(m, nn.Linear)] for head in heads]
        deterministic, stochastic = config.deterministic_size, config.stochastic_size
        self._sizes = (_up(deterministic, _LANES), stochastic, config.action_size, len(heads))

        first, out = (m for m in rssm.prior_net if isinstance(m, nn.Linear))
        state_weight = rssm.input.weight[:, :stochastic]
        input_weight = torch.cat(
            [_even(state_weight), _even(rssm.input.weight[:, stochastic:])], dim=1
        )
        from_h = [
            self._gates[0][:, :deterministic],
            *map(_filled, [first.weight, *(head[0].weight[:, :deterministic] for head in layers)]),
        ]
        from_h_bias = [
            self._gates[1],
            *map(_filled, [first.bias, *(head[0].bias for head in layers)]),
        ]
        head_s = [_filled(_even(head[0].weight[:, deterministic:])) for head in layers]
        model_ = _Model(
            deterministic=self._sizes[0],
            hidden=_up(config.hidden_size, _LANES),
            stochastic=_up(stochastic, 2),
            action=_up(config.action_size, 2),
            states=_up(stochastic, _LANES),
            stochastic_size=stochastic,
            action_size=config.action_size,
            heads=len(heads),
            min_std=config.min_std,
            input=self._bfloat16(_filled(input_weight), _filled(rssm.input.bias)),
            gru=self._int8(_filled(rssm.cell.weight_ih, 3), _filled(rssm.cell.bias_ih, 3)),
            from_h=self._int8(torch.cat(from_h), torch.cat(from_h_bias), of_state=True),
            prior=self._bfloat16(_filled(_even(out.weight), 2), _filled(out.bias, 2)),
            head_s=self._bfloat16(torch.cat(head_s), None),
        )
        for k, head in enumerate(layers):
            model_.head2[k] = self._int8(_filled(head[1].weight), _filled(head[1].bias))
            model_.head3[k] = self._keep(_filled(head[2].weight[0]))
            model_.head3_bias[k] = float(head[2].bias)
        self._model = model_

    def __call__(self, belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        """See :data:`Imagination`; float32. As many threads as PyTorch has are used."""
        deterministic, stochastic, _, heads = self._sizes
        count, horizon, _ = actions.shape
        sizes = (count, horizon, self._model.action_size), (count, horizon, stochastic)
        if (tuple(actions.shape), tuple(noise.shape)) != sizes:
            raise ValueError(
                f"rollout: actions {list(actions.shape)} and noise {list(noise.shape)},"
                f" expected {list(sizes[0])} and {list(sizes[1])}"
            )
        if any(x.dtype != torch.float32 for x in (*belief, actions, noise)):
            raise ValueError("rollout: belief, actions and noise must be float32")
        if not all(x.isfinite().all() for x in (*belief, actions)):  # bytes cannot tell
            nan = torch.full((count, horizon, heads), torch.nan)
            return Outcomes(nan[..., 0], nan[..., 1] if heads > 1 else None)
        h = F.pad(belief.deterministic[0], (0, deterministic - belief.deterministic.shape[1]))
        weight, bias = self._gates
        gates = (weight @ belief.deterministic[0] + bias).contiguous()
        s = belief.stochastic[0].contiguous()
        actions, noise = actions.contiguous(), noise.contiguous()
        out = torch.empty(count, horizon, heads, dtype=torch.float32)

        failed = self._library.rollout(
            ctypes.byref(self._model),
            torch.get_num_threads(),
            count,
            horizon,
            *(ctypes.c_void_p(x.data_ptr()) for x in (h, s, gates, actions, noise, out)),
        )
        if failed:
            raise MemoryError("rollout: no memory for its buffers")
        return Outcomes(out[..., 0], out[..., 1] if heads > 1 else None)

    def _keep(self, x: Tensor) -> int:
        self._kept.append(x.contiguous())
        return self._kept[-1].data_ptr()

    def _bfloat16(self, weight: Tensor, bias: Tensor | None) -> _Product:
        """A product of bfloat16 [N, K] with inputs of bfloat16; N is a multiple of 16."""
        packed = _packed(_even(weight).bfloat16(), 2)
        return _Product(
            groups=packed.shape[1],
            outputs=len(weight),
            weight=self._keep(packed),
            bias=self._keep(torch.zeros(len(weight)) if bias is None else bias),
        )

    def _int8(self, weight: Tensor, bias: Tensor, of_state: bool = False) -> _Product:
        """A product of int8 with bytes: of the GRU's state (128 + 127 h), or scaled to a row."""
        scale = weight.abs().amax(1).clamp(min=1e-20) / 127
        whole = (weight / scale[:, None]).round()
        if of_state:
            scale = scale / 127
            bias = bias - 128 * scale * whole.sum(1)
        packed = _packed(F.pad(whole, (0, -whole.shape[1] % 4)).to(torch.int8), 4)
        return _Product(
            groups=packed.shape[1],
            outputs=len(weight),
            weight=self._keep(packed),
            scale=self._keep(scale),
            bias=self._keep(bias),
        )


def _packed(weight: Tensor, group: int) -> Tensor:
    """[N, K] in the order of rollout.c: [N / 16, K / group, 16, group]."""
    outputs, inputs = weight.shape
    blocks = weight.reshape(outputs // _LANES, _LANES, inputs // group, group)
    return blocks.transpose(1, 2)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _even(weight: Tensor) -> Tensor:
    """[N, K] with K filled up to an even number."""
    return F.pad(weight, (0, weight.shape[1] % 2))


def _filled(weight: Tensor, parts: int = 1) -> Tensor:
    """Each of `parts` parts of the outputs, [N, ...], filled up to a multiple of 16 with zeros."""
    chunks = weight.detach().chunk(parts)
    fill = -len(chunks[0]) % _LANES
    return torch.cat([F.pad(c, (*(0, 0) * (weight.dim() - 1), 0, fill)) for c in chunks])
