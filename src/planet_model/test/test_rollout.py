"""A kernel's rollouts against the model itself, for each kernel that this CPU can run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from planet_model.config import ModelConfig, PlannerConfig
from planet_model.imagination import CompiledImagination, Outcomes, PlainImagination
from planet_model.kernels import Kernel, library, runnable
from planet_model.planner import CrossEntropyPlanner
from planet_model.rollout import Rollout
from planet_model.transition import Belief
from planet_model.world_model import WorldModel

each_kernel = pytest.mark.parametrize("kernel", runnable(), ids=lambda kernel: kernel.name)


def make_model(
    deterministic: int = 200,
    stochastic: int = 30,
    hidden: int = 200,
    action: int = 6,
    termination: bool = False,
    transition: str = "rssm",
) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(
        ModelConfig(
            cameras=("front",),
            action_size=action,
            deterministic_size=deterministic,
            stochastic_size=stochastic,
            hidden_size=hidden,
            embedding_size=16,
            conv_depth=1,
            termination_head=termination,
            transition=transition,
        )
    )


def of(model: WorldModel, kernel: Kernel) -> Rollout:
    return Rollout(model, library(kernel), str(kernel))


def imagine_both(
    model: WorldModel, kernel: Kernel, candidates: int = 1000, horizon: int = 12
) -> tuple[Outcomes, Outcomes]:
    """The outcomes of the same candidates by the model and by a kernel."""
    config = model.config
    generator = torch.Generator().manual_seed(1)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    belief = Belief(normal(1, config.deterministic_size).tanh(), normal(1, config.stochastic_size))
    actions = normal(candidates, horizon, config.action_size).clamp(-1, 1)
    noise = normal(candidates, horizon, config.stochastic_size)
    with torch.inference_mode():
        return (
            PlainImagination(model)(belief, actions, noise),
            of(model, kernel)(belief, actions, noise),
        )


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@each_kernel
@pytest.mark.parametrize(
    "sizes",
    [(200, 30, 200, 6), (13, 5, 19, 3), (16, 16, 16, 16), (64, 1, 33, 1), (20, 33, 100, 2)],
)
@pytest.mark.parametrize("candidates", [1, 43, 100])
def test_every_step_of_every_candidate_is_the_models_to_a_few_percent(
    kernel: Kernel, sizes: tuple[int, int, int, int], candidates: int
) -> None:
    plain, fast = imagine_both(make_model(*sizes, termination=True), kernel, candidates)
    for expected, found in zip(plain, fast, strict=True):
        assert expected is not None
        assert found is not None
        assert found.shape == expected.shape == (candidates, 12)
        error = (found - expected).square().mean().sqrt()
        share = 1e-5 if kernel.precision == "float32" else 0.05
        assert error < share * expected.square().mean().sqrt()


@each_kernel
def test_a_kernels_elites_are_those_of_the_model(kernel: Kernel) -> None:
    plain, fast = imagine_both(make_model(), kernel)
    elites = [set(o.reward.sum(1).topk(100).indices.tolist()) for o in (plain, fast)]
    assert len(elites[0] & elites[1]) >= 95


@each_kernel
def test_a_model_without_termination_head_has_no_termination(kernel: Kernel) -> None:
    plain, fast = imagine_both(make_model(16, 4, 16, 2), kernel, candidates=10)
    assert plain.termination_logit is None
    assert fast.termination_logit is None


@each_kernel
def test_a_belief_that_is_not_finite_gives_no_finite_outcome(kernel: Kernel) -> None:
    fast = of(make_model(16, 4, 16, 2, termination=True), kernel)
    belief = Belief(torch.full((1, 16), torch.nan), torch.zeros(1, 4))
    for outcome in fast(belief, torch.zeros(5, 3, 2), torch.zeros(5, 3, 4)):
        assert outcome is not None
        assert outcome.isnan().all()


@each_kernel
@pytest.mark.parametrize("name", ["prior_net.2.weight", "cell.weight_ih"])
def test_where_the_model_breaks_down_a_kernel_gives_no_finite_outcome(
    kernel: Kernel, name: str
) -> None:
    model = make_model(16, 4, 16, 2, termination=True)
    with torch.no_grad():
        model.rssm.get_parameter("prior_net.0.bias").fill_(3.0)
        model.rssm.get_parameter(name).fill_(3e38)
    plain, fast = imagine_both(model, kernel, candidates=7, horizon=3)
    for expected, found in zip(plain, fast, strict=True):
        assert expected is not None
        assert found is not None
        assert not (found.isfinite() & ~expected.isfinite()).any()


@each_kernel
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize(
    "name",
    [
        "rssm.input.weight",
        "rssm.cell.weight_ih",
        "rssm.cell.weight_hh",
        "rssm.cell.bias_hh",
        "rssm.prior_net.0.weight",
        "rssm.prior_net.2.weight",
        "reward_head.0.weight",
        "reward_head.2.weight",
        "reward_head.4.weight",
    ],
)
def test_a_weight_that_is_not_finite_is_not_hidden_by_a_kernel(
    kernel: Kernel, name: str, value: float
) -> None:
    model = make_model(16, 4, 16, 2)
    with torch.no_grad():
        weight = model.get_parameter(name)
        weight.copy_(value * torch.randn_like(weight).sign())
    plain, fast = imagine_both(model, kernel, candidates=7, horizon=3)
    assert not plain.reward.isfinite().all()
    assert not (fast.reward.isfinite() & ~plain.reward.isfinite()).any()


@each_kernel
@pytest.mark.parametrize("field", [0, 1, 2, 3])
def test_an_input_that_is_not_a_number_spoils_no_candidate_but_its_own(
    kernel: Kernel, field: int
) -> None:
    fast = of(make_model(16, 4, 16, 2), kernel)
    inputs = [torch.zeros(1, 16), torch.zeros(1, 4), torch.zeros(9, 3, 2), torch.zeros(9, 3, 4)]
    inputs[field].flatten()[-1] = torch.nan
    reward = fast(Belief(*inputs[:2]), *inputs[2:]).reward
    if field < 2:  # the belief is everyone's
        assert reward.isnan().all()
    else:
        assert reward[:8].isfinite().all()
        assert reward[8, 2].isnan()


@each_kernel
@pytest.mark.parametrize(
    ("actions", "noise", "message"),
    [
        (torch.zeros(5, 3, 1), torch.zeros(5, 3, 4), "expected"),
        (torch.zeros(5, 3, 2), torch.zeros(5, 3, 3), "expected"),
        (torch.zeros(5, 3, 2).double(), torch.zeros(5, 3, 4), "float32"),
        (torch.zeros(5, 3, 2), torch.zeros(5, 3, 4).double(), "float32"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_read(
    kernel: Kernel, actions: torch.Tensor, noise: torch.Tensor, message: str
) -> None:
    model = make_model(16, 4, 16, 2)
    with pytest.raises(ValueError, match=message):
        of(model, kernel)(model.initial_belief(1), actions, noise)


@each_kernel
@pytest.mark.parametrize("sizes", [(1, 3), (1, 5), (2, 4)])
def test_a_belief_that_does_not_fit_is_refused_before_it_is_read(
    kernel: Kernel, sizes: tuple[int, int]
) -> None:
    belief = Belief(torch.zeros(sizes[0], 16), torch.zeros(sizes))
    with pytest.raises(ValueError, match="expected"):
        of(make_model(16, 4, 16, 2), kernel)(belief, torch.zeros(5, 3, 2), torch.zeros(5, 3, 4))


@each_kernel
def test_threads_change_nothing(kernel: Kernel, threads: None) -> None:
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(imagine_both(make_model(16, 4, 16, 2), kernel, candidates=100)[1].reward)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=0)


@each_kernel
def test_a_kernels_plan_scores_as_high_as_the_models(kernel: Kernel) -> None:
    model = make_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)  # untrained rewards depend too little on actions
    belief = Belief(torch.zeros(1, 200), torch.zeros(1, 30))
    config = PlannerConfig(horizon=6, iterations=3, candidates=200, elites=20)
    score = []
    for name in ("model", kernel.name):
        planner = CrossEntropyPlanner(model, dataclasses.replace(config, kernel=name))
        planner.plan(belief, torch.Generator().manual_seed(0))
        assert planner._last_mean is not None
        plan = planner._last_mean.expand(200, -1, -1).contiguous()
        judge = CrossEntropyPlanner(model, dataclasses.replace(config, kernel="model"))
        generator = torch.Generator().manual_seed(1)
        score.append(judge.score(belief, plan, generator).mean())
    candidates = torch.randn(200, 6, 6, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    spread = judge.score(belief, candidates, torch.Generator().manual_seed(3)).std()
    assert abs(score[1] - score[0]) < 0.05 * spread


@pytest.mark.parametrize("transition", ["rssm", "ssm", "rnn"])
def test_compiled_as_for_a_gpu_it_is_one_graph_and_the_models_to_a_few_percent(
    transition: str,
) -> None:
    model = make_model(16, 4, 16, 2, termination=True, transition=transition)
    compiled = CompiledImagination(model, torch.bfloat16, backend="aot_eager")
    sizes = model.config.belief_sizes
    belief = Belief(*(torch.randn(1, size) for size in sizes))
    actions, noise = torch.rand(20, 4, 2), torch.randn(20, 4, sizes[1])
    with torch.inference_mode():
        plain = PlainImagination(model)(belief, actions, noise)
        found = compiled(belief, actions, noise)
    for x, y in zip(plain, found, strict=True):
        assert x is not None
        assert y is not None
        assert y.dtype == torch.float32
        assert (y - x).norm() < 0.05 * x.norm()


def test_a_graph_takes_weights_that_are_loaded_in_place_and_is_not_compiled_again() -> None:
    model, other = make_model(16, 4, 16, 2), make_model(16, 4, 16, 2)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    compiled = CompiledImagination(model, torch.float32, backend="aot_eager")
    belief = model.initial_belief(1)
    actions, noise = torch.rand(20, 4, 2), torch.randn(20, 4, 4)
    torch._dynamo.utils.counters.clear()
    with torch.inference_mode():
        compiled(belief, actions, noise)
        model.load_state_dict(other.state_dict())
        found = compiled(belief, actions, noise).reward
        expected = PlainImagination(other)(belief, actions, noise).reward
    torch.testing.assert_close(found, expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
