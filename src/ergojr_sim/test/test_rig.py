"""The rig whole, but without ROS: world, servos, bus, cameras, and each fault that it can have."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ergojr_description import xl320
from ergojr_sim.config import RigConfig
from ergojr_sim.rig import Rig, RigError

cv2 = pytest.importorskip("cv2")

IDS = (1, 2, 3, 4, 5, 6)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Path]]:
    port = tmp_path_factory.mktemp("rig") / "port"
    failures: list[BaseException] = []
    rig = Rig(RigConfig(port_link=str(port)), failures.append)
    yield rig, port
    rig.close()
    assert not failures
    assert not port.is_symlink()


@pytest.fixture
def rig(started: tuple[Rig, Path]) -> Iterator[Rig]:
    yield started[0]
    started[0].break_("", "", 0.0, 0.0)


@pytest.fixture
def host(rig: Rig, started: tuple[Rig, Path], connect: Callable[[Path], Any]) -> Iterator[Any]:
    made = connect(started[1])
    yield made
    rig.break_("", "", 0.0, 0.0)
    connect(started[1]).ask(xl320.write(xl320.BROADCAST, xl320.TORQUE_ENABLE, 0), 0)


def value(host: Any, motor: int, register: xl320.Register) -> int:
    (reply,) = host.ask(xl320.read(motor, register))
    return int.from_bytes(reply.data, "little")


def until(condition: Callable[[], Any], what: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"


class Video:
    """A camera's stream, decoded."""

    def __init__(self, url: str) -> None:
        self._capture = cv2.VideoCapture(url)

    def read(self) -> Any:
        return self._capture.read()[1]

    def close(self) -> None:
        self._capture.release()


@pytest.fixture
def video(rig: Rig) -> Iterator[Video]:
    made = Video(rig.streams["camera_front"])
    assert made.read() is not None
    yield made
    made.close()


def red(image: Any) -> Any:
    """[2] mean pixel (x, y) of what is red in a BGR image; none where nothing is."""
    blue, green, red = np.moveaxis(image.astype(int), 2, 0)
    where = np.argwhere((red > 2 * green) & (red > 2 * blue) & (red > 60))
    return where.mean(axis=0)[::-1] if len(where) else None


def test_a_servo_goes_where_it_is_told_and_says_so(host: Any) -> None:
    goal = xl320.position_to_raw(0.5)
    host.ask(xl320.write(1, xl320.GOAL_POSITION, goal))
    host.ask(xl320.write(1, xl320.TORQUE_ENABLE, 1))
    until(lambda: abs(value(host, 1, xl320.PRESENT_POSITION) - goal) < 20, "m1 near its goal")


