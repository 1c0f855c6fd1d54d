"""The kernels for ARM, cross-compiled and emulated, against the model.

Debian has what this needs: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static.
"""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from planet_model.compiled import OPTIMISE
from planet_model.config import ModelConfig
from planet_model.imagination import PlainImagination
from planet_model.kernels import KERNELS, SOURCE, Kernel
from planet_model.rollout import Layout, Weights
from planet_model.transition import Belief
from planet_model.world_model import WorldModel

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason="needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static",
)

arm = [kernel for kernel in KERNELS if kernel.machine == "aarch64"]


class Program:
    """run_rollout.c for one kernel, under the emulator."""

    def __init__(self, kernel: Kernel, folder: Path) -> None:
        path = folder / kernel.name
        options = [*OPTIMISE, "-fopenmp", *kernel.flags, "-static", "-I", str(SOURCE.parent)]
        program = str(Path(__file__).with_name("run_rollout.c"))
        subprocess.run([COMPILER, *options, "-o", str(path), program], check=True)
        self._command = [EMULATOR, "-cpu", "max", str(path)]
        done = subprocess.run(self._command, check=True, capture_output=True, text=True)
        self.layout = Layout(*map(int, done.stdout.split()))

    def outcomes(self, model: WorldModel, belief: Belief, actions: Tensor, noise: Tensor) -> Tensor:
        """Of candidates, [J, H, heads]."""
        data = _packed(Weights(model, self.layout), belief, actions, noise)
        command = [*self._command, "run"]
        done = subprocess.run(command, input=data, check=True, capture_output=True)
        found = torch.frombuffer(bytearray(done.stdout), dtype=torch.float32)
        return found.reshape(*actions.shape[:2], -1)


def _packed(weights: Weights, belief: Belief, actions: Tensor, noise: Tensor) -> bytes:
    """What run_rollout.c reads."""
    m = weights.structure

    def floats(x: Tensor) -> bytes:
        return x.float().contiguous().numpy().tobytes()

    def product(p: ctypes.Structure) -> bytes:
        scale = ctypes.string_at(p.scale, 4 * p.outputs) if p.scale else b""
        head = struct.pack("3i", p.groups, p.outputs, bool(p.scale))
        weight = ctypes.string_at(p.weight, 4 * p.groups * p.outputs)
        return head + weight + scale + ctypes.string_at(p.bias, 4 * p.outputs)

    names = "deterministic hidden stochastic action states stochastic_size action_size heads"
    parts = [struct.pack("8if", *(getattr(m, name) for name in names.split()), m.min_std)]
    parts += [product(p) for p in (m.input, m.gru, m.from_h, m.prior, m.head_s)]
    for k in range(m.heads):
        parts += [product(m.head2[k]), ctypes.string_at(m.head3[k], 4 * m.hidden)]
        parts += [struct.pack("f", m.head3_bias[k])]
    h = belief.deterministic[0]
    weight, bias = weights.gates
    padded = torch.cat([h, torch.zeros(m.deterministic - len(h))])
    parts += [struct.pack("2i", *actions.shape[:2]), floats(padded), floats(belief.stochastic[0])]
    parts += [floats(weight @ h + bias), floats(actions), floats(noise)]
    return b"".join(parts)


@pytest.mark.parametrize("kernel", arm, ids=lambda kernel: kernel.name)
def test_a_kernel_for_arm_gives_the_models_outcomes(kernel: Kernel, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = WorldModel(
        ModelConfig(
            cameras=("front",),
            action_size=3,
            deterministic_size=50,
            stochastic_size=9,
            hidden_size=35,
            embedding_size=16,
            conv_depth=1,
            termination_head=True,
        )
    )
    belief = Belief(torch.randn(1, 50).tanh(), torch.randn(1, 9))
    actions, noise = torch.rand(45, 5, 3) * 2 - 1, torch.randn(45, 5, 9)
    with torch.no_grad():
        expected = torch.stack(list(PlainImagination(model)(belief, actions, noise)), -1)
        found = Program(kernel, tmp_path).outcomes(model, belief, actions, noise)
    share = 1e-5 if kernel.precision == "float32" else 0.05
    for head in range(2):
        error = (found[..., head] - expected[..., head]).square().mean().sqrt()
        assert error < share * expected[..., head].square().mean().sqrt()
