"""The benchmarks' own machinery: what it times, and what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import peer
from benchmarks.learner import random_mirror
from benchmarks.planner import FULL, REAL_TIME
from benchmarks.timing import ROOT, Contestant, finish, table


def test_a_contestant_does_a_step_when_told_to_and_tells_its_time() -> None:
    arguments = {"who": "draw", "threads": 1, "cameras": 1}
    with Contestant("benchmarks.learner", arguments, threads=1) as one:
        one.warm_up(1)
        assert one.times == []
        seconds = [one.step() for _ in range(3)]
        assert one.times == seconds
        assert min(seconds) > 0
        found = one.milliseconds()
    assert found["minimum"] <= found["median"] <= found["p99"]
    assert found["minimum"] == pytest.approx(1e3 * min(seconds), abs=0.01)


def test_a_contestant_that_fails_is_an_error_and_not_a_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = {"who": "peer", "threads": 1, "peer": str(ROOT / "docs")}
    with (
        Contestant("benchmarks.learner", arguments, threads=1) as one,
        pytest.raises(RuntimeError, match="a contestant ended with 1"),
    ):
        one.step()
    assert "models" in capfd.readouterr().err


def test_a_folder_that_is_no_checkout_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    with pytest.raises(SystemExit, match=r"it lacks models\.py"):
        peer.check(tmp_path)


def test_the_peers_training_step_is_the_body_of_its_loop(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text(
        "before = 1\n"
        "for episode in range(3):\n"
        "    for s in tqdm(range(args.collect_interval)):\n"
        "        found.append(s0 + 1)\n"
        "    after = 2\n"
    )
    names = {"found": [], "s0": 41}
    exec(compile(peer._loop_body(path), str(path), "exec"), names)
    assert names["found"] == [42]
    assert "after" not in names
    path.write_text("pass")
    with pytest.raises(ValueError, match=r"no loop over args\.collect_interval"):
        peer._loop_body(path)


def test_the_full_search_is_the_papers_and_the_real_time_one_a_fraction_of_it() -> None:
    assert (FULL.horizon, FULL.iterations, FULL.candidates, FULL.elites) == (12, 10, 1000, 100)
    assert REAL_TIME.iterations * REAL_TIME.candidates < FULL.iterations * FULL.candidates / 10
    assert REAL_TIME.warm_start


def test_the_mirror_of_the_benchmark_holds_whole_episodes() -> None:
    mirror = random_mirror(1, episodes=2, steps=5)
    assert (mirror.episodes, mirror.steps) == (2, 12)


def test_the_result_is_one_json_object_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = table(["what", "ms"], [["ours", 1.25], ["theirs", 10]])
    assert text.splitlines() == [
        "| what   | ms  |",
        "|--------|-----|",
        "| ours   | 1.2 |",
        "| theirs | 10  |",
    ]
    finish({"ratios": {"th1": 4.5}}, text, tmp_path / "r.json")
    assert capsys.readouterr().out == text + "\n"
    assert json.loads((tmp_path / "r.json").read_text()) == {"ratios": {"th1": 4.5}}
    finish({"ratios": {}}, text, Path("-"))
    assert json.loads(capsys.readouterr().out) == {"ratios": {}}
    assert os.listdir(tmp_path) == ["r.json"]
