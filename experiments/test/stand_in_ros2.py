"""Leaves what `ros2 launch` would; $FAKE_LOG hears of each launch, $FAKE_FAIL names what fails."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def tell(**values: object) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        print(json.dumps(values), file=log)


def interrupted(*_: object) -> None:
    tell(file="interrupted")
    sys.exit(0)


def evaluate(data: Path, values: dict[str, str]) -> None:
    assert Path(values["checkpoint"]).exists()
    episodes = int(values["episodes"])
    result = {
        "episodes": episodes,
        "touched": episodes // 2,
        "touch_rate": 0.5,
        "return_mean": -1.5,
        "return_std": 0.5,
        "steps_to_touch_median": None,
    }
    (data / "evaluation.json").write_text(json.dumps(result))


def train(data: Path, values: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, interrupted)
    meaning = {"control": values.get("control", "torque")}
    (data / "meaning.json").write_text(json.dumps(meaning))
    metrics, checkpoints = data / "metrics", data / "checkpoints"
    metrics.mkdir()
    checkpoints.mkdir()
    now = time.time()
    (metrics / "episodes.csv").write_text(
        "sequence,id,wall_time,robot,policy,steps,return,touched,weights_version\n"
        f"1,a,{now},ergojr,random,50,-9,0,0\n2,b,{now},ergojr,planner,5,-0.5,1,1\n"
    )
    (metrics / "updates.csv").write_text(f"wall_time,update\n{now},10\n")
    (checkpoints / "checkpoint_000001_10.0abc.safetensors").write_text("one")
    end = now + 66 * float(values["minutes"])
    while not list((data.parent / "snapshots").iterdir()):  # until the first was put aside
        time.sleep(0.01)
    (checkpoints / "checkpoint_000002_20.0def.safetensors").write_text("two")
    time.sleep(max(0.0, end - time.time()))


def main() -> None:
    file = sys.argv[3]
    values = dict(argument.split(":=", 1) for argument in sys.argv[4:])
    data = Path(values["data_dir"])
    data.mkdir(parents=True, exist_ok=True)
    print(os.environ.get("FAKE_SAYS", ""))
    domain, cores = os.environ["ROS_DOMAIN_ID"], len(os.sched_getaffinity(0))
    tell(**{"file": file, "domain": domain, "cores": cores, **values})
    if os.environ.get("FAKE_FAIL") == file:
        sys.exit(int(os.environ.get("FAKE_CODE", "3")))
    if file == "evaluate.launch.py":
        evaluate(data, values)
    else:
        train(data, values)


if __name__ == "__main__":
    main()
