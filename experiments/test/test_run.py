"""The runner, with a stand-in for `ros2` that writes the files that a launch would leave."""

from __future__ import annotations

import asyncio
import json
import os
import re
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

from experiments import processes, provenance, run, runner, tables
from experiments.definition import DefinitionError, load, slug
from experiments.parameters import DECLARED, NODES, parameters_of
from experiments.record import Record

ROS2 = '''#!{python}
"""Leaves what `ros2 launch` would; $FAKE_LOG hears of each launch, $FAKE_FAIL names what fails."""
import json, os, pathlib, signal, sys, time

file, values = sys.argv[3], dict(argument.split(":=", 1) for argument in sys.argv[4:])
data = pathlib.Path(values["data_dir"])
data.mkdir(parents=True, exist_ok=True)
print(os.environ.get("FAKE_SAYS", ""))
with open(os.environ["FAKE_LOG"], "a") as log:
    print(json.dumps({{"file": file, "domain": os.environ["ROS_DOMAIN_ID"],
                       "cores": len(os.sched_getaffinity(0)), **values}}), file=log)
if os.environ.get("FAKE_FAIL") == file:
    sys.exit(int(os.environ.get("FAKE_CODE", 3)))
if file == "evaluate.launch.py":
    assert pathlib.Path(values["checkpoint"]).exists()
    n = int(values["episodes"])
    (data / "evaluation.json").write_text(json.dumps(dict(
        episodes=n, touched=n // 2, touch_rate=0.5, return_mean=-1.5, return_std=0.5,
        steps_to_touch_median=None)))
    sys.exit(0)


def interrupted(*_):
    with open(os.environ["FAKE_LOG"], "a") as log:
        print(json.dumps({{"file": "interrupted"}}), file=log)
    sys.exit(0)


signal.signal(signal.SIGINT, interrupted)
(data / "control").write_text(values.get("control", "torque") + "\\n")
(data / "metrics").mkdir()
(data / "checkpoints").mkdir()
now = time.time()
(data / "metrics" / "episodes.csv").write_text(
    "sequence,id,wall_time,robot,policy,steps,return,touched,weights_version\\n"
    f"1,a,{{now}},ergojr,random,50,-9,0,0\\n2,b,{{now}},ergojr,planner,5,-0.5,1,1\\n")
(data / "metrics" / "updates.csv").write_text(f"wall_time,update\\n{{now}},10\\n")
(data / "checkpoints" / "checkpoint_000001_10.0abc.safetensors").write_text("one")

end = now + 66 * float(values["minutes"])
while not list((data.parent / "snapshots").iterdir()):  # until the runner has put the first aside
    time.sleep(0.01)
(data / "checkpoints" / "checkpoint_000002_20.0def.safetensors").write_text("two")
time.sleep(max(0.0, end - time.time()))
'''

DEFINITION: dict[str, Any] = {
    "title": "A comparison",
    "minutes": 0.02,
    "seeds": [0, 1],
    "evaluation": {"every": 0.005, "episodes": 4, "final_episodes": 6, "seed": 3_000_000},
    "launch": {"profile": "test"},
    "parameters": {"learner": {"batch_size": 4, "model": {"conv_depth": 2}}},
    "methods": [
        {"name": "async"},
        {
            "name": "sync C = 10",
            "launch": {"mode": "sync", "collect_interval": 10, "real_time_factor": 1.0},
            "parameters": {"learner": {"model": {"observation": "state"}}},
            "seeds": [1],
        },
    ],
}


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in first on PATH; return the file that tells its launches."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ros2").write_text(ROS2.format(python=sys.executable))
    (folder / "ros2").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "launches"))
    monkeypatch.setenv("ROS_DOMAIN_ID", "61")
    monkeypatch.setattr(runner, "_POLL", 0.05)
    monkeypatch.setattr(processes, "_CLAIM", f"\0test_{os.getpid()}_")  # whatever else runs here
    return tmp_path / "launches"


def told(launches: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in launches.read_text().splitlines()]


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "comparison.yaml"
    path.write_text(yaml.safe_dump({**DEFINITION, **changes}))
    return path


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # its parent is gone, and who inherits it may be slow to look


def only(name: str) -> list[dict[str, Any]]:
    return [{"name": name}]


# Definitions.


