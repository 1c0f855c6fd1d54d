"""The report: its numbers are the runs', and what is not complete is not in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments import report
from experiments.definition import DefinitionError, load
from experiments.figures import look, over_seeds
from experiments.record import Record
from experiments.results import CompleteRun, by_method, read
from experiments.tables import fresh

START = 1_000_000.0

DEFINITION: dict[str, Any] = {
    "title": "Fast & slow",
    "minutes": 10,
    "seeds": [0, 1],
    "evaluation": {"every": 5, "episodes": 20, "final_episodes": 100, "seed": 3_000_000},
    "launch": {"profile": "laptop", "real_time_factor": 1.0},
    "methods": [{"name": "async"}, {"name": "sync C = 10", "launch": {"mode": "sync"}}],
}

Episode = tuple[float, str, int, float]
"""Seconds since the launch, policy, steps, return."""
EPISODES: list[Episode] = [
    (10.0, "random", 50, -10.0),
    (50.0, "planner", 100, -4.0),
    (55.0, "evaluation", 100, 100.0),
    (599.0, "planner", 10, -1.0),
]
UPDATES = [(60.0, 100), (590.0, 1600)]
"""Seconds since the launch, updates."""
RATES = [(5.0, 0.5, 20), (10.0, 0.96, 100)]


def begin(folder: Path, **changes: Any) -> list[Record]:
    """Write the definition; return the records of its runs."""
    folder.mkdir(exist_ok=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**DEFINITION, **changes}))
    return [Record(run, folder) for run in load(folder / "experiment.yaml").runs]


def complete(
    record: Record,
    episodes: list[Episode] = EPISODES,
    rates: list[tuple[float, float, int]] = RATES,
    seconds: float | None = 0.1,
) -> None:
    """Write what a complete run leaves."""
    record.begin([0, 1])
    record.update(started=START, decision_seconds=seconds)
    metrics = record.data / "metrics"
    metrics.mkdir(parents=True)
    columns = ("wall_time", "policy", "steps", "return")
    table = fresh(metrics / "episodes.csv", columns)
    for second, *values in episodes:
        table.append(dict(zip(columns, [START + second, *values], strict=True)))
    table = fresh(metrics / "updates.csv", ["wall_time", "update"])
    for second, update in UPDATES:
        table.append({"wall_time": START + second, "update": update})
    record.log.touch()
    (record.data / "meaning.json").touch()
    record.end_training(START + 600)
    for minutes, rate, count in rates:
        record.add(evaluation(minutes, rate, count, factor=0.0, seconds=30.0))
    record.add(evaluation(10.0, 0.9, 100, factor=1.0, seconds=200.0))
    record.update(state="complete", error="")


def evaluation(
    minutes: float, rate: float, count: int, factor: float, seconds: float
) -> dict[str, Any]:
    return {
        "minutes": minutes,
        "update": f"{minutes:.0f}00",
        "episodes": count,
        "touched": f"{rate * count:.0f}",
        "touch_rate": rate,
        "return_mean": -1.0,
        "return_std": 0.5,
        "steps_to_touch_median": 7.0,
        "real_time_factor": factor,
        "seconds": seconds,
    }


def first_run(folder: Path) -> CompleteRun:
    run = read(folder)[1][0]
    assert isinstance(run, CompleteRun)
    return run


def test_a_run_s_numbers_are_those_of_its_files(tmp_path: Path) -> None:
    complete(begin(tmp_path)[0])
    run = first_run(tmp_path)
    np.testing.assert_allclose(run.decisions_at(np.array([0.0, 0.5, 10.0])), [0, 50, 260])
    assert run.final == (96, 100)
    assert run.final_in_real_time == (90, 100)
    assert run.evaluation_seconds == 260
    # A decision takes 0.1 s, so the first episode began five seconds before its end.
    assert run.setup_seconds == pytest.approx(5)
    assert run.idle_share == pytest.approx(1 - 26 / 595)


def test_the_touch_curve_begins_at_nothing(tmp_path: Path) -> None:
    complete(begin(tmp_path)[0])
    run = first_run(tmp_path)
    assert run.touch_area(10) == pytest.approx((0.25 * 5 + 0.73 * 5) / 10)
    assert (run.time_to(0.5), run.time_to(0.9), run.time_to(0.97)) == (5.0, 10.0, float("inf"))


def test_areas_are_of_the_same_time_for_all_methods(tmp_path: Path) -> None:
    complete(begin(tmp_path)[0])
    run = first_run(tmp_path)
    assert run.touch_area(8) == pytest.approx((0.25 * 5 + (0.5 + 0.776) / 2 * 3) / 8)
    assert run.touch_area(12) == pytest.approx((0.25 * 5 + 0.73 * 5 + 0.96 * 2) / 12)
    methods = [{"name": "slow", "minutes": 20}, {"name": "fast", "minutes": 8}]
    for record in begin(tmp_path / "two", seeds=[0], methods=methods):
        complete(record)
    page = report.write(tmp_path / "two").read_text()
    row = "<th>area under the touch curve, first 8 min</th><td>0.40</td><td>0.40</td>"
    assert row in page


def test_a_method_s_numbers_are_over_all_its_seeds(tmp_path: Path) -> None:
    first, _, second, _ = begin(tmp_path)
    assert first.definition.method == second.definition.method
    complete(first)
    complete(second, rates=[(3.0, 0.5, 20), (7.0, 0.92, 20), (10.0, 1.0, 100)])
    page = report.write(tmp_path).read_text()
    assert "<td>4.0 min <small>(2 of 2 seeds)</small></td>" in page  # the median of 5 and 3
    assert "<td>8.5 min <small>(2 of 2 seeds)</small></td>" in page
    assert "98 % <small>[95, 99], 196 of 200</small>" in page
    assert "<td>0.57 <small>(0.49 to 0.65)</small></td>" in page
    complete(second, rates=[(10.0, 0.4, 100)])
    page = report.write(tmp_path).read_text()
    assert "<td>not reached <small>(1 of 2 seeds)</small></td>" in page


def test_of_one_seed_no_deviation_is_drawn() -> None:
    nan = np.nan
    mean, deviation = over_seeds(np.array([[1.0, 4.0, nan], [3.0, nan, nan]]))
    np.testing.assert_allclose(mean, [2, 4, nan])
    np.testing.assert_allclose(deviation, [np.sqrt(2), nan, nan])


def test_returns_are_binned_without_the_evaluations(tmp_path: Path) -> None:
    complete(begin(tmp_path)[0])
    bins = first_run(tmp_path).curve.binned_returns(10)
    np.testing.assert_allclose(bins, [-7.0, *[np.nan] * 8, -1.0])


def test_in_lockstep_no_idle_time_is_claimed(tmp_path: Path) -> None:
    complete(begin(tmp_path, launch={"profile": "laptop"})[0], seconds=None)
    assert np.isnan(first_run(tmp_path).idle_share)
    assert "Robot idle" not in report.write(tmp_path).read_text()


def test_the_page_shows_the_complete_runs_and_names_the_others(tmp_path: Path) -> None:
    first, second, third, fourth = begin(tmp_path)
    complete(first)
    complete(second, rates=[(5.0, 0.1, 20), (10.0, 0.4, 100)])
    third.begin([0])
    fourth.begin([0])
    fourth.update(error="its learner wrote no checkpoint <here>.")
    page = report.write(tmp_path).read_text()
    assert "Fast &amp; slow" in page
    assert "2 of 4 runs, 10 minutes" in page
    assert page.count("data:image/svg+xml;base64,") == 6
    assert "2 of 4 runs are not complete" in page
    assert "not complete</span>" in page
    assert "failed: its learner wrote no checkpoint &lt;here&gt;." in page
    assert "96 of 100" in page
    assert "5.0 min <small>(1 of 1 seeds)</small>" in page
    assert "not reached <small>(0 of 1 seeds)</small>" in page
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_runs_of_different_commits_are_not_compared_in_silence(tmp_path: Path) -> None:
    first, second, third, fourth = begin(tmp_path)
    for record, commit in [(first, "v1-3-gabc"), (second, "v1-3-gabc"), (third, "v1-4-gdef-dirty")]:
        complete(record)
        record.update(versions={"commit": commit})
    fourth.begin([0])  # not complete, so it is made again
    fourth.update(versions={"commit": "v0"})
    page = report.write(tmp_path).read_text()
    assert "different commits" in page
    assert "v1-3-gabc (2) and v1-4-gdef-dirty (1)." in page
    assert "had changes that no commit holds" in page
    third.update(versions={"commit": "v1-3-gabc"})
    page = report.write(tmp_path).read_text()
    assert "different commits" not in page
    assert "dirty" not in page
    third.update(evaluated_with=["v1-3-gabc", "v2"])
    assert "v1-3-gabc (3) and v2 (1)." in report.write(tmp_path).read_text()


def test_a_final_evaluation_of_an_old_checkpoint_is_not_compared_in_silence(tmp_path: Path) -> None:
    first, second, *_ = begin(tmp_path)
    complete(first)
    assert "What is called final" not in report.write(tmp_path).read_text()
    complete(second, rates=[(4.9, 0.5, 100)])
    page = report.write(tmp_path).read_text()
    assert "(sync C = 10, seed 0: minute 4.9 of 10)." in page


def test_a_run_whose_node_died_is_not_compared_in_silence(tmp_path: Path) -> None:
    first, *_ = begin(tmp_path)
    complete(first)
    assert "Nodes died" not in report.write(tmp_path).read_text()
    first.update(died={"learner": 2})
    assert "takes time (learner of async, seed 0: 2)." in report.write(tmp_path).read_text()


def test_no_two_of_many_methods_are_drawn_alike(tmp_path: Path) -> None:
    methods = [{"name": f"method {number}"} for number in range(12)]
    records = begin(tmp_path, methods=methods, seeds=[0])
    complete(records[0])
    drawn = [tuple(look(method).values()) for method in by_method(*read(tmp_path))]
    assert len(set(drawn)) == 12


def test_the_cores_on_the_page_are_the_run_s(tmp_path: Path) -> None:
    begin(tmp_path)[0].begin([3])
    assert "on 1 core of " in report.write(tmp_path).read_text()


def test_what_was_run_is_shown_although_its_nodes_have_lost_a_parameter(tmp_path: Path) -> None:
    begin(tmp_path)
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({**DEFINITION, "parameters": {"roller": {"gone": 1}}}))
    assert "gone=1" in report.write(tmp_path).read_text()


def test_before_any_run_is_complete_there_is_a_page(tmp_path: Path) -> None:
    begin(tmp_path)
    assert "0 of 4 runs" in report.write(tmp_path).read_text()


def test_a_run_of_another_definition_is_not_drawn(tmp_path: Path) -> None:
    complete(begin(tmp_path)[0])
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({**DEFINITION, "minutes": 20}))
    with pytest.raises(DefinitionError, match="seed_0 was made with another minutes than"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", ""),
        ("run.json", "[]"),
        ("run.json", "{}"),
        ("evaluations.csv", "1,2\n3,4\n"),
        ("learning_curve.csv", "minutes,episodes\n12"),
    ],
)
def test_a_damaged_run_is_one_sentence(tmp_path: Path, file: str, content: str) -> None:
    record = begin(tmp_path)[0]
    complete(record)
    (record.folder / file).write_text(content)
    with pytest.raises(DefinitionError, match="seed_0 is damaged: delete it to make the run again"):
        read(tmp_path)


def test_a_folder_that_is_no_experiment_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"holds no experiment\.yaml"):
        read(tmp_path)


def test_four_seeds_have_an_interval_and_three_the_lowest_and_the_highest(tmp_path: Path) -> None:
    methods = [{"name": "three", "seeds": [0, 1, 2]}, {"name": "four", "seeds": [0, 1, 2, 3]}]
    for record in begin(tmp_path, methods=methods):
        complete(record, rates=[(10.0, (0.2, 0.9, 0.7, 0.4)[record.definition.seed], 100)])
    page = report.write(tmp_path).read_text()
    assert "<td>60 % <small>(20 to 90)</small></td>" in page  # the mean of all three
    assert "<td>55 % <small>[20, 90]</small></td>" in page  # of the middle two, resampled
