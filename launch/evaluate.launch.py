"""A trained model plays, and learns nothing: touches, returns and a video of what it imagines.

`data_dir` is given evaluation.csv, evaluation.json, video.webm, and weights.safetensors, which is
the checkpoint made small; those of an earlier evaluation go at the start. The launch ends by
itself, with 0 when all episodes were made.
"""

import atexit
import json
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from launch import LaunchContext, LaunchDescription
from planet_bringup.launching import Run, arguments, robot_arguments

RESULTS = ("evaluation.json", "evaluation.csv", "video.webm", "weights.safetensors")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(
                data_dir="~/.local/share/robo_planet/evaluation", seed="2000000", learning=False
            ),
            DeclareLaunchArgument(
                "checkpoint",
                default_value="",
                description="data_dir of a training run, one of its checkpoints, or a "
                "weights.safetensors; empty: the one that comes with this package.",
            ),
            DeclareLaunchArgument(
                "episodes",
                default_value="100",
                description="Episodes; the n-th, from 0, resets the simulator with seed + n.",
            ),
            DeclareLaunchArgument(
                "video",
                default_value="true",
                choices=["true", "false"],
                description="Whether to write half a minute of video.",
            ),
            *robot_arguments(),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    run = Run(
        context,
        essential=["evaluator"],
        ends=["evaluator"],
        learning=False,
        log_level="warn",  # it is the evaluator that tells how it goes
    )
    pace = {"real_time_factor": run.number("real_time_factor", float)}
    shipped = run.config.parent / "demo" / "poke.safetensors"
    checkpoint = run.path("checkpoint") if run.argument("checkpoint") else shipped
    evaluation = {
        "data_dir": str(run.data_dir),
        "checkpoint": str(checkpoint),
        "episodes": run.number("episodes", int),
        "video": run.argument("video") == "true",
        **run.run_id,
        **run.seed,
        **pace,
    }
    if not checkpoint.exists():
        raise RuntimeError(f"there is no checkpoint {checkpoint}.")
    control = run.argument("control")
    if checkpoint.is_dir():
        run.check(checkpoint, control=control)
    elif checkpoint.parent.name in ("checkpoints", "snapshots"):  # of a run, of an experiment
        run.check(checkpoint.parent.parent, control=control)
    clear(run.data_dir, checkpoint)
    atexit.register(last_word, run.data_dir / "evaluation.json")
    world = {"control": control, **run.run_id, **run.seed, **pace}
    in_real_time = pace["real_time_factor"] > 0.0  # acting has cores of its own then
    return [
        run.node("ergojr_sim", "sim_node", "sim", [world], cpus=run.training.cpus),
        run.roller(seed_episodes=0, evaluation_interval=1, evaluation_seed=run.seed["seed"]),
        run.replay(run.training.cpus),
        run.node(
            "planet_learner",
            "evaluator_node",
            "evaluator",
            [evaluation],
            cpus=run.training.cpus,
            threads=run.training.threads if in_real_time else run.machine.budget,
            again=False,
        ),
        *run.ending(),
    ]


def clear(data_dir: Path, checkpoint: Path) -> None:
    """Delete an earlier evaluation's results, all but a model that is the one to evaluate."""
    for path in (data_dir / name for name in RESULTS):
        if path.exists() and not (checkpoint.exists() and path.samefile(checkpoint)):
            path.unlink()


def last_word(result: Path) -> None:
    """Print what was found after all that the launch has to say of its own end."""
    if result.exists():
        found = json.loads(result.read_text())
        touched, episodes = found["touched"], found["episodes"]
        print(f"touched {touched} of {episodes} episodes ({100 * touched / episodes:.0f} %)")