def test_runs_go_seed_by_seed_and_a_method_may_have_its_own(tmp_path: Path) -> None:
    experiment = load(written(tmp_path))
    names = [definition.folder for definition in experiment.runs]
    assert names == ["async/seed_0", "sync_c_10/seed_1", "async/seed_1"]
    sync = experiment.runs[1]
    assert sync.launch["profile"] == "test"
    assert sync.real_time_factor == 1.0
    assert sync.ros_parameters()["/learner"]["ros__parameters"] == {
        "checkpoint_seconds": 20.0,
        "batch_size": 4,
        "model": {"conv_depth": 2, "observation": "state"},
    }


SHIPPED = sorted(Path(__file__).resolve().parents[1].glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_definition_is_valid(path: Path) -> None:
    assert load(path).runs


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"minutes": 0}, "minutes is 0, expected a number above 0."),
        ({"seeds": [0, 0]}, "seeds names a seed twice."),
        ({"seeds": 3}, r"seeds must be a list of whole numbers, such as \[0, 1, 2\]."),
        ({"hours": 3}, "the file has an unknown hours, expected evaluation, "),
        ({"evaluation": {}}, "evaluation lacks every."),
        ({"launch": {"seed": 3}}, "launch.seed is for the runner to set."),
        ({"launch": {"speed": 3}}, "launch.speed is unknown, expected collect_interval, "),
        ({"launch": {"mode": "both"}}, "launch.mode is 'both', expected async or sync."),
        ({"launch": {"real_time_factor": -1}}, "is -1, expected a number of at least 0."),
        ({"parameters": {"camera": {}}}, "parameters.camera is no node, expected learner, "),
        ({"methods": [{"name": "a"}, {"name": "A"}]}, "two methods have the name 'A', or one like"),
        ({"methods": []}, "methods must be a list of at least one method."),
        ({"parallel": 0}, "parallel is 0, expected a whole number of at least 1."),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        load(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"parameters": {"learner": {"batchsize": 16}}},
            "parameters.learner.batchsize is no parameter of the learner, "
            "the nearest is batch_size.",
        ),
        (
            {"parameters": {"roller": {"planner": {"horison": 8}}}},
            "parameters.roller.planner.horison is no parameter of the roller, "
            "the nearest is planner.horizon.",
        ),
        (
            {"methods": [{"name": "a", "parameters": {"progress": {"periods": 1.0}}}]},
            "methods[0].parameters.progress.periods is no parameter of the progress, "
            "the nearest is period.",
        ),
    ],
)
def test_a_mistyped_parameter_is_not_run_without(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(DefinitionError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize(
    "path", sorted(provenance.PROFILES.glob("*.yaml")), ids=lambda path: path.stem
)
def test_no_parameter_of_a_profile_is_taken_for_a_mistake(path: Path, tmp_path: Path) -> None:
    profile = yaml.safe_load(path.read_text())
    for node, name in NODES.items():
        parameters = {node: profile.get(name, {}).get("ros__parameters", {})}
        load(written(tmp_path, parameters=parameters, methods=only("a")))


@pytest.mark.parametrize(
    ("node", "file"),
    [
        ("learner", "src/planet_learner/planet_learner/learner_node.py"),
        ("progress", "launch/planet_bringup/progress_node.py"),
        ("replay", "src/planet_replay/planet_replay/replay_node.py"),
        ("roller", "src/planet_roller/planet_roller/roller_node.py"),
        ("sim", "src/ergojr_sim/ergojr_sim/sim_node.py"),
    ],
)
def test_no_parameter_that_a_node_declares_is_forgotten(node: str, file: str) -> None:
    found = re.findall(r'declare\(self, (\w+)(?:, "(\w+)")?\)', Path(file).read_text())
    assert {(prefix, name) for name, prefix in found} == {
        (prefix, config.__name__) for prefix, config in DECLARED[node].items()
    }
    assert parameters_of(node)


def test_a_runner_takes_neither_memory_nor_time_for_pytorch_or_ros() -> None:
    imported = "import sys, experiments.run; print({'torch', 'rclpy', 'pybullet'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("title: [")
    with pytest.raises(DefinitionError, match=r"broken\.yaml is not YAML: "):
        load(path)


def test_a_method_s_folder_is_plain() -> None:
    assert (slug("sync C = 10"), slug("2x"), slug("images + state")) == (
        "sync_c_10",
        "2x",
        "images_state",
    )


# Runs.


def test_an_experiment_leaves_numbers_and_the_last_checkpoint(
    tmp_path: Path, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([str(written(tmp_path))]) == 0
    out = tmp_path / "comparison"
    folder = out / "sync_c_10" / "seed_1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml",
        "control",
        "evaluation.log",
        "evaluations.csv",
        "launch.log",
        "learning_curve.csv",
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


def test_what_is_complete_is_not_run_again(tmp_path: Path, launches: Path) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    assert run.main([str(path)]) == 0
    before = told(launches)
    path = written(tmp_path, methods=only("async"), seeds=[0, 1])
    assert run.main([str(path)]) == 0
    assert {launch["seed"] for launch in told(launches)[len(before) :]} == {"1", "3000000"}


def test_a_run_that_was_only_not_evaluated_is_not_trained_again(
    tmp_path: Path, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    assert run.main([str(path)]) == 0
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_a_run_that_fails_is_named_and_the_rest_goes_on(
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "sim.launch.py")
    assert run.main([str(written(tmp_path))]) == 1
    assert len(told(launches)) == 3
    said = capsys.readouterr().out
    assert "async, seed 0 failed: ros2 launch ended with exit code 3, see " in said
    assert "0 of 3 runs are complete" in said


def test_a_run_that_ends_early_does_not_count(
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "sim.launch.py")
    monkeypatch.setenv("FAKE_CODE", "0")
    assert run.main([str(written(tmp_path, methods=only("async"), seeds=[0], minutes=5))]) == 1
    assert "seed 0 failed: it ended after 0.0 of 5 minutes, see " in capsys.readouterr().out


def test_a_run_of_another_definition_is_not_mixed_in(
    tmp_path: Path, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([str(written(tmp_path, methods=only("async"), seeds=[0]))]) == 0
    with pytest.raises(SystemExit):
        run.main([str(written(tmp_path, methods=only("async"), minutes=0.01))])
    assert "seed_0 was made with another minutes: name another --out" in capsys.readouterr().err


def test_a_run_of_another_profile_is_not_mixed_in(
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    assert run.main([str(path)]) == 0
    profile = yaml.safe_load((provenance.PROFILES / "test.yaml").read_text())
    profile["/learner"]["ros__parameters"]["chunk_length"] += 1
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setattr(provenance, "PROFILES", tmp_path)
    with pytest.raises(SystemExit):
        run.main([str(path)])
    said = capsys.readouterr().err
    assert "seed_0 was made with another profile (launch/config/test.yaml): name another" in said


def test_a_run_from_before_profiles_were_stored_goes_on(tmp_path: Path, launches: Path) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    assert run.main([str(path)]) == 0
    file = tmp_path / "comparison" / "async" / "seed_0" / "run.json"
    values = json.loads(file.read_text())
    del values["profile"]
    file.write_text(json.dumps(values))
    assert run.main([str(path)]) == 0
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_the_folder_s_own_definition_goes_on_with_it(tmp_path: Path, launches: Path) -> None:
    assert run.main([str(written(tmp_path, methods=only("async"), seeds=[0]))]) == 0
    out = tmp_path / "comparison"
    assert run.main([str(out / "experiment.yaml"), "--out", str(out)]) == 0


def test_a_trained_run_without_its_checkpoints_fails_and_the_rest_goes_on(
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, methods=only("async"))
    monkeypatch.setenv("FAKE_FAIL", "evaluate.launch.py")
    assert run.main([str(path)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    shutil.rmtree(tmp_path / "comparison" / "async" / "seed_0" / "snapshots")
    assert run.main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "async, seed 0 failed: its checkpoints are gone from " in said
    assert "1 of 2 runs are complete" in said


def test_a_damaged_table_of_evaluations_is_one_sentence_before_anything_starts(
    tmp_path: Path, launches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    assert run.main([str(path)]) == 0
    table = tmp_path / "comparison" / "async" / "seed_0" / "evaluations.csv"
    whole = table.read_text()
    for damaged in (whole.partition("\n")[2], whole[: whole.rindex(",")]):  # no header, half a row
        table.write_text(damaged)
        with pytest.raises(SystemExit):
            run.main([str(path)])
        assert f"{table} is damaged: delete it to evaluate" in capsys.readouterr().err
    assert [launch["file"] for launch in told(launches)].count("sim.launch.py") == 1


def test_an_evaluation_whose_row_was_cut_is_made_again(tmp_path: Path, launches: Path) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
    assert run.main([str(path)]) == 0
    record = Record(load(path).runs[0], tmp_path / "comparison")
    updates = [row["update"] for row in record.evaluated()]
    whole = record.evaluations.read_text()
    record.update(state="trained")  # as when the power went off while the row was written
    record.evaluations.write_text(whole[: whole.rindex(",")])
    assert run.main([str(path)]) == 0
    assert [row["update"] for row in record.evaluated()] == updates


def test_a_run_that_is_evaluated_again_has_forgotten_its_failure(
    tmp_path: Path, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
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
    tmp_path: Path, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, methods=only("async"), seeds=[0])
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
    tmp_path: Path, launches: Path
) -> None:
    methods = [{"name": "async", "launch": {"control": "position"}}]
    assert run.main([str(written(tmp_path, methods=methods, seeds=[0]))]) == 0
    folder = tmp_path / "comparison" / "async" / "seed_0"
    [checkpoint] = (folder / "snapshots").iterdir()
    # Where evaluate.launch.py looks.
    assert (checkpoint.parent.parent / "control").read_text() == "position\n"


def test_a_run_that_begins_anew_has_forgotten_its_failure(tmp_path: Path) -> None:
    record = Record(load(written(tmp_path)).runs[0], tmp_path / "comparison")
    record.begin([0])
    record.update(error="its learner wrote no checkpoint.")
    record.begin([0])
    assert "error" not in json.loads((record.folder / "run.json").read_text())


def test_runs_at_once_share_the_cores_and_have_domains_of_their_own(
    tmp_path: Path, launches: Path
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core")
    path = written(tmp_path, methods=only("async"), parallel=2)
    assert run.main([str(path)]) == 0
    trained = [launch for launch in told(launches) if launch["file"] == "sim.launch.py"]
    assert {launch["domain"] for launch in trained} == {"61", "62"}
    half = len(os.sched_getaffinity(0)) // 2
    assert {launch["cores"] for launch in trained} == {half}
    for file in tmp_path.glob("comparison/async/seed_*/run.json"):
        assert json.loads(file.read_text())["machine"]["cores"] == half


def test_two_runners_at_once_do_not_share_a_domain(
    tmp_path: Path, launches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as first, ExitStack() as second:
        taken = processes.claimed(61, 2, first)
        assert not set(taken) & set(processes.claimed(61, 2, second))
        path = written(tmp_path, methods=only("async"), seeds=[0])
        assert run.main([str(path)]) == 0
        assert int(told(launches)[0]["domain"]) not in taken
    monkeypatch.setenv("ROS_DOMAIN_ID", "mine")
    with pytest.raises(SystemExit):
        run.main([str(path)])


def test_domains_that_are_all_taken_are_one_sentence() -> None:
    with ExitStack() as held:
        processes.claimed(processes.LAST_DOMAIN - 1, 1, held)
        with pytest.raises(
            DefinitionError, match=f"free ROS domains from {processes.LAST_DOMAIN - 1} "
        ):
            processes.claimed(processes.LAST_DOMAIN - 1, 2, held)


def test_a_node_that_died_in_training_is_counted(
    tmp_path: Path,
    launches: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(
        "FAKE_SAYS", "[ERROR] [learner-3]: process has died [pid 7, exit code -9, cmd 'learner']."
    )
    assert run.main([str(written(tmp_path, methods=only("async"), seeds=[0]))]) == 0
    assert "; deaths of its learner: 1" in capsys.readouterr().out
    values = json.loads((tmp_path / "comparison" / "async" / "seed_0" / "run.json").read_text())
    assert values["died"] == {"learner": 1}


def test_ctrl_c_stops_the_launch_and_says_how_to_go_on(tmp_path: Path, launches: Path) -> None:
    path = written(tmp_path, minutes=5, methods=only("async"), seeds=[0])
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


def test_a_runner_that_is_killed_leaves_no_launch_behind(tmp_path: Path, launches: Path) -> None:
    path = written(tmp_path, minutes=5, methods=only("async"), seeds=[0])
    runner = subprocess.Popen([sys.executable, "-m", "experiments.run", str(path)])
    wait_until(lambda: any(tmp_path.glob("comparison/async/seed_0/data/checkpoints/*")))
    runner.kill()
    runner.wait()
    wait_until(lambda: told(launches)[-1] == {"file": "interrupted"})


def test_nodes_do_not_survive_a_launch_that_was_killed(tmp_path: Path) -> None:
    node = "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(300)"
    launch = (
        "import os, signal, subprocess, sys\n"
        f"print(subprocess.Popen([sys.executable, '-c', {node!r}]).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    slot = processes.Slot(tuple(sorted(os.sched_getaffinity(0))), 61)

    async def make() -> None:
        command = [sys.executable, "-c", launch]
        async with processes.launched(command, tmp_path / "log", slot) as process:
            await process.wait()

    asyncio.run(make())
    pid = int((tmp_path / "log").read_text().split()[-1])
    wait_until(lambda: is_gone(pid))
