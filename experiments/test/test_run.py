"""The runner, with a stand-in for `ros2` that writes the files that a launch would leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import processes, provenance, run, tables
from experiments.definition import load
from experiments.record import Record

Write = Callable[..., Path]
ALONE: dict[str, Any] = {"methods": [{"name": "async"}], "seeds": [0]}
"""Changes of the definition: one run."""


def told(launches: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in launches.read_text().splitlines()]


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_experiment_leaves_numbers_and_the_last_checkpoint(
    write: Write, tmp_path: Path, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([str(write())]) == 0
    out = tmp_path / "comparison"
    folder = out / "sync_c_10" / "seed_1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml",
        "evaluation.log",
        "evaluations.csv",
        "launch.log",
        "learning_curve.csv",
        "meaning.json",
        "run.json",
        "snapshots",
    ]
    assert [path.name for path in (folder / "snapshots").iterdir()] == [
        "checkpoint_000002_20.0def.safetensors"
    ]
    values = json.loads((folder / "run.json").read_text())
    assert values["state"] == "complete"
    assert values["decision_seconds"] == pytest.approx(0.1)
    made = [
        (row["update"], row["episodes"], row["real_time_factor"])
        for row in tables.read(folder / "evaluations.csv")
    ]
    assert made == [("10", "4", "0"), ("20", "6", "0"), ("20", "6", "1")]
    [last] = (folder / "snapshots").iterdir()
    minutes = (last.stat().st_mtime - values["started"]) / 60
    noted = float(tables.read(folder / "evaluations.csv")[-1]["minutes"])
    assert noted == pytest.approx(minutes, abs=1e-3)
    assert "sync C = 10, seed 1: touched 3 of 6 episodes" in capsys.readouterr().out
    first = told(launches)[0]
    assert (first["file"], first["profile"], first["minutes"], first["domain"]) == (
        "sim.launch.py",
        "test",
        "0.02",
        "61",
    )
    evaluation = told(launches)[1]
    assert (evaluation["seed"], evaluation["video"]) == ("3000000", "false")
    assert "mode" not in evaluation


def test_what_is_complete_is_not_run_again(write: Write, launches: Path) -> None:
    path = write(**ALONE)
    assert run.main([str(path)]) == 0
    before = told(launches)
    path = write(methods=[{"name": "async"}], seeds=[0, 1])
    assert run.main([str(path)]) == 0
    assert {launch["seed"] for launch in told(launches)[len(before) :]} == {"1", "3000000"}


def test_a_run_that_was_only_not_evaluated_is_not_trained_again(
    write: Write, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(**ALONE)
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    assert run.main([str(path)]) == 0
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_a_run_that_fails_is_named_and_the_rest_goes_on(
    write: Write,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "sim.launch.py")
    assert run.main([str(write())]) == 1
    assert len(told(launches)) == 3
    said = capsys.readouterr().out
    assert "async, seed 0 failed: ros2 launch ended with exit code 3, see " in said
    assert "0 of 3 runs are complete" in said


def test_a_run_that_ends_early_does_not_count(
    write: Write,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "sim.launch.py")
    monkeypatch.setenv("FAKE_CODE", "0")
    assert run.main([str(write(**ALONE, minutes=5))]) == 1
    assert "seed 0 failed: it ended after 0.0 of 5 minutes, see " in capsys.readouterr().out


def test_a_run_of_another_definition_is_not_mixed_in(
    write: Write, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([str(write(**ALONE))]) == 0
    with pytest.raises(SystemExit):
        run.main([str(write(methods=[{"name": "async"}], minutes=0.01))])
    assert "seed_0 was made with another minutes: name another --out" in capsys.readouterr().err


def test_a_run_of_another_profile_is_not_mixed_in(
    write: Write,
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(**ALONE)
    assert run.main([str(path)]) == 0
    profile = yaml.safe_load((provenance.PROFILES / "test.yaml").read_text())
    profile["/learner"]["ros__parameters"]["chunk_length"] += 1
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setattr(provenance, "PROFILES", tmp_path)
    with pytest.raises(SystemExit):
        run.main([str(path)])
    said = capsys.readouterr().err
    assert "seed_0 was made with another profile (launch/config/test.yaml): name another" in said


def test_a_run_from_before_profiles_were_stored_goes_on(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    path = write(**ALONE)
    assert run.main([str(path)]) == 0
    file = tmp_path / "comparison" / "async" / "seed_0" / "run.json"
    values = json.loads(file.read_text())
    del values["profile"]
    file.write_text(json.dumps(values))
    assert run.main([str(path)]) == 0
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_the_folder_s_own_definition_goes_on_with_it(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    assert run.main([str(write(**ALONE))]) == 0
    out = tmp_path / "comparison"
    assert run.main([str(out / "experiment.yaml"), "--out", str(out)]) == 0


def test_a_trained_run_without_its_checkpoints_fails_and_the_rest_goes_on(
    write: Write,
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(methods=[{"name": "async"}])
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    shutil.rmtree(tmp_path / "comparison" / "async" / "seed_0" / "snapshots")
    assert run.main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "async, seed 0 failed: its checkpoints are gone from " in said
    assert "1 of 2 runs are complete" in said


def test_a_damaged_table_of_evaluations_is_one_sentence_before_anything_starts(
    write: Write, tmp_path: Path, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(**ALONE)
    assert run.main([str(path)]) == 0
    table = tmp_path / "comparison" / "async" / "seed_0" / "evaluations.csv"
    whole = table.read_text()
    for damaged in (whole.partition("\n")[2], whole[: whole.rindex(",")]):  # no header, half a row
        table.write_text(damaged)
        with pytest.raises(SystemExit):
            run.main([str(path)])
        assert f"{table} is damaged: delete it to evaluate" in capsys.readouterr().err
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_an_evaluation_whose_row_was_cut_is_made_again(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    path = write(**ALONE)
    assert run.main([str(path)]) == 0
    record = Record(load(path).runs[0], tmp_path / "comparison")
    updates = [row["update"] for row in record.evaluated()]
    whole = record.evaluations.read_text()
    record.update(state="trained")  # as when the power went off while the row was written
    record.evaluations.write_text(whole[: whole.rindex(",")])
    assert run.main([str(path)]) == 0
    assert [row["update"] for row in record.evaluated()] == updates


def test_a_run_that_is_evaluated_again_has_forgotten_its_failure(
    write: Write, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(**ALONE)
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    errors: list[str] = []
    add = Record.add

    def seen(record: Record, evaluation: dict[str, Any]) -> None:
        errors.append(record.values["error"])
        add(record, evaluation)

    monkeypatch.setattr(Record, "add", seen)
    assert run.main([str(path)]) == 0
    assert errors[0] == ""


def test_the_commits_that_evaluated_a_run_are_kept(
    write: Write, tmp_path: Path, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(**ALONE)
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    monkeypatch.setattr(provenance, "versions", lambda: {"commit": "abc"})
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    monkeypatch.setattr(provenance, "versions", lambda: {"commit": "def"})
    assert run.main([str(path)]) == 0
    values = json.loads((tmp_path / "comparison" / "async" / "seed_0" / "run.json").read_text())
    assert values["versions"]["commit"] == "abc"
    assert values["evaluated_with"] == ["abc", "def"]


def test_a_kept_checkpoint_s_run_says_how_the_robot_was_commanded(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    methods = [{"name": "async", "launch": {"control": "position"}}]
    assert run.main([str(write(methods=methods, seeds=[0]))]) == 0
    folder = tmp_path / "comparison" / "async" / "seed_0"
    [checkpoint] = (folder / "snapshots").iterdir()
    # Where evaluate.launch.py looks.
    meaning = json.loads((checkpoint.parent.parent / "meaning.json").read_text())
    assert meaning == {"control": "position"}


def test_a_run_that_begins_anew_has_forgotten_its_failure(write: Write, tmp_path: Path) -> None:
    record = Record(load(write()).runs[0], tmp_path / "comparison")
    record.begin([0])
    record.update(error="its learner wrote no checkpoint.")
    record.begin([0])
    assert "error" not in json.loads((record.folder / "run.json").read_text())


def test_runs_at_once_share_the_cores_and_have_domains_of_their_own(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core")
    path = write(methods=[{"name": "async"}], parallel=2)
    assert run.main([str(path)]) == 0
    trained = [launch for launch in told(launches) if launch["file"] == "sim.launch.py"]
    assert {launch["domain"] for launch in trained} == {"61", "62"}
    half = len(os.sched_getaffinity(0)) // 2
    assert {launch["cores"] for launch in trained} == {half}
    for file in tmp_path.glob("comparison/async/seed_*/run.json"):
        assert json.loads(file.read_text())["machine"]["cores"] == half


def test_two_runners_at_once_do_not_share_a_domain(
    write: Write, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as first, ExitStack() as second:
        taken = processes.claimed(61, 2, first)
        assert not set(taken) & set(processes.claimed(61, 2, second))
        path = write(**ALONE)
        assert run.main([str(path)]) == 0
        assert int(told(launches)[0]["domain"]) not in taken
    monkeypatch.setenv("ROS_DOMAIN_ID", "mine")
    with pytest.raises(SystemExit):
        run.main([str(path)])


def test_a_node_that_died_in_training_is_counted(
    write: Write,
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(
        "FAKE_SAYS", "[ERROR] [learner-3]: process has died [pid 7, exit code -9, cmd 'learner']."
    )
    assert run.main([str(write(**ALONE))]) == 0
    assert "; deaths of its learner: 1" in capsys.readouterr().out
    values = json.loads((tmp_path / "comparison" / "async" / "seed_0" / "run.json").read_text())
    assert values["died"] == {"learner": 1}


def test_ctrl_c_stops_the_launch_and_says_how_to_go_on(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    path = write(minutes=5, **ALONE)
    runner = subprocess.Popen(
        [sys.executable, "-m", "experiments.run", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(tmp_path.glob("comparison/async/seed_0/data/checkpoints/*")))
    runner.send_signal(signal.SIGINT)
    said, _ = runner.communicate(timeout=20)
    assert runner.returncode == 130
    assert "Stopped: 0 of 1 runs are complete. To go on:" in said
    assert [launch["file"] for launch in told(launches)] == ["sim.launch.py", "interrupted"]


def test_a_runner_that_is_killed_leaves_no_launch_behind(
    write: Write, tmp_path: Path, launches: Path
) -> None:
    path = write(minutes=5, **ALONE)
    runner = subprocess.Popen([sys.executable, "-m", "experiments.run", str(path)])
    wait_until(lambda: any(tmp_path.glob("comparison/async/seed_0/data/checkpoints/*")))
    runner.kill()
    runner.wait()
    wait_until(lambda: told(launches)[-1] == {"file": "interrupted"})
