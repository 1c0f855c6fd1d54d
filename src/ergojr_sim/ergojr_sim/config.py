"""Configurations of the simulated robot and of the virtual hardware."""

from __future__ import annotations

from dataclasses import dataclass

from ergojr_description.kinematics import JOINT_NAMES
from ergojr_sim.world import CONTROLS
from planet_core.config import Config, setting
from planet_core.run_id import run_id_setting


@dataclass(frozen=True)
class SimConfig(Config):
    """Parameters of the simulated robot."""

    control: str = setting(
        "torque",
        "Kind of the commands: torque stands for efforts in N m, position for joint targets in rad "
        "as in the paper's simulator.",
        choices=CONTROLS,
    )
    real_time_factor: float = setting(
        0.0,
        "Simulated seconds per second; 0 is lockstep: the simulator waits for each command.",
        low=0.0,
        high=20.0,
    )
    run_id: str = run_id_setting()
    seed: int = setting(
        0, "Seed of the resets that come without one; -1 draws it at random.", low=-1
    )
    max_steps: int = setting(100, "Length of an episode in ticks of 50 ms.", low=1)
    image_size: int = setting(64, "Height and width of the images in pixels.", low=16, high=1024)
    cube_in_state: bool = setting(
        False,
        "Whether joint_states also holds the cube's position, as joints cube_x and cube_y in m, "
        "for models that learn without images; a real robot does not know it.",
    )
    max_observation_age: float = setting(
        0.5,
        "Greatest age in simulated seconds of the observation that a command may answer; the "
        "simulator ignores older commands. It has no effect in lockstep.",
        low=0.05,
    )
    publish_clock: bool = setting(
        True, "Whether to publish /clock, which one simulator of a graph may do at most."
    )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the joints in joint_states."""
        return (*JOINT_NAMES, *(("cube_x", "cube_y") if self.cube_in_state else ()))


@dataclass(frozen=True)
class RigConfig(Config):
    """Parameters of the virtual hardware."""

    port_link: str = setting(
        "/tmp/ergojr_port", "Path of the virtual serial port, a symbolic link to a pseudo-terminal."
    )
    front_http_port: int = setting(
        0, "HTTP port of the front camera; 0 takes any free port.", low=0, high=65535
    )
    side_http_port: int = setting(
        0, "HTTP port of the side camera; 0 takes any free port.", low=0, high=65535
    )
    width: int = setting(320, "Width of the cameras' pictures in pixels.", low=16, high=1920)
    height: int = setting(240, "Height of the cameras' pictures in pixels.", low=16, high=1080)
    fps: float = setting(30.0, "Pictures per second of each camera.", low=1, high=60)
    directions: tuple[float, ...] = setting(
        (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        "Direction of each servo, m1 to m6: 1.0 if the servo turns as its joint does, -1.0 if it "
        "turns the other way.",
    )
    seed: int = setting(0, "Seed of the noise on the servo bus.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.directions) != 6 or any(abs(sign) != 1.0 for sign in self.directions):
            raise ValueError(f"directions is {self.directions}, expected six times 1 or -1")
