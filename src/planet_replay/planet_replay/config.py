"""What the replay can be told."""

from __future__ import annotations

from dataclasses import dataclass

from planet_core.config import Config, setting
from planet_core.run_id import run_id_setting


@dataclass(frozen=True)
class ReplayConfig(Config):
    """What the replay node can be told."""

    data_dir: str = setting(
        "~/.local/share/robo_planet/sim", "Directory under which episodes/ and metrics/ are kept."
    )
    run_id: str = run_id_setting()
    capacity_steps: int = setting(
        200_000, "Observations kept, over all episodes (T + 1 each); the oldest episodes go.", low=1
    )
