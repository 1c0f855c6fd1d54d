"""The figures of the rig must be the run's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.rig.learning import report

HEADER = "sequence,id,wall_time,robot,policy,steps,return,touched,weights_version\n"


def test_the_report_compares_random_with_the_last_planned_episodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{n},e{n},{n}.0,ergojr,random,50,{-10 + rng.normal():.3f},0,0" for n in range(40)]
    lines += [f"{n},e{n},{n}.0,ergojr,planner,9,{-4 + rng.normal():.3f},1,3" for n in range(40, 90)]
    (tmp_path / "episodes.csv").write_text(HEADER + "\n".join(lines) + "\n")
    distance = np.linspace(0.02, 0.3, 100)
    rows = "".join(f"{n},{2 * d},{d},0,0\n" for n, d in enumerate(distance))
    (tmp_path / "rewards.csv").write_text(
        "stamp,pixel_distance,distance,pixel_touched,touched\n" + rows
    )
    text = report(tmp_path / "episodes.csv", tmp_path / "rewards.csv", tmp_path / "rig.png")
    assert "random: 40 episodes" in text
    assert "last 40 planned: 40 episodes" in text
    assert "touched 40 (100%)" in text
    assert "rank correlation of reward and true distance: 1.000 over 100 steps" in text
    assert (tmp_path / "rig.png").stat().st_size > 10_000
