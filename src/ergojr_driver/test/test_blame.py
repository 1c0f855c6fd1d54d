"""Whose fault a watchdog's bite was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ergojr_driver.blame import Blame, ProcessorWaits

COMMAND = "no joint_command for 130 ms"
IMAGE = "the newest joint_command answers an image of 150 ms ago"
READING = "m5 silent: no complete reading for 110 ms"
RATE = "bus errors: 37 % of the motors' answers are lost"
MS = 1_000_000


class Computer:
    """A /proc with a launch (1), a camera node (5), a learner of low priority (3), and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 1000.0
        self.add(1, "python\0launch", "3 5 ")
        self.add(5, "python\0-m\0camera\0-r\0__node:=camera_front", "")
        self.add(3, "python\0learner_node", "", nice=15)
        self.machine = ProcessorWaits(1, folder)
        self.blame = Blame(
            ("camera_front", "camera_side"),
            self.machine,
            lambda: self.time,
            lambda: round(self.time * 1e9),
        )
        self.machine.look()

    def add(self, pid: int, words: str, children: str, nice: int = 0) -> None:
        task = self.folder / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (task / "children").write_text(children)
        (task.parent.parent / "cmdline").write_text(words)
        (task.parent.parent / "stat").write_text(f"{pid} (a b) S " + "0 " * 15 + f"{nice} 0")
        self.wait(pid, 0)

    def wait(self, pid: int, milliseconds: int) -> None:
        """The process' thread has waited so long for a processor so far."""
        path = self.folder / str(pid) / "task" / str(pid) / "schedstat"
        with path.open("w") as file:  # the same file: it is kept open
            file.write(f"5 {milliseconds * MS} 7\n")

    def images(self, front: float, side: float) -> None:
        """The cameras' newest images are so old, s."""
        for camera, age in (("camera_front", front), ("camera_side", side)):
            self.blame.on_image(camera, round((self.time - age) * 1e9))

    def explain(self, cause: str) -> str:
        """The sentence about a cause that is found now."""
        return self.blame.explain(cause, round(self.time * 1e9))


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


@pytest.mark.parametrize("cause", [COMMAND, IMAGE, READING])
def test_a_process_that_got_no_processor_is_named(computer: Computer, cause: str) -> None:
    computer.images(0.02, 0.3)
    computer.wait(5, 130)
    said = computer.explain(cause)
    assert said == (
        f"{cause}: this computer is too busy, camera_front waited 130 ms for a processor"
    )


def test_a_short_wait_is_told_of_the_one_that_is_late_and_of_no_other(computer: Computer) -> None:
    computer.wait(5, 60)
    computer.images(0.25, 0.02)
    assert "camera_front waited 60 ms" in computer.explain(IMAGE)
    computer.time += 0.25
    computer.images(0.02, 0.27)
    assert computer.explain(IMAGE) == f"{IMAGE}: camera_side has sent no image for 270 ms"


def test_what_came_when_it_was_too_late_does_not_count(computer: Computer) -> None:
    found = round(computer.time * 1e9)
    computer.images(0.25, 0.02)
    computer.time += 0.01
    computer.images(0.0, 0.0)
    assert "camera_front has sent no image for 250 ms" in computer.blame.explain(IMAGE, found)


def test_a_short_wait_of_whoever_it_may_be_is_no_fault_of_dds(computer: Computer) -> None:
    computer.images(0.02, 0.02)
    computer.blame.on_command()
    computer.wait(5, 60)
    assert "this computer is too busy" in computer.explain(IMAGE)


def test_the_bus_is_late_where_its_own_process_waited(computer: Computer) -> None:
    computer.add(4, "python\0-m\0ergojr_driver.bus_process", "")
    (computer.folder / "1" / "task" / "1" / "children").write_text("3 4 5 ")
    machine = ProcessorWaits(1, computer.folder)
    machine.look()
    computer.wait(5, 60)  # a camera's wait is no reason for the bus
    blame = Blame((), machine, lambda: 0.0, lambda: 0)
    assert blame.explain(READING, 0) == READING
    computer.wait(4, 60)
    assert "ergojr_driver.bus_process waited 60 ms" in blame.explain(READING, 0)


def test_the_bus_is_late_where_the_kernel_s_thread_of_its_port_waited(computer: Computer) -> None:
    computer.add(2, "", "7 8 ")
    computer.add(7, "", "")
    computer.add(8, "", "")
    (computer.folder / "7" / "comm").write_text("kworker/u4:1-events_unbound\n")
    (computer.folder / "8" / "comm").write_text("kworker/0:1\n")
    machine = ProcessorWaits(1, computer.folder)
    machine.look()
    blame = Blame((), machine, lambda: 0.0, lambda: 0)
    computer.wait(8, 60)
    assert blame.explain(READING, 0) == READING
    computer.wait(7, 60)
    assert "a thread of the kernel waited 60 ms" in blame.explain(READING, 0)


def test_a_rate_of_lost_answers_is_explained_by_waits_of_the_second_that_it_is_judged_over(
    computer: Computer,
) -> None:
    computer.add(4, "python\0-m\0ergojr_driver.bus_process", "")
    (computer.folder / "1" / "task" / "1" / "children").write_text("3 4 5 ")
    machine = ProcessorWaits(1, computer.folder)
    machine.look()
    blame = Blame((), machine, lambda: computer.time, lambda: 0)
    for _ in range(4):
        computer.wait(4, 60)
        computer.time += 0.25
        blame.look()
    assert "ergojr_driver.bus_process waited 60 ms" in blame.explain(RATE, 0)
    assert blame.explain(READING, 0) == READING
    computer.time += 0.25
    blame.look()
    assert blame.explain(RATE, 0) == RATE


def test_who_has_a_low_priority_may_wait(computer: Computer) -> None:
    computer.images(0.02, 0.02)
    computer.wait(3, 5000)
    assert "busy" not in computer.explain(COMMAND)


def test_a_wait_of_long_ago_is_not_this_one(computer: Computer) -> None:
    computer.wait(5, 130)
    for _ in range(2):
        computer.time += 1.0
        computer.blame.look()
    computer.images(0.02, 0.02)
    assert "busy" not in computer.explain(COMMAND)


def test_a_camera_that_sends_nothing_is_named(computer: Computer) -> None:
    computer.images(0.02, 0.25)
    assert computer.explain(IMAGE) == f"{IMAGE}: camera_side has sent no image for 250 ms"


def test_a_roller_that_sends_nothing_is_named(computer: Computer) -> None:
    computer.blame.on_command()
    computer.time += 0.13
    computer.images(0.02, 0.02)
    said = computer.explain(COMMAND)
    assert said.endswith("the cameras send images, but the roller sends no commands")


def test_what_all_have_sent_is_late_on_the_way(computer: Computer) -> None:
    computer.images(0.02, 0.02)
    computer.blame.on_command()
    assert computer.explain(IMAGE).endswith("DDS delivers late")


def test_other_causes_are_left_as_they_are(computer: Computer) -> None:
    computer.wait(5, 130)
    assert computer.explain("m2 is at 61 °C") == "m2 is at 61 °C"
    computer.wait(5, 0)
    assert computer.explain(READING) == READING


def test_it_reads_what_this_kernel_says() -> None:
    machine = ProcessorWaits(os.getpid())
    machine.look()
    waited = machine.waited(1)
    assert waited or os.nice(0) > 0  # who has a low priority is left out
    assert min(waited.values(), default=0.0) >= 0.0
