"""What the planner gets to follow its candidates."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from planet_model import fast_path
from planet_model.compiled import CompileError
from planet_model.config import ModelConfig
from planet_model.fast_path import agreement, choose
from planet_model.imagination import Outcomes, PlainImagination
from planet_model.kernels import Kernel, runnable
from planet_model.transition import Belief
from planet_model.world_model import WorldModel


def make_model(transition: str = "rssm", hidden: int = 64) -> WorldModel:
    """A small model, of which rewards depend on actions."""
    torch.manual_seed(0)
    model = WorldModel(
        ModelConfig(
            cameras=("front",),
            action_size=4,
            deterministic_size=48,
            stochastic_size=8,
            hidden_size=hidden,
            embedding_size=16,
            conv_depth=1,
            transition=transition,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


def saturate(model: WorldModel, bias: float) -> None:
    """Give one hidden unit of the reward a constant, which no later weight looks at much."""
    head = model.reward_head
    with torch.no_grad():
        head[0].bias[0] = bias
        head[2].weight[:, 0] = 0.0


def test_the_best_kernel_that_agrees_with_the_model_is_chosen() -> None:
    imagination, warning = choose(make_model(), "auto")
    assert imagination.title == str(runnable()[0])
    assert warning == ""


def test_the_model_itself_can_be_asked_for() -> None:
    assert choose(make_model(), "model").imagination.title == "float32 PyTorch on cpu"


@pytest.mark.parametrize("kernel", runnable(), ids=lambda kernel: kernel.name)
def test_each_kernel_of_this_cpu_can_be_asked_for(kernel: Kernel) -> None:
    assert choose(make_model(), kernel.name).imagination.title == str(kernel)


@pytest.mark.parametrize("transition", ["ssm", "rnn"])
def test_other_transitions_are_left_to_the_model(transition: str) -> None:
    imagination, warning = choose(make_model(transition), "auto")
    assert isinstance(imagination, PlainImagination)
    assert warning == ""


@pytest.mark.parametrize(
    ("transition", "name"), [("rssm", "neon" if runnable()[0].name != "neon" else "avx2")]
)
def test_a_kernel_that_cannot_be_had_is_refused_with_those_that_can(
    transition: str, name: str
) -> None:
    with pytest.raises(ValueError, match=f"kernel is '{name}', expected .*: auto, model, "):
        choose(make_model(transition), name)


def test_a_kernel_that_does_not_know_the_transition_is_refused() -> None:
    with pytest.raises(ValueError, match=r"can have: auto, model$"):
        choose(make_model("ssm"), runnable()[0].name)


def test_saturated_units_are_noticed_and_float32_takes_over_with_the_number() -> None:
    model = make_model()
    saturate(model, 1e5)
    imagination, warning = choose(model, "auto")
    assert imagination.title.startswith("float32")
    assert re.search(r"int8 .* finds \d+ % of the model's elites", warning)
    assert agreement(model, imagination) == 1.0


def test_without_a_compiler_the_model_takes_over_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(kernel: Kernel) -> None:
        raise CompileError("there is no C compiler")

    monkeypatch.setattr(fast_path, "library", fail)
    imagination, warning = choose(make_model(), "auto")
    assert isinstance(imagination, PlainImagination)
    assert warning.count("there is no C compiler") == 1
    assert "computes in float32 PyTorch on cpu, which is slower" in warning


def test_on_a_cpu_without_a_known_instruction_set_the_model_computes_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_path, "runnable", list)
    imagination, warning = choose(make_model(), "auto")
    assert isinstance(imagination, PlainImagination)
    assert "none of the instruction sets" in warning


def test_the_agreement_of_chance_is_low() -> None:
    def chance(belief: Belief, actions: Tensor, noise: Tensor) -> Outcomes:
        return Outcomes(torch.rand(actions.shape[:2]), None)

    assert agreement(make_model(), chance) < 0.4
