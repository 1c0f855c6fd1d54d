"""A checkpoint is whole or absent, and the newest whole one is found."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from planet_core.durable import DirectoryError
from planet_learner.checkpoint import KEPT, Checkpoints


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path)


def save(checkpoints: Checkpoints, update: int) -> Path:
    return checkpoints.save(
        update, {"weight": torch.full((1000,), float(update))}, {"update": update}
    )


def newest(checkpoints: Checkpoints) -> int | None:
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        return None
    assert (checkpoint.tensors["weight"] == checkpoint.values["update"]).all()
    return int(checkpoint.values["update"])


def test_the_last_few_are_kept_and_the_newest_is_found(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    for update in range(1, 7):
        save(checkpoints, update)
    assert len(list(tmp_path.glob("checkpoint_*"))) == KEPT
    checkpoints.close()
    again = Checkpoints(tmp_path)
    assert newest(again) == 6
    save(again, 6)  # the same update again, as after a restart without one
    assert newest(again) == 6


def test_there_is_none_at_first(checkpoints: Checkpoints) -> None:
    assert newest(checkpoints) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "other format"])
def test_a_corrupt_newest_one_is_set_aside_and_the_one_before_is_used(
    checkpoints: Checkpoints, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(checkpoints, 1)
    path = save(checkpoints, 2)
    data = path.read_bytes()
    if damage == "other format":
        path.unlink()
        from planet_core import durable

        path = durable.write(tmp_path, "checkpoint_000002_2", data.replace(b".1", b".9"))
    else:
        path.write_bytes(data[:-9] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    assert newest(checkpoints) == 1
    assert [p.name for p in (tmp_path / "corrupt").iterdir()] == [path.name]
    assert path.name in caplog.text


def test_a_full_disk_leaves_the_earlier_ones(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for update in range(1, 4):
        save(checkpoints, update)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(checkpoints, 4)
    monkeypatch.undo()
    assert newest(checkpoints) == 3
    assert len(list(tmp_path.glob("*checkpoint_*"))) == 3


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03])
def test_a_kill_in_the_middle_of_a_checkpoint_leaves_the_one_before(
    tmp_path: Path, after: float
) -> None:
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from planet_learner.checkpoint import Checkpoints\n"
        "c = Checkpoints(Path(sys.argv[1]))\n"
        "for i in range(1, 10**6):\n"
        "    c.save(i, {'weight': torch.full((10**6,), float(i))}, {'update': i})\n"
        "    c.next_version(); print(i, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    saved = [int(process.stdout.readline()) for _ in range(2)]
    time.sleep(after)
    process.kill()
    saved += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    again = Checkpoints(tmp_path)
    assert saved[-1] <= (newest(again) or 0) <= saved[-1] + 1
    assert again.version in (saved[-1], saved[-1] + 1)
    assert not list(tmp_path.glob(".checkpoint*"))


def test_a_run_keeps_its_id_and_its_version(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.next_version()
    checkpoints.next_version()
    checkpoints.close()
    again = Checkpoints(tmp_path)
    assert (again.run_id, again.version) == (checkpoints.run_id, 2)
    assert Checkpoints(tmp_path / "other").run_id != checkpoints.run_id


def test_a_damaged_run_file_is_one_sentence(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.close()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DirectoryError, match=r"run\.json is damaged; delete it"):
        Checkpoints(tmp_path)