def test_a_mounting_the_other_way_round_turns_the_joint_back(
    tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    config = RigConfig(port_link=str(tmp_path / "port"), directions=(-1.0, *[1.0] * 5))
    rig = Rig(config, lambda error: None)
    try:
        host = connect(tmp_path / "port")
        host.ask(xl320.write(1, xl320.GOAL_POSITION, 700))
        host.ask(xl320.write(1, xl320.TORQUE_ENABLE, 1))
        until(lambda: value(host, 1, xl320.PRESENT_POSITION) > 650, "m1 near its goal")
        assert rig._world.motion()[0][0] < -0.5
    finally:
        rig.close()


def test_the_cube_is_where_it_was_put_in_truth_and_picture(rig: Rig, video: Video) -> None:
    rig.place_cube(0.1, 0.15, 0.0)
    right = rig.truth().distance
    # The front camera looks at the arm: its right is the image's left.
    until(lambda: (seen := red(video.read())) is not None and seen[0] < 130, "the cube, left")
    rig.place_cube(-0.1, 0.15, 0.0)
    assert rig.truth().distance == pytest.approx(right, abs=0.1)
    until(lambda: (seen := red(video.read())) is not None and seen[0] > 190, "the cube, right")


@pytest.mark.parametrize("place", [(5.0, 0.0), (float("nan"), 0.1), (0.0, 0.03)])
def test_the_cube_cannot_be_put_away_from_the_table_nor_into_the_arm(
    rig: Rig, place: tuple[float, float]
) -> None:
    rig.place_cube(-0.05, 0.15, 0.0)
    before = rig._world.cube_pose()[:2]
    with pytest.raises(RigError):
        rig.place_cube(*place, 0.0)
    assert rig._world.cube_pose()[:2] == pytest.approx(before, abs=1e-3)


def test_a_silent_motor(rig: Rig, host: Any) -> None:
    rig.break_("silence", "m3", 0.0, 0.0)
    assert host.ask(xl320.ping(3), timeout=0.1) == []
    assert host.ask(xl320.ping(4))
    rig.break_("", "", 0.0, 0.0)
    assert host.ask(xl320.ping(3))


@pytest.mark.parametrize("kind", ["corrupt_crc", "drop_bytes"])
def test_a_bad_wire_everywhere_or_at_one_motor(rig: Rig, host: Any, kind: str) -> None:
    rig.break_(kind, "m2", 1.0, 0.0)
    assert host.ask(xl320.ping(1))
    assert not [r for r in host.ask(xl320.ping(2), timeout=0.1) if not r.error]
    rig.break_(kind, "", 1.0, 0.0)
    assert not [r for r in host.ask(xl320.ping(1), timeout=0.1) if not r.error]


@pytest.mark.parametrize(
    ("kind", "value_", "error"),
    [
        ("overheat", 70.0, xl320.OVERHEATING),
        ("overload", 0.0, xl320.OVERLOAD),
        ("hardware_error", 4.0, xl320.INPUT_VOLTAGE),
    ],
)
def test_a_broken_motor_says_what_is_wrong_until_it_is_mended(
    rig: Rig, host: Any, kind: str, value_: float, error: int
) -> None:
    host.ask(xl320.write(5, xl320.TORQUE_LIMIT, 300))
    rig.break_(kind, "m5", value_, 0.0)
    until(lambda: value(host, 5, xl320.HARDWARE_ERROR) == error, f"{kind} at m5")
    assert value(host, 4, xl320.HARDWARE_ERROR) == 0
    assert host.ask(xl320.ping(5))[0].error & xl320.ALERT
    shut_down = error != xl320.INPUT_VOLTAGE  # as the register `shutdown` is delivered
    assert value(host, 5, xl320.TORQUE_LIMIT) == (0 if shut_down else 300)
    assert value(host, 5, xl320.PRESENT_TEMPERATURE) == (70 if kind == "overheat" else 30)
    rig.break_("", "", 0.0, 0.0)
    until(lambda: value(host, 5, xl320.HARDWARE_ERROR) == 0, "m5 to be well")


def test_a_fault_mends_itself_after_its_duration(rig: Rig, host: Any) -> None:
    rig.break_("silence", "m1", 0.0, 0.3)
    assert host.ask(xl320.ping(1), timeout=0.1) == []
    until(lambda: host.ask(xl320.ping(1), timeout=0.1), "m1 to answer again")


def test_a_limp_a_refusing_and_a_weak_motor(rig: Rig, host: Any) -> None:
    for motor in (3, 4):
        host.ask(xl320.write(motor, xl320.TORQUE_ENABLE, 1))
    rig.break_("reboot", "m3", 0.0, 0.0)
    assert [value(host, motor, xl320.TORQUE_ENABLE) for motor in (3, 4)] == [0, 1]
    assert value(host, 3, xl320.HARDWARE_ERROR) == 0
    rig.break_("gain", "m3", 8.0, 0.0)
    assert value(host, 3, xl320.P_GAIN) == 8
    rig.break_("refuse_reads", "m3", 2.0, 0.0)
    assert [(reply.error, reply.data) for reply in host.ask(xl320.read(3, xl320.STATE))] == [
        (xl320.OVERHEATING, b"")
    ]
    rig.break_("reboot", "m3", 0.0, 0.0)
    assert value(host, 3, xl320.P_GAIN) == 32


def test_a_supply_that_cannot_be_and_a_speed_that_is_not_told(rig: Rig, host: Any) -> None:
    rig.break_("supply", "", 12.0, 0.0)
    assert value(host, 6, xl320.PRESENT_VOLTAGE) == 120
    rig.break_("no_speed", "m1", 0.0, 0.0)
    host.ask(xl320.write(1, xl320.GOAL_POSITION, 300))
    host.ask(xl320.write(1, xl320.TORQUE_ENABLE, 1))
    until(lambda: value(host, 1, xl320.MOVING), "m1 to move")
    assert value(host, 1, xl320.PRESENT_SPEED) == 0


def test_late_answers(rig: Rig, host: Any) -> None:
    rig.break_("delay", "", 0.2, 0.0)
    begin = time.monotonic()
    assert host.ask(xl320.ping(1))
    assert time.monotonic() - begin > 0.2


def test_unplugged_and_plugged_in(
    rig: Rig, started: tuple[Rig, Path], connect: Callable[[Path], Any]
) -> None:
    port = started[1]
    host = connect(port)
    host.ask(xl320.write(2, xl320.LED, 1))
    rig.break_("unplug", "bus", 0.0, 0.0)
    assert not port.is_symlink()
    with pytest.raises(OSError, match="Input/output error"):
        host.ask(xl320.ping(2))
    rig.break_("", "", 0.0, 0.0)
    assert value(connect(port), 2, xl320.LED) == 1  # the servos had power all the time


def test_a_frozen_camera_goes_on_sending_the_same_picture(rig: Rig, video: Video) -> None:
    rig.place_cube(-0.08, 0.15, 0.0)
    until(lambda: (seen := red(video.read())) is not None and seen[0] > 180, "the cube")
    rig.break_("freeze_camera", "camera_front", 0.0, 0.0)
    rig.place_cube(0.08, 0.15, 0.0)
    images = [video.read() for _ in range(15)]
    assert red(images[-1])[0] > 180
    assert (images[-1] == images[-2]).all()
    rig.break_("", "", 0.0, 0.0)
    until(lambda: (seen := red(video.read())) is not None and seen[0] < 140, "the cube, moved")


def test_a_disconnected_camera_ends_its_stream_and_comes_back(rig: Rig, video: Video) -> None:
    rig.break_("disconnect_camera", "camera_front", 0.0, 0.0)
    until(lambda: video.read() is None, "the stream's end")
    rig.break_("", "", 0.0, 0.0)

    def back() -> bool:
        again = Video(rig.streams["camera_front"])
        image = again.read()
        again.close()
        return image is not None

    until(back, "the stream")


def test_a_late_camera_shows_what_was(rig: Rig, video: Video) -> None:
    rig.place_cube(-0.08, 0.15, 0.0)
    until(lambda: (seen := red(video.read())) is not None and seen[0] > 180, "the cube")
    rig.break_("delay_camera", "camera_front", 0.5, 0.0)
    moved = time.monotonic()
    rig.place_cube(0.08, 0.15, 0.0)
    until(lambda: (seen := red(video.read())) is not None and seen[0] < 140, "the cube, moved")
    assert time.monotonic() - moved > 0.5


def test_a_slow_camera_sends_no_more_pictures_than_it_takes(rig: Rig, video: Video) -> None:
    def seconds(pictures: int) -> float:
        begin = time.monotonic()
        for _ in range(pictures):
            assert video.read() is not None
        return time.monotonic() - begin

    rig.break_("slow_camera", "camera_front", 5.0, 0.0)
    until(lambda: seconds(1) > 0.1, "the pictures that were under way")
    assert seconds(5) > 0.7


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.25, 180)])
def test_a_broken_stream_is_green_from_below(
    rig: Rig, video: Video, share: float, first: int
) -> None:
    def green(image: Any) -> Any:
        """[240] which rows are of the one green, but for what the compression makes of it."""
        return (np.abs(image.astype(int) - (0, 135, 0)).max(axis=2) < 12).all(axis=1)

    whole = video.read()
    rig.break_("green_camera", "camera_front", share, 0.0)
    until(lambda: green(video.read())[first + 8 :].all(), "the green")
    assert not green(video.read())[: max(0, first - 8)].any()
    rig.break_("", "", 0.0, 0.0)
    until(lambda: np.abs(video.read().astype(int) - whole).mean() < 5.0, "the whole picture")


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


DIES = """
import os, sys
from ergojr_sim.config import RigConfig
from ergojr_sim.rig import Rig
rig = Rig(RigConfig(port_link=sys.argv[1]), print)
print(rig._cameras._process.pid, *rig._cameras.ports.values(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_rig_leaves_nothing_that_disturbs_the_next(
    tmp_path: Path, connect: Callable[[Path], Any]
) -> None:
    port = tmp_path / "port"
    command = [sys.executable, "-c", DIES, port]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    cameras, front, side = map(int, killed.stdout.split())
    config = RigConfig(port_link=str(port), front_http_port=front, side_http_port=side)
    rig = Rig(config, lambda error: None)
    try:
        assert connect(port).ask(xl320.ping(1))
        until(lambda: "rig_cameras" not in command_line(cameras), "the end of the old cameras")
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (("explode", "", 0.0), "there is no fault 'explode'"),
        (("overheat", "camera_front", 70.0), "does not concern 'camera_front'"),
        (("corrupt_crc", "bus", 2.0), "takes a value from 0.0 to 1.0"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(
    rig: Rig, request_: tuple[str, str, float], sentence: str
) -> None:
    with pytest.raises(RigError, match=sentence):
        rig.break_(*request_, 0.0)
