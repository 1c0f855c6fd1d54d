"""The rig: an Ergo Jr and its two cameras that exist only as a world in PyBullet, and say so to
nobody. What a driver meets is a serial port with six XL-320 (`virtual_bus`), what a camera node
meets are two MJPEG streams (`rig_cameras`).

One thread is all the hardware: it waits for the bus, and whenever someone looks at the world (a
packet on the bus, a picture that is due), physics first catches up with the clock, in steps of the
same size. So the servos answer with what is the case, and nobody is woken to compute what nobody
sees. If the machine cannot keep up, time is lost rather than caught up with, and told.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ergojr_description import xl320
from ergojr_description.cameras import CAMERAS
from ergojr_description.kinematics import JOINT_NAMES
from ergojr_sim.config import RigConfig
from ergojr_sim.rig_cameras import CameraFault, Cameras, StreamConfig
from ergojr_sim.virtual_bus import BusFault, Line, VirtualBus
from ergojr_sim.virtual_servo import SUPPLY, ServoFault, VirtualServo
from ergojr_sim.world import SERVO_STEP, World

PRIORITY = 70  # of real time, where that is allowed: above the driver's, for servos wait for nobody
TURN = 0.02  # s that physics waits at most for somebody to look
GREATEST_LAG = 0.1  # s behind the clock, beyond which time is lost
ANGLE_DIGITS, CUBE_DIGITS = 4, 5  # of rad, and of m; beyond, no picture shows a difference
TABLE = 0.4  # m; how far from the arm's base a hand puts the cube
CUBE = (0.0, 0.15)  # m, where it lies in the beginning
ALL_ERRORS = xl320.OVERLOAD | xl320.OVERHEATING | xl320.INPUT_VOLTAGE

# kind of fault: what it can be done to, and the values that make sense
_MOTORS, _BUS, _CAMERAS = JOINT_NAMES, ("bus",), tuple(CAMERAS)
FAULTS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "drop_bytes": ((*_MOTORS, *_BUS), 0.0, 1.0),
    "corrupt_crc": ((*_MOTORS, *_BUS), 0.0, 1.0),
    "silence": (_MOTORS, 0.0, 1.0),
    "overheat": (_MOTORS, 0.0, 200.0),
    "hardware_error": (_MOTORS, 1.0, ALL_ERRORS),
    "overload": (_MOTORS, 0.0, 1.0),
    "no_speed": (_MOTORS, 0.0, 1.0),
    "supply": (_MOTORS, 3.0, 15.0),
    "reboot": (_MOTORS, 0.0, 1.0),
    "refuse_reads": (_MOTORS, 1.0, ALL_ERRORS),
    "gain": (_MOTORS, 0.0, 254.0),
    "delay": (_BUS, 0.0, 10.0),
    "unplug": (_BUS, 0.0, 1.0),
    "freeze_camera": (_CAMERAS, 0.0, 1.0),
    "disconnect_camera": (_CAMERAS, 0.0, 1.0),
    "delay_camera": (_CAMERAS, 0.0, 10.0),
    "slow_camera": (_CAMERAS, 0.1, 60.0),
    "green_camera": (_CAMERAS, 0.0, 1.0),
}
_ONCE = ("reboot", "refuse_reads", "gain")  # happen, and need no mending


class RigError(Exception):
    """What was asked for cannot be done; the message is one sentence."""


@dataclass(frozen=True)
class Truth:
    """What no robot knows: m between tip and cube, and whether they touched since the last look."""

    distance: float
    touched: bool


class Rig:
    """Starts with the constructor.

    Args:
        fail: is told, from a thread, what ended it.
        on_torque: gets, at every change and in the thread of the bus, which servos have torque
            [6] and since when (ns).

    Raises:
        OSError: the port's link cannot be made, or an HTTP port is taken.
    """

    def __init__(
        self,
        config: RigConfig,
        fail: Callable[[BaseException], None],
        on_torque: Callable[[list[bool], int], None] = lambda torque, stamp: None,
    ) -> None:
        self._config = config
        self._fail = fail
        self._on_torque = on_torque
        self._torque = [False] * 6
        self._lock = threading.Lock()  # world, servos, bus
        self._stopped = threading.Event()
        self._faults: dict[tuple[str, str], tuple[float, float]] = {}  # value, until
        self._touched = False
        self.lost = 0.0  # s that physics could not keep up with
        self._world = World("servo")
        self._world.reset(np.zeros(6), CUBE, 0.0)
        self._distance = self._world.distance()
        self._servos = [VirtualServo(number) for number in range(1, 7)]
        self._bus = VirtualBus(self._servos, config.seed)
        ports = dict(zip(CAMERAS, (config.front_http_port, config.side_http_port), strict=True))
        self._cameras = Cameras(StreamConfig(config.width, config.height, ports))
        try:
            self._line = Line(Path(config.port_link), self._answer, lambda: self._bus.fault.delay)
        except OSError:
            self._cameras.close()
            raise
        self._time = self._picture_due = time.monotonic()  # of the world; of the cameras
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)
        self._thread.start()

    @property
    def streams(self) -> dict[str, str]:
        """URL of each camera."""
        return {
            name: f"http://127.0.0.1:{port}/stream.mjpg"
            for name, port in self._cameras.ports.items()
        }

    def place_cube(self, x: float, y: float, yaw: float) -> None:
        """Put the cube somewhere, as a hand would: (x, y) in m, yaw in rad.

        Raises:
            RigError: that is not on the table, or the arm is there.
        """
        if not (np.isfinite(yaw) and np.hypot(x, y) <= TABLE):
            raise RigError(f"({x}, {y}) m, yaw {yaw} is no place within {TABLE} m of the base")
        with self._lock:
            if self._stopped.is_set():
                raise RigError("the rig has ended")
            free = self._world.place_cube(x, y, yaw)
        if not free:
            raise RigError(f"the arm is where the cube would be, at ({x:.3f}, {y:.3f}) m")

    def break_(self, kind: str, target: str, value: float, duration: float) -> None:
        """Break something for `duration` s (0: until mended); "" mends everything. See `FAULTS`.

        Raises:
            RigError: there is no such fault, target or value.
        """
        with self._lock:
            if not kind:
                self._faults.clear()
            elif kind in _ONCE:
                for one in _targets(kind, target, value):
                    self._happen(kind, self._servos[JOINT_NAMES.index(one)], int(value))
            else:
                until = time.monotonic() + duration if duration > 0.0 else float("inf")
                for one in _targets(kind, target, value):
                    self._faults[kind, one] = (value, until)
            self._apply()
        self._line.settle()

    def truth(self) -> Truth:
        """How far the tip is from the cube."""
        with self._lock:
            truth = Truth(self._distance, self._touched)
            self._touched = False
        return truth

    def close(self) -> None:
        """Stop everything; a second call does nothing."""
        self._stopped.set()
        self._line.close()
        self._thread.join()
        self._cameras.close()
        self._world.close()

    def _run(self) -> None:
        with suppress(PermissionError):  # a right that not everybody has
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))  # this thread's
        try:
            self._line.run(self._turn)
        except Exception as error:  # noqa: BLE001 -- any fault of the thread must end the rig
            self._fail(error)

    def _answer(self, data: bytes, rate: int) -> tuple[bytes, float]:
        with self._lock:
            self._catch_up()
            said = self._bus.answer(data, rate)
            torque = [bool(servo.get(xl320.TORQUE_ENABLE)) for servo in self._servos]
        if torque != self._torque:
            self._torque = torque
            self._on_torque(torque, time.time_ns())
        return said

    def _turn(self) -> float:
        """Show the world to the cameras when it is time; return how long physics can wait (s)."""
        now = time.monotonic()
        if now >= self._picture_due:
            period = 1.0 / self._config.fps
            self._picture_due = max(self._picture_due, now - period) + period
            self._look_around()
        elif now - self._time >= TURN:
            with self._lock:
                self._catch_up()
        return min(max(0.0, self._picture_due - time.monotonic()), TURN)

    def _catch_up(self) -> None:
        """Take the steps that are due by now."""
        lag = time.monotonic() - self._time
        if lag > GREATEST_LAG:
            self.lost += lag
            self._time += lag
            return
        steps = int(lag / SERVO_STEP)
        for _ in range(steps):
            self._step()
            self._touched = self._touched or self._world.touching()
        self._time += steps * SERVO_STEP

    def _step(self) -> None:
        angles, speeds = self._world.motion()
        self._world.servo_step(
            [
                sign * servo.step(sign * angle, sign * speed, SERVO_STEP)
                for servo, sign, angle, speed in zip(
                    self._servos, self._config.directions, angles, speeds, strict=True
                )
            ]
        )

    def _look_around(self) -> None:
        """Tell the cameras what to show; mend what is due."""
        with self._lock:
            self._catch_up()
            arm = [round(angle, ANGLE_DIGITS) for angle in self._world.motion()[0]]
            cube = [round(value, CUBE_DIGITS) for value in self._world.cube_pose()]
            self._distance = self._world.distance()
            now = time.monotonic()
            due = [key for key, (_, until) in self._faults.items() if until <= now]
            for key in due:
                del self._faults[key]
            if due:
                self._apply()
        self._cameras.show(arm, cube)

    def _active(self, kind: str) -> dict[str, float]:
        """Value by target."""
        return {one: value for (k, one), (value, _) in self._faults.items() if k == kind}

    @staticmethod
    def _happen(kind: str, servo: VirtualServo, value: int) -> None:
        if kind == "reboot":
            servo.reboot()
        elif kind == "refuse_reads":
            servo.refuse(value)
        else:
            servo.write(xl320.P_GAIN.address, bytes([value]))

    def _apply(self) -> None:
        """Make servos, bus and cameras as broken as `_faults` says."""
        dropped, corrupt = self._active("drop_bytes"), self._active("corrupt_crc")
        noisy = {**dropped, **corrupt}
        self._bus.fault = BusFault(
            dropped=max(dropped.values(), default=0.0),
            corrupt=max(corrupt.values(), default=0.0),
            noisy=_motors(JOINT_NAMES if "bus" in noisy else noisy),
            silent=_motors(self._active("silence")),
            delay=max(self._active("delay").values(), default=0.0),
        )
        errors, heat = self._active("hardware_error"), self._active("overheat")
        overload, supply = self._active("overload"), self._active("supply")
        dumb = self._active("no_speed")
        for name, servo in zip(JOINT_NAMES, self._servos, strict=True):
            bits = int(errors.get(name, 0.0)) | (xl320.OVERLOAD if name in overload else 0)
            volts = supply.get(name, SUPPLY)
            servo.fault = ServoFault(bits, heat.get(name), volts, name in dumb)
        frozen, gone = self._active("freeze_camera"), self._active("disconnect_camera")
        late, slow = self._active("delay_camera"), self._active("slow_camera")
        green = {name: share or 1.0 for name, share in self._active("green_camera").items()}
        self._cameras.break_(
            {
                name: CameraFault(
                    frozen=name in frozen,
                    connected=name not in gone,
                    delay=late.get(name, 0.0),
                    rate=slow.get(name, 0.0),
                    green=green.get(name, 0.0),
                )
                for name in CAMERAS
            }
        )
        self._line.want(not self._active("unplug"))


def _motors(names: Any) -> frozenset[int]:
    return frozenset(number for number, name in enumerate(JOINT_NAMES, 1) if name in names)


def _targets(kind: str, target: str, value: float) -> tuple[str, ...]:
    if kind not in FAULTS:
        raise RigError(f"there is no fault {kind!r}, only {', '.join(FAULTS)}")
    targets, low, high = FAULTS[kind]
    if target and target not in targets:
        raise RigError(f"{kind} does not concern {target!r}, only {', '.join(targets)}")
    if not low <= value <= high:
        raise RigError(f"{kind} takes a value from {low} to {high}, not {value}")
    if "bus" in targets:
        return (target or "bus",)
    return (target,) if target else targets
