"""What the roller can be told, besides the planner."""

from __future__ import annotations

from dataclasses import dataclass

from planet_core.config import Config, setting
from planet_core.run_id import run_id_setting


@dataclass(frozen=True)
class RollerConfig(Config):
    """The roller's parameters, besides the planner's."""

    data_dir: str = setting(
        "~/.local/share/robo_planet/sim", "Where the spool lies, under spool/<robot>."
    )
    run_id: str = run_id_setting()
    mode: str = setting(
        "async",
        "async: nobody waits; sync: wait for weights trained on the last episode.",
        choices=("async", "sync"),
    )
    seed_episodes: int = setting(
        5, "S: training episodes in the replay before the planner acts.", low=0
    )
    action_repeat: int = setting(1, "R: ticks that one decision holds.", low=1)
    train_ratio: float = setting(
        0.0,
        "Smallest number of updates per decision in the replay, in async mode; the robot pauses "
        "between two episodes rather than outrun the learner. 0 never pauses.",
        low=0.0,
    )
    evaluation_interval: int = setting(
        0, "Every n-th planned episode is an evaluation; 0 = none is.", low=0
    )
    evaluation_seed: int = setting(
        1_000_000,
        "The n-th evaluation episode resets the robot with this seed plus n, from 0 on; "
        "those of training episodes are 10000000 or more.",
        low=0,
    )
    seed_action_holds: tuple[int, ...] = setting(
        (1,), "Random actions are held for a number of decisions out of these."
    )
    observation_timeout: float = setting(
        2.0, "Without an observation for so long an episode is given up (s).", low=0.1
    )
    max_invalid_rewards: int = setting(
        0,
        "An episode is given up after so many decisions in a row without a valid "
        "reward; 0 = never.",
        low=0,
    )
    reset_timeout: float = setting(120.0, "How long a reset may take (s).", low=0.1)
    patience: float = setting(
        60.0,
        "How long to wait for the replay's status at the start, and for the first "
        "weights, before a random episode is made (s).",
        low=0.0,
    )
    spool_capacity: int = setting(
        200, "Episodes that may wait for the replay before the robot pauses.", low=1
    )
    device: str = setting("cpu", "Where the planner runs: cpu, cuda...")
    threads: int = setting(1, "Threads of the planner.", low=1)
    seed: int = setting(0, "Makes actions, their noise and the starts reproducible.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seed_action_holds or min(self.seed_action_holds) < 1:
            raise ValueError(
                f"seed_action_holds is {list(self.seed_action_holds)}, expected whole numbers "
                "of at least 1"
            )
