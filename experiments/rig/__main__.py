"""python -m experiments.rig faults|starts|cost|record|report --help"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.rig import learning
from experiments.rig.cost import cost


def main() -> None:
    parser = argparse.ArgumentParser("experiments.rig")
    commands = parser.add_subparsers(dest="command", required=True)
    faults = commands.add_parser("faults", help="try the fault table")
    faults.add_argument("--out", type=Path, required=True, help="folder for logs and faults.csv")
    faults.add_argument("--domain", type=int, default=42, help="first ROS domain to use")
    faults.add_argument("--only", default="", help="faults whose name holds this")
    faults.add_argument("arguments", nargs="*", help="of rig.launch.py, such as profile:=test")
    starts = commands.add_parser("starts", help="start the rig again and again, kill some")
    starts.add_argument("--out", type=Path, required=True, help="folder for data, logs, starts.csv")
    starts.add_argument("--count", type=int, default=200)
    starts.add_argument("--killed", type=int, default=50, help="how many end by SIGKILL")
    starts.add_argument("--domain", type=int, default=42, help="the ROS domain to use")
    starts.add_argument("--until", choices=["decision", "episode"], default="episode")
    starts.add_argument("arguments", nargs="*", default=["profile:=test"], help="of rig.launch.py")
    costs = commands.add_parser("cost", help="CPU of each process of a running launch")
    costs.add_argument("--launch", type=int, required=True, help="process id of `ros2 launch`")
    costs.add_argument("--seconds", type=float, default=60.0)
    record = commands.add_parser("record", help="write rewards beside the truth, until stopped")
    record.add_argument("--out", type=Path, required=True)
    report = commands.add_parser("report", help="draw a run")
    report.add_argument("--episodes", type=Path, required=True, help="metrics/episodes.csv")
    report.add_argument("--rewards", type=Path, required=True, help="what record wrote")
    report.add_argument("--out", type=Path, required=True, help="the picture")
    given = parser.parse_args()
    if given.command == "faults":
        from experiments.rig.faults import trials  # ROS is needed for these alone

        trials(given.out, given.domain, tuple(given.arguments), given.only)
    elif given.command == "starts":
        from experiments.rig.starts import starts as start_again

        arguments = tuple(given.arguments)
        start_again(given.out, given.count, given.killed, given.domain, given.until, arguments)
    elif given.command == "cost":
        print(cost(given.launch, given.seconds))
    elif given.command == "record":
        learning.record(given.out)
    else:
        print(learning.report(given.episodes, given.rewards, given.out))


if __name__ == "__main__":
    main()
