"""The limiter on trial: a powered arm, a table that holds nothing, and commands that mean ill.

    python -m ergojr_sim.limiter_trial --commands 10000

Each command is held for a tick (50 ms). Half of them go to each of two arms:

`torque`  the simulator's: efforts act as they are, the limiter sees the exact state at 120 Hz.
`servo`   the robot's: six XL-320 (`virtual_servo`), written to as the driver does: an effort as
          torque limit, goal 30 degrees ahead and speed cap. The limiter sees positions and speeds
          in the registers' resolution at 100 Hz, and what it says arrives one whole cycle late.

Every other time the arm starts out tired, that is with its sustained effort used up. Printed, for
every way to attack, is the worst over all cycles: how far a joint was beyond its range, the tip and
the lowest critical point below the plane of the table, and the tip outside of the sphere. It ends
with 1 if a joint was more than 1 degree or the tip more than 5 mm beyond.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from ergojr_description import kinematics
from ergojr_description.kinematics import ACTIVE_JOINTS, Array
from ergojr_description.limiter import Limiter
from ergojr_sim.trial_arms import ARMS, Arm, Worst
from ergojr_sim.trial_attacks import ATTACKS

EPISODE = 60  # commands from one start

_ACTIVE = list(ACTIVE_JOINTS)


def start_inside(random: np.random.Generator) -> Array:
    """[6] rad: a pose inside of the limits; m4 and m6 at zero."""
    limiter = Limiter()
    while True:
        position = np.zeros(6)
        position[_ACTIVE] = random.uniform(kinematics.JOINT_LOW, kinematics.JOINT_HIGH)[_ACTIVE]
        if not limiter.clear(position):
            return position


def attack(arm: Arm, name: str, commands: int, random: np.random.Generator) -> Worst:
    """The worst that `ATTACKS[name]` did to the arm."""
    arm.worst = Worst()
    for begin in range(0, commands, EPISODE):
        arm.start(start_inside(random))
        if begin // EPISODE % 2:
            arm.limiter.tire()
        command = ATTACKS[name](random)
        for tick in range(min(EPISODE, commands - begin)):
            arm.tick(command(*arm.state(), tick))
    return arm.worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=10_000, help="number of commands in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the attacks")
    options = parser.parse_args()
    share = -(-options.commands // (len(ARMS) * len(ATTACKS)))
    print(
        "arm     attack          joint/deg  tip below/mm  part below/mm  outside/mm  speed/(rad/s)"
    )
    tolerable = True
    for kind, make in ARMS.items():
        arm = make()
        everything = Worst()
        for number, name in enumerate(ATTACKS):
            random = np.random.default_rng((options.seed, number))
            worst = attack(arm, name, share, random)
            everything.add(worst)
            _print(kind, name, worst)
        _print(kind, "ALL", everything)
        tolerable = tolerable and everything.tolerable
        arm.close()
    return 0 if tolerable else 1


def _print(kind: str, name: str, worst: Worst) -> None:
    print(
        f"{kind:8}{name:16}{worst.joint:9.2f}{worst.tip_below:14.2f}{worst.part_below:15.2f}"
        f"{worst.tip_outside:12.2f}{worst.speed:15.2f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
