"""A simulated Ergo Jr learns to poke: simulator, roller, replay, learner and a line of progress."""

import os
import tempfile
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

ROBOT = "ergojr"
MISCONFIGURED = 2  # exit code of a node that another start would not help

# Tensors freed and allocated again every update stay with the process: returning them to the
# system costs a learner almost half of its time in page faults.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "profile",
                default_value="laptop",
                choices=["laptop", "paper", "test"],
                description="Sizes and budgets: config/<profile>.yaml.",
            ),
            DeclareLaunchArgument(
                "mode",
                default_value="async",
                choices=["async", "sync"],
                description="async: acting and training at once (Robo-PlaNet); "
                "sync: in turn (PlaNet).",
            ),
            DeclareLaunchArgument(
                "collect_interval",
                default_value="100",
                description="Updates per episode in sync mode (C of PlaNet).",
            ),
            DeclareLaunchArgument(
                "minutes",
                default_value="0",
                description="Stop after this many minutes; 0 runs until stopped.",
            ),
            DeclareLaunchArgument(
                "data_dir",
                default_value="~/.local/share/robo_planet/sim",
                description="Episodes, checkpoints and metrics; a run goes on where it stopped.",
            ),
            DeclareLaunchArgument(
                "seed", default_value="0", description="Seed of simulator, roller and learner."
            ),
            DeclareLaunchArgument(
                "real_time_factor",
                default_value="0.0",
                description="Simulated seconds per second; 0 is lockstep, as fast as it goes.",
            ),
            DeclareLaunchArgument(
                "control",
                default_value="torque",
                choices=["torque", "position"],
                description="torque: the robot's; position: the paper's environment.",
            ),
            DeclareLaunchArgument(
                "roller_device", default_value="cpu", description="Where the roller plans."
            ),
            DeclareLaunchArgument(
                "learner_device", default_value="cpu", description="Where the learner trains."
            ),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    data_dir = prepare(Path(argument("data_dir")).expanduser())
    mode = argument("mode")
    seed = number("seed", argument("seed"), int)
    minutes = number("minutes", argument("minutes"), float)
    share = Path(FindPackageShare("planet_bringup").perform(context))
    profile = str(share / "config" / f"{argument('profile')}.yaml")
    acting, training = split_cores(mode)

    def node(package: str, executable: str, name: str, cores: list[int], **options) -> Node:
        parameters = [profile, *options.pop("parameters", [])]
        environment = {**MALLOC, "OMP_NUM_THREADS": str(len(cores))}
        return Node(
            package=package,
            executable=executable,
            name=name,
            exec_name=name,
            parameters=parameters,
            additional_env=environment,
            prefix=f"taskset --cpu-list {','.join(map(str, cores))}",
            output="screen",
            **options,
        )

    again = {"respawn": True, "respawn_delay": 1.0}
    actions = [
        node(
            "ergojr_sim",
            "sim_node",
            "sim",
            acting,
            namespace=ROBOT,
            parameters=[
                {
                    "control": argument("control"),
                    "real_time_factor": number(
                        "real_time_factor", argument("real_time_factor"), float
                    ),
                    "seed": seed,
                }
            ],
            **again,
        ),
        node(
            "planet_roller",
            "roller_node",
            "roller",
            acting,
            namespace=ROBOT,
            parameters=[
                {
                    "data_dir": str(data_dir),
                    "mode": mode,
                    "seed": seed,
                    "device": argument("roller_device"),
                    "threads": len(acting),
                }
            ],
            **again,
        ),
        node(
            "planet_replay",
            "replay_node",
            "replay",
            acting,
            parameters=[{"data_dir": str(data_dir)}],
            **again,
        ),
        node(
            "planet_learner",
            "learner_node",
            "learner",
            training,
            parameters=[
                {
                    "data_dir": str(data_dir),
                    "mode": mode,
                    "collect_interval": number(
                        "collect_interval", argument("collect_interval"), int
                    ),
                    "seed": seed,
                    "device": argument("learner_device"),
                    "threads": len(training),
                }
            ],
            **again,
        ),
        node("planet_bringup", "progress_node", "progress", acting, namespace=ROBOT, **again),
        RegisterEventHandler(OnProcessExit(on_exit=stop_if_misconfigured)),
    ]
    if minutes > 0:
        reason = f"{minutes:g} minutes are over"
        actions.append(
            TimerAction(
                period=minutes * 60, actions=[Shutdown(reason=reason)], cancel_on_shutdown=True
            )
        )
    return actions


def stop_if_misconfigured(event: ProcessExited, context: LaunchContext) -> None:
    """Stop everything when a node says that starting it again would not help."""
    if event.returncode == MISCONFIGURED and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} cannot start as it is configured: see its error.")


def number(name: str, text: str, kind: type) -> int | float:
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise RuntimeError(f"{name} is '{text}', but must be {expected}.") from None


def prepare(data_dir: Path) -> Path:
    """Make the data directory, and see now rather than after an hour whether it can be written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        os.listdir(data_dir)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise RuntimeError(
            f"data_dir {data_dir} cannot be used ({error.strerror}): "
            "name one that can be read and written."
        ) from None
    return data_dir


def split_cores(mode: str) -> tuple[list[int], list[int]]:
    """Return the cores for acting and for training.

    In async mode they are kept apart: sharing them makes a plan four times as slow. In sync mode
    one waits for the other, and each has them all.
    """
    cores = sorted(os.sched_getaffinity(0))
    if mode == "sync" or len(cores) == 1:
        return cores, cores
    acting = max(1, len(cores) // 4)
    return cores[:acting], cores[acting:]
