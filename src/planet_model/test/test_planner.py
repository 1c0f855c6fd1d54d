from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from planet_model.config import ModelConfig, PlannerConfig
from planet_model.planner import (
    CrossEntropyPlanner,
    PlanningError,
    RandomPlanner,
    best,
    make_planner,
    terminating_return,
)
from planet_model.transition import Belief
from planet_model.world_model import WorldModel

CONFIG = ModelConfig(
    cameras=("front",),
    action_size=2,
    deterministic_size=8,
    stochastic_size=4,
    hidden_size=8,
    embedding_size=16,
    conv_depth=1,
)
PLANNER = PlannerConfig(horizon=3, iterations=12, candidates=300, elites=30)


class Scored(CrossEntropyPlanner):
    """CEM with a given score instead of a model's."""

    def __init__(self, config: PlannerConfig, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__(WorldModel(CONFIG), config)
        self.function = function
        self.proposed: list[Tensor] = []

    def score(self, belief: Belief, actions: Tensor, generator: torch.Generator) -> Tensor:
        self.proposed.append(actions)
        score: Tensor = self.function(actions)
        return score


def plan(planner: CrossEntropyPlanner, seed: int = 0) -> Tensor:
    return planner.plan(planner.model.initial_belief(1), torch.Generator().manual_seed(seed))


def quadratic(actions: Tensor) -> Tensor:
    target = torch.tensor([[0.5, -0.3], [0.1, 0.9], [-0.7, 0.2]])
    return -(actions - target).square().sum((1, 2))


def test_cem_finds_a_known_optimum() -> None:
    torch.testing.assert_close(
        plan(Scored(PLANNER, quadratic)), torch.tensor([0.5, -0.3]), atol=0.02, rtol=0
    )


def test_cem_finds_an_optimum_at_the_bound_and_never_proposes_beyond_it() -> None:
    planner = Scored(PLANNER, lambda actions: actions[..., 0].sum(1) - 3 * actions[..., 1].sum(1))
    torch.testing.assert_close(plan(planner), torch.tensor([1.0, -1.0]), atol=0.02, rtol=0)
    assert all(actions.abs().max() <= 1 for actions in planner.proposed)


def test_cem_equals_a_transcription_of_algorithm_2() -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    config = PlannerConfig(horizon=4, iterations=3, candidates=50, elites=7, kernel="model")
    belief = Belief(torch.randn(1, 8), torch.randn(1, 4))
    found = CrossEntropyPlanner(model, config).plan(belief, torch.Generator().manual_seed(3))
    g = torch.Generator().manual_seed(3)
    mean, std = torch.zeros(4, 2), torch.ones(4, 2)
    with torch.no_grad():
        for _ in range(3):
            noise = torch.randn(50, 4, 2, generator=g)
            state_noise = torch.randn(50, 4, 4, generator=g)
            returns = []
            plans = []
            for j in range(50):
                actions = (mean + std * noise[j]).clamp(-1, 1)
                h, s = belief
                total = 0.0
                for t in range(4):
                    h = model.rssm.transition(Belief(h, s), actions[t : t + 1])
                    s = model.rssm.prior(h).sample(state_noise[j, t : t + 1])
                    total += model.reward(torch.cat([h, s], 1)).item()
                returns.append(total)
                plans.append(actions)
            order = sorted(range(50), key=lambda j: -returns[j])[:7]
            elites = torch.stack([plans[j] for j in order])
            mean = elites.mean(0)
            std = (elites - mean).square().mean(0).sqrt()
    torch.testing.assert_close(found, mean[0])


def test_candidates_with_a_score_that_is_not_finite_are_never_elites() -> None:
    def broken(actions: Tensor) -> Tensor:
        score = quadratic(actions)
        score[actions[:, 0, 0] < 0] = torch.nan
        score[actions[:, 0, 1] > 0] = torch.inf
        return score

    torch.testing.assert_close(
        plan(Scored(PLANNER, broken)), torch.tensor([0.5, -0.3]), atol=0.02, rtol=0
    )
    score = torch.tensor([torch.nan, 1.0, torch.inf, 3.0, -torch.inf])
    assert sorted(best(score, 4).tolist()) == [1, 3]


def test_no_finite_score_is_an_error_that_says_so() -> None:
    planner = Scored(PLANNER, lambda actions: torch.full((len(actions),), torch.nan))
    with pytest.raises(PlanningError, match="none of 300 candidates"):
        plan(planner)


def test_equal_scores_give_a_finite_plan_within_bounds() -> None:
    action = plan(Scored(PLANNER, lambda actions: torch.zeros(len(actions))))
    assert action.isfinite().all()
    assert action.abs().max() <= 1


def test_every_decision_starts_from_a_standard_normal_belief() -> None:
    planner = Scored(PlannerConfig(horizon=3, iterations=1, candidates=4000, elites=4), quadratic)
    for _ in range(2):
        plan(planner)
    for actions in planner.proposed:
        inside = actions[actions.abs() < 1]
        assert abs(actions.mean()) < 0.03
        assert len(inside) / actions.numel() == pytest.approx(0.683, abs=0.02)


def test_a_warm_start_begins_at_the_last_plan_shifted_by_one_until_reset() -> None:
    config = PlannerConfig(horizon=3, iterations=12, candidates=4000, elites=40, warm_start=True)
    planner = Scored(config, quadratic)
    plan(planner)
    planner.proposed.clear()
    plan(planner, seed=1)
    # The clipped samples' median is the distribution's mean.
    expected = torch.tensor([[0.1, 0.9], [-0.7, 0.2], [0.0, 0.0]])
    torch.testing.assert_close(planner.proposed[0].median(0).values, expected, atol=0.1, rtol=0)
    planner.reset()
    planner.proposed.clear()
    plan(planner, seed=2)
    medians = planner.proposed[0].median(0).values
    torch.testing.assert_close(medians, torch.zeros(3, 2), atol=0.1, rtol=0)


def test_the_same_generator_gives_the_same_plan() -> None:
    torch.manual_seed(0)
    model = WorldModel(CONFIG)
    first, second = (plan(CrossEntropyPlanner(model, PLANNER), seed=4) for _ in range(2))
    assert torch.equal(first, second)


def test_a_terminating_return_equals_the_expectation_over_all_endings() -> None:
    g = torch.Generator().manual_seed(0)
    reward = torch.randn(5, 6, generator=g, dtype=torch.float64)
    probability = torch.rand(5, 6, generator=g, dtype=torch.float64)
    bonus = 7.0
    for j in range(5):
        expected, alive = 0.0, 1.0
        for t in range(6):
            p, r = float(probability[j, t]), float(reward[j, t])
            expected += alive * (p * bonus + (1 - p) * r)
            alive *= 1 - p
        found = terminating_return(reward[j], probability[j], bonus)
        assert float(found) == pytest.approx(expected)


def test_after_a_certain_end_nothing_counts_and_the_bonus_is_paid_once() -> None:
    reward = torch.tensor([1.0, 2.0, 3.0, 4.0])
    certain = torch.tensor([0.0, 1.0, 1.0, 0.5])
    assert terminating_return(reward, certain, 10.0) == 11.0
    assert terminating_return(reward, torch.zeros(4), 10.0) == 10.0


def test_the_termination_head_enters_the_score() -> None:
    torch.manual_seed(0)
    model = WorldModel(ModelConfig.from_dict({**CONFIG.to_dict(), "termination_head": True}))
    belief, actions = model.initial_belief(1), torch.zeros(3, 4, 2)
    config = PlannerConfig(
        horizon=4, candidates=3, elites=1, termination_bonus=100.0, kernel="model"
    )
    planner = CrossEntropyPlanner(model, config)
    with torch.no_grad():
        score = planner.score(belief, actions, torch.Generator().manual_seed(0))
        noise = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
        features = model.imagine(belief.repeat(3), actions, noise).features
        logit = model.termination_logit(features)
        assert logit is not None
        expected = terminating_return(model.reward(features), logit.sigmoid(), 100.0)
    torch.testing.assert_close(score, expected)


def test_a_bonus_without_a_termination_head_is_refused() -> None:
    with pytest.raises(ValueError, match="no termination head"):
        make_planner(WorldModel(CONFIG), PlannerConfig(termination_bonus=1.0))


def test_random_actions_are_uniform() -> None:
    planner = make_planner(WorldModel(CONFIG), PlannerConfig(planner="random"))
    assert isinstance(planner, RandomPlanner)
    g = torch.Generator().manual_seed(0)
    belief = WorldModel(CONFIG).initial_belief(1)
    actions = torch.stack([planner.plan(belief, g) for _ in range(2000)])
    assert actions.abs().max() <= 1
    assert abs(actions.mean()) < 0.05
    assert actions.var() == pytest.approx(1 / 3, abs=0.03)


def test_random_shooting_returns_the_first_action_of_the_best_candidate() -> None:
    config = PlannerConfig(planner="random_shooting", horizon=3, candidates=200)
    planner = make_planner(WorldModel(CONFIG), config)
    assert isinstance(planner, CrossEntropyPlanner)
    shooting = Scored(planner.config, quadratic)
    action = plan(shooting)
    (candidates,) = shooting.proposed
    assert len(candidates) == 200
    torch.testing.assert_close(action, candidates[quadratic(candidates).argmax()][0])


def test_kept_elites_come_back_shifted_by_one_step_in_the_next_search() -> None:
    config = PlannerConfig(horizon=3, iterations=2, candidates=50, elites=10, kept_elites=4)
    planner = Scored(config, quadratic)
    plan(planner)
    last = planner.proposed[-1]
    best_last = last[quadratic(last).topk(4).indices]
    planner.proposed.clear()
    plan(planner, seed=1)
    first = planner.proposed[0]
    torch.testing.assert_close(first[:4, :2], best_last[:, 1:])
    assert not torch.allclose(first[:4, 2], best_last[:, 2])
    planner.reset()
    planner.proposed.clear()
    plan(planner, seed=1)
    assert not torch.allclose(planner.proposed[0][:4, :2], best_last[:, 1:])


def test_with_few_samples_a_warm_search_follows_a_moving_optimum_closer_than_a_cold_one() -> None:
    steps = torch.arange(40)[:, None]
    optimum = 0.8 * torch.sin(0.3 * steps + torch.tensor([0.0, 1.0]))

    def error(**kept: Any) -> float:
        config = PlannerConfig(horizon=3, iterations=1, candidates=60, elites=6, **kept)
        planner = Scored(config, lambda actions: torch.zeros(len(actions)))
        total = 0.0
        for t in range(30):
            target = optimum[t : t + 3]
            planner.function = lambda actions, target=target: -(
                (actions - target).square().sum((1, 2))
            )
            total += (plan(planner, seed=t) - optimum[t]).abs().mean().item() / 30
        return total

    assert error(warm_start=True, kept_elites=3) < 0.7 * error()


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, 1), (1.5, 1), (2.0, 2), (9.0, 5)])
def test_a_search_makes_the_iterations_that_end_before_its_deadline_and_at_least_one(
    seconds: float, expected: int
) -> None:
    time = [0.0]

    def score(actions: torch.Tensor) -> torch.Tensor:
        time[0] += 1.0
        return actions.sum((1, 2))

    planner = Scored(dataclasses.replace(PLANNER, iterations=5), score)
    generator = torch.Generator().manual_seed(0)
    planner.plan(WorldModel(CONFIG).initial_belief(1), generator, lambda: seconds - time[0])
    assert planner.iterations == len(planner.proposed) == expected


def test_a_deadline_that_is_far_away_changes_no_plan() -> None:
    planner = CrossEntropyPlanner(WorldModel(CONFIG), PLANNER)
    belief = planner.model.initial_belief(1)
    plans = []
    for left in (None, lambda: 1e6):
        planner.reset()
        plans.append(planner.plan(belief, torch.Generator().manual_seed(0), left))
    torch.testing.assert_close(plans[0], plans[1], rtol=0, atol=0)
