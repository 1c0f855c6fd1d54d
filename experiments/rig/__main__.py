"""The trials of the rig: python -m experiments.rig faults|starts|cost|record|report --help."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.rig import learning
from experiments.rig.cost import cost


def main() -> None:
    """Run the trial that the arguments name."""
    parser = argparse.ArgumentParser("experiments.rig")
    commands = parser.add_subparsers(dest="command", required=True)
    faults = commands.add_parser("faults", help="Make each fault of the table on a running rig.")
    faults.add_argument("--out", type=Path, required=True, help="Folder for logs and faults.csv.")
    faults.add_argument("--domain", type=int, default=42, help="First ROS domain that is used.")
    faults.add_argument("--only", default="", help="Make only faults whose name holds this text.")
    faults.add_argument(
        "arguments", nargs="*", help="Arguments of rig.launch.py, such as profile:=test."
    )
    starts = commands.add_parser("starts", help="Start the rig many times and kill some of them.")
    starts.add_argument(
        "--out", type=Path, required=True, help="Folder for data, logs and starts.csv."
    )
    starts.add_argument("--count", type=int, default=200, help="Number of starts.")
    starts.add_argument("--killed", type=int, default=50, help="Number of starts ended by SIGKILL.")
    starts.add_argument("--domain", type=int, default=42, help="ROS domain that is used.")
    starts.add_argument(
        "--until",
        choices=["decision", "episode"],
        default="episode",
        help="A start is ended after its first decision or its first stored episode.",
    )
    starts.add_argument(
        "arguments",
        nargs="*",
        default=["profile:=test"],
        help="Arguments of rig.launch.py (default: profile:=test).",
    )
    costs = commands.add_parser("cost", help="Measure the CPU time of each process of a launch.")
    costs.add_argument("--launch", type=int, required=True, help="Process id of `ros2 launch`.")
    costs.add_argument("--seconds", type=float, default=60.0, help="How long to measure, s.")
    record = commands.add_parser(
        "record", help="Write rewards beside the true distances until Ctrl-C."
    )
    record.add_argument("--out", type=Path, required=True, help="The CSV file to write.")
    report = commands.add_parser("report", help="Draw a recorded run.")
    report.add_argument(
        "--episodes", type=Path, required=True, help="metrics/episodes.csv of the run."
    )
    report.add_argument("--rewards", type=Path, required=True, help="CSV file written by record.")
    report.add_argument("--out", type=Path, required=True, help="The PNG file to write.")
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
