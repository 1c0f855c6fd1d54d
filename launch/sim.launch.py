"""A simulated Ergo Jr learns to poke: simulator, roller, replay, learner and a line of progress."""

from launch.actions import OpaqueFunction

from ergojr_description import CONTROL_PERIOD
from launch import LaunchContext, LaunchDescription
from planet_bringup.launching import Run, arguments, robot_arguments


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(data_dir="~/.local/share/robo_planet/sim"),
            *robot_arguments(),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    run = Run(context)
    pace = run.number("real_time_factor", float)
    control = run.argument("control")
    run.begin(control=control, control_period=CONTROL_PERIOD)
    world = {"control": control, "real_time_factor": pace, **run.run_id, **run.seed}
    # In lockstep roller and simulator take turns all the time. At a pace of its own the robot
    # leaves time between the ticks, which is the learner's.
    paced = pace > 0.0 and run.argument("mode") == "async"
    share = run.training if paced else run.acting
    return [
        run.node("ergojr_sim", "sim_node", "sim", [world], cpus=share.cpus),
        *run.learning(yields=paced),
        *run.ending(),
    ]
