"""The real driver node under its guard, on virtual servos on a pseudo-terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from planet_msgs.msg import DriverStatus, Reward, RobotSpec
from planet_msgs.srv import Reset
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from ergojr_description import xl320
from ergojr_driver import realtime
from ergojr_driver.status import POWERED
from ergojr_sim.virtual_bus import BusFault, Line, VirtualBus
from ergojr_sim.virtual_servo import ServoFault, VirtualServo
from planet_node.qos import COMMAND, LATCHED, STREAM
from planet_node.testing import Bench

NAMES = ["m1", "m2", "m3", "m5"]
STEP = 0.002  # s
AGAIN = 4.0  # s; an answer is lost where the server has not discovered its client yet
TRIES = 5  # at what a busy computer may interrupt


class Hardware:
    """Virtual servos in the air: what they push turns them, against much friction.

    Hardware does not wait for a processor, so its threads go first where that is allowed.
    """

    def __init__(self, port: Path) -> None:
        self.servos = [VirtualServo(motor) for motor in range(1, 7)]
        self.bus = VirtualBus(self.servos)
        self.line = Line(port, self.answer, lambda: self.bus.fault.delay)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._first, args=(target,), name=name)
            for target, name in ((self.line.run, "line"), (self._move, "servos"))
        ]
        self.off_at = 0.0  # s, steady: since when no servo has torque
        for thread in self._threads:
            thread.start()

    def _first(self, target: Callable[[], None]) -> None:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(realtime.BUS))
        target()

    def answer(self, data: bytes, rate: int) -> tuple[bytes, float]:
        with self._lock:
            before = self.torque()
            answer = self.bus.answer(data, rate)
            if before and not self.torque():
                self.off_at = time.monotonic()
            return answer

    def torque(self) -> bool:
        return any(servo.get(xl320.TORQUE_ENABLE) for servo in self.servos)

    def _move(self) -> None:
        while not self._ended.wait(STEP):
            with self._lock:
                for servo in self.servos:
                    torque = servo.step(servo.angle, servo.speed, STEP)
                    servo.speed = torque / 0.08
                    servo.angle += STEP * servo.speed

    def close(self) -> None:
        self._ended.set()
        self.line.close()
        for thread in self._threads:
            thread.join()


class Robot(Bench):
    """The driver's processes, its hardware, and a node that speaks to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("/ergojr")
        self.port = folder / "port"
        self.hardware = Hardware(self.port)
        self.status = DriverStatus()
        self.specs: list[RobotSpec] = []
        self.joints: list[JointState] = []
        self.diagnostics: dict[str, Any] = {}
        make = self.node.create_subscription
        make(DriverStatus, "driver_status", lambda m: setattr(self, "status", m), LATCHED)
        make(RobotSpec, "robot_spec", self.specs.append, LATCHED)
        make(JointState, "joint_states", self.joints.append, STREAM)
        make(DiagnosticArray, "/diagnostics", self.on_diagnostics, STREAM)
        self.commands = self.node.create_publisher(JointState, "joint_command", COMMAND)
        self.rewards = self.node.create_publisher(Reward, "reward", STREAM)
        self.transitions = self.node.create_client(ChangeState, "driver/change_state")
        self.states = self.node.create_client(GetState, "driver/get_state")
        self.resets = self.node.create_client(Reset, "reset")
        self.stops = self.node.create_client(SetBool, "emergency_stop")
        self.compliance = self.node.create_client(SetBool, "set_compliant")
        self.log = folder / "log"

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name.split(": ")[1]] = status

    def start_driver(self, **parameters: Any) -> None:
        given = {"port": self.port, "autostart": True, "pace_seconds": 0.0, **parameters}
        with self.log.open("w") as log:
            self.start("ergojr_driver.guard", stderr=log, **given)

    def child(self, module: str = "bus_process") -> int:
        """The process of one of the guard's children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in path.read_text().split():
            if module in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
        raise AssertionError(f"the guard has no child {module}")

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.hardware.close()
        print(self.status, self.log.read_text(), sep="\n")  # pytest shows it where a test fails

    def transition(self, number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self.call(self.transitions, request, AGAIN).success)

    def powered(self) -> bool:
        return self.status.state in POWERED

    def state(self) -> str:
        answer = self.call(self.states, GetState.Request(), AGAIN)
        return str(answer.current_state.label)

    def in_state(self, state: str) -> None:
        self.until(lambda: self.status.state == state, state)

    def activate(self) -> None:
        self.in_state("inactive")
        self.until(self._activated, "torque")

    def _activated(self) -> bool:
        if self.status.state in ("inactive", "fault"):
            self.transition(Transition.TRANSITION_ACTIVATE)
        return self.powered()

    def command(self, efforts: tuple[float, ...], names: Any = None) -> None:
        message = JointState(name=NAMES if names is None else names, effort=list(efforts))
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.commands.publish(message)

    def ready(self) -> None:
        """In the start pose; a computer that was busy is forgiven, and tried again."""
        for _ in range(TRIES):
            if not self.powered():
                self.until(self._activated, "torque")
            answer = self.call(self.resets, Reset.Request(seed=1), 2.0 * AGAIN)
            if answer.ok:
                self.in_state("ready")
                return
        raise AssertionError(answer.message)

    def drive(
        self,
        until: Callable[[], Any],
        what: str,
        efforts: tuple[float, ...] = (0.02, 0.0, 0.0, -0.02),
        names: Any = None,
    ) -> None:
        """Command at 20 Hz until something happens."""
        due = [0.0]

        def one() -> Any:
            if time.monotonic() >= due[0]:
                self.command(efforts, names)
                due[0] = time.monotonic() + 0.05
            return until()

        self.until(one, what)

    def driving(self) -> None:
        """In an episode; tried again as in `ready`."""
        for _ in range(TRIES):
            self.ready()
            self.drive(lambda: self.status.state == "driving" or not self.powered(), "driving")
            if self.powered():
                return
        raise AssertionError(self.status.cause)

    def provoke(self, cause: str, break_: Callable[[], Any], mend: Callable[[], Any]) -> None:
        """Break something in an episode until it lets go for that `cause`, and not for another."""
        for _ in range(TRIES):
            self.driving()
            break_()
            self.until(lambda: not self.powered(), "torque off")
            if cause in self.status.cause:
                return
            mend()
        raise AssertionError(self.status.cause)

    def bus_level(self) -> bytes:
        status = self.diagnostics.get("bus")
        return b"" if status is None else bytes(status.level)

    def fault(self, cause: str) -> None:
        """It has let go, says why everywhere, and is inactive."""
        self.until(lambda: not self.powered(), "torque off")
        assert not self.hardware.torque()
        assert cause in self.status.cause
        self.until(lambda: cause in self.diagnostics["driver"].message, "diagnostics")
        assert self.diagnostics["driver"].level == b"\x02"
        self.until(lambda: self.state() == "inactive", "the transition")
        assert self.log.read_text().count(self.status.cause) == 1


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    robot = Robot(tmp_path)
    yield robot
    robot.close()


def test_an_episode_and_the_interface(robot: Robot) -> None:
    robot.start_driver(max_steps=20)
    robot.driving()
    robot.drive(lambda: robot.status.state == "holding", "the episode's end")
    assert robot.hardware.torque()
    spec, joints = robot.specs[-1], robot.joints[-1]
    assert list(spec.action_names) == NAMES
    assert list(spec.cameras) == ["camera_front", "camera_side"]
    assert (spec.control_period, spec.max_steps, spec.real_time_factor) == (0.05, 20, 1.0)
    assert list(spec.action_high) == [0.16] * 4
    assert list(joints.name) == list(spec.state_names) == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert len(joints.position) == len(joints.velocity) == len(joints.effort) == 6
    # A reward with a touch ends an episode as well.
    robot.driving()
    reward = Reward(terminated=True)
    reward.header.stamp = robot.node.get_clock().now().to_msg()
    robot.rewards.publish(reward)
    robot.in_state("holding")
    # And deactivation lets go.
    assert robot.transition(Transition.TRANSITION_DEACTIVATE)
    robot.in_state("inactive")
    assert not robot.hardware.torque()
    assert robot.end(signal.SIGINT)[0] == 0


def test_faults_let_go_one_after_the_other_and_each_is_mended(robot: Robot) -> None:
    robot.start_driver()
    bus, servos = robot.hardware.bus, robot.hardware.servos
    robot.in_state("inactive")
    nan = float("nan")

    def let_go() -> bool:
        return not robot.powered()

    def mend() -> None:
        bus.fault = BusFault()
        for servo in servos:
            servo.fault = ServoFault()

    def after(target: Any, fault: Any) -> Callable[[str], None]:
        def drive_on(cause: str) -> None:
            target.fault = fault
            robot.drive(let_go, cause)

        return drive_on

    for cause, break_ in (
        ("joint_command for m2 is nan", partial(robot.drive, let_go, efforts=(0.0, nan, 0.0, 0.0))),
        ("joint_command has 3 values", partial(robot.drive, let_go, efforts=(0.0,) * 3)),
        (
            "joint_command names m1, m2, m3, m4",
            partial(robot.drive, let_go, names=["m1", "m2", "m3", "m4"]),
        ),
        ("no joint_command for", partial(robot.until, let_go)),
        ("m3 silent", after(bus, BusFault(silent=frozenset({3})))),
        ("m2 is at 61 °C", after(servos[1], ServoFault(temperature=61.0))),
        ("m5 reports overload", after(servos[4], ServoFault(errors=1))),
    ):
        robot.provoke(cause, partial(break_, cause), mend)
        robot.fault(cause)
        mend()
        robot.until(lambda: not any(servo.fault.errors for servo in servos), "mended")


def test_half_of_the_packets_corrupt_stops_and_one_in_a_hundred_does_not(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    noisy = frozenset(range(1, 7))
    robot.hardware.bus.fault = BusFault(corrupt=0.01, noisy=noisy)
    robot.drive(lambda: robot.bus_level() == b"\x01", "a warning")
    assert robot.status.torque
    robot.hardware.bus.fault = BusFault(corrupt=0.5, noisy=noisy)
    robot.drive(lambda: not robot.powered(), "torque off")
    assert not robot.hardware.torque()


def test_an_emergency_stop_is_latched(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    assert robot.call(robot.stops, SetBool.Request(data=True)).success
    assert not robot.hardware.torque()
    robot.in_state("stopped")
    assert robot.state() == "inactive"
    assert not robot.transition(Transition.TRANSITION_ACTIVATE)
    assert robot.call(robot.stops, SetBool.Request(data=False)).success
    robot.in_state("inactive")
    robot.ready()


def test_an_emergency_stop_does_not_wait_for_a_reset(robot: Robot) -> None:
    robot.start_driver(reset_speed=0.05)
    robot.activate()
    robot.until(robot.resets.service_is_ready, "reset")
    future = robot.resets.call_async(Reset.Request(seed=1))
    robot.in_state("resetting")
    assert robot.call(robot.stops, SetBool.Request(data=True)).success
    robot.until(future.done, "the reset's answer")
    assert not future.result().ok
    assert future.result().message == "emergency stop"


def test_an_emergency_stop_does_not_wait_for_an_activation(robot: Robot) -> None:
    robot.start_driver()
    robot.in_state("inactive")
    servo, rebooted = robot.hardware.servos[3], threading.Event()

    def reboot() -> None:
        VirtualServo.reboot(servo)
        servo.fault = ServoFault()
        rebooted.set()

    servo.reboot = reboot  # type: ignore[method-assign]
    servo.fault = ServoFault(errors=xl320.OVERLOAD)
    robot.until(lambda: servo.alert, "the hardware error")
    for client in (robot.transitions, robot.stops):
        robot.until(client.service_is_ready, client.service_name)
    activate = Transition(id=Transition.TRANSITION_ACTIVATE)
    activation = robot.transitions.call_async(ChangeState.Request(transition=activate))
    robot.until(rebooted.is_set, "the reboot")
    assert robot.call(robot.stops, SetBool.Request(data=True)).success
    robot.until(activation.done, "the activation's answer")
    assert not activation.result().success
    robot.in_state("stopped")
    assert robot.hardware.off_at == 0.0  # there never was any torque


def test_a_transition_out_of_turn_is_refused_and_ends_nothing(robot: Robot) -> None:
    robot.start_driver()
    robot.activate()
    for transition in (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CONFIGURE):
        assert not robot.transition(transition)
    assert (robot.status.state, robot.status.torque) == ("holding", True)


def test_compliant_and_back(robot: Robot) -> None:
    robot.start_driver()
    robot.activate()
    assert robot.call(robot.compliance, SetBool.Request(data=True)).success
    assert not robot.hardware.torque()
    robot.in_state("compliant")
    assert robot.state() == "active"
    assert robot.call(robot.compliance, SetBool.Request(data=False)).success
    robot.in_state("holding")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_go(robot: Robot, number: signal.Signals) -> None:
    robot.start_driver()
    robot.driving()
    assert robot.end(number)[0] == 0
    assert not robot.hardware.torque()


def goes_on(robot: Robot) -> None:
    """Somebody agrees, and the arm moves again; the guard has not ended."""
    robot.until(lambda: robot.status.state in ("inactive", "fault"), "a driver without torque")
    robot.driving()
    assert robot.process.poll() is None


def test_the_bus_process_sudden_death_lets_go_and_another_goes_on(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    dead = robot.child()
    os.kill(dead, signal.SIGKILL)
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    robot.in_state("inactive")  # another one has found the motors
    assert "the bus process ended with -9; torque is off on" in robot.log.read_text()
    assert robot.child() != dead
    goes_on(robot)


def test_a_bus_process_that_was_starved_is_let_go_of_and_told_so(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    bus = robot.child()
    os.kill(bus, signal.SIGSTOP)
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    os.kill(bus, signal.SIGCONT)
    robot.in_state("fault")
    assert "the bus process got no processor for" in robot.status.cause
    goes_on(robot)
    assert robot.child() == bus
    assert "was silent for 200 ms while there was torque" in robot.log.read_text()


def test_a_bus_process_that_stays_frozen_is_replaced_when_it_is_asked_for(robot: Robot) -> None:
    robot.start_driver()
    robot.activate()
    frozen = robot.child()
    os.kill(frozen, signal.SIGSTOP)
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    assert robot.process.poll() is None
    assert not robot.call(robot.compliance, SetBool.Request(data=True)).success
    robot.until(lambda: robot.child() != frozen, "another bus process")
    robot.in_state("inactive")
    goes_on(robot)


def test_a_node_that_dies_or_hangs_in_an_episode_is_a_missing_command(robot: Robot) -> None:
    robot.start_driver()
    for number in (signal.SIGKILL, signal.SIGSTOP):
        robot.driving()
        node = robot.child("driver_node")
        os.kill(node, number)
        robot.until(lambda: not robot.hardware.torque(), "torque off")
        if number == signal.SIGSTOP:
            os.kill(node, signal.SIGCONT)
        robot.until(lambda: "joint_command" in robot.status.cause, "the cause")
        goes_on(robot)


def test_an_arm_that_holds_is_let_go_of_when_nobody_would_hear_a_stop(robot: Robot) -> None:
    robot.start_driver()
    robot.activate()
    node = robot.child("driver_node")
    os.kill(node, signal.SIGSTOP)
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    os.kill(node, signal.SIGCONT)
    robot.until(lambda: "nobody would hear an emergency stop" in robot.status.cause, "the cause")


def test_an_emergency_stop_outlives_the_node_and_the_bus_process(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    assert robot.call(robot.stops, SetBool.Request(data=True)).success
    for module in ("driver_node", "bus_process"):
        child = os.pidfd_open(robot.child(module))
        os.kill(robot.child(module), signal.SIGKILL)
        robot.until(lambda child=child: select.select([child], [], [], 0.0)[0], "its end")
        os.close(child)
        robot.status = DriverStatus()
        robot.in_state("stopped")
    assert not robot.transition(Transition.TRANSITION_ACTIVATE)
    assert not robot.hardware.torque()


def test_the_guards_sudden_death_lets_go(robot: Robot) -> None:
    robot.start_driver()
    robot.driving()
    driver = os.pidfd_open(robot.child())
    robot.process.kill()
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    robot.until(lambda: robot.status.state == "unconfigured", "the last word")
    robot.until(lambda: select.select([driver], [], [], 0.0)[0], "the driver's end")
    os.close(driver)


def test_a_launch_that_is_killed_lets_go(robot: Robot) -> None:
    command = [sys.executable, "-m", "ergojr_driver.guard", "--ros-args", "-r", "__ns:=/ergojr"]
    command += ["-p", "pace_seconds:=0.0"]
    guard = subprocess.Popen(
        [*command, "-p", f"port:={robot.port}", "-p", "autostart:=True"],
        env={**os.environ, "ROS_DOMAIN_ID": str(robot.domain)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    robot.log.touch()
    robot.processes.append(guard)
    robot.driving()
    driver = os.pidfd_open(robot.child())
    for pipe in (guard.stdout, guard.stderr):  # nobody is left who reads what the driver says
        assert pipe is not None
        pipe.close()
    os.killpg(guard.pid, signal.SIGKILL)
    robot.until(lambda: not robot.hardware.torque(), "torque off")
    robot.until(lambda: select.select([driver], [], [], 0.0)[0], "the driver's end")
    os.close(driver)


def test_a_port_that_comes_and_goes(robot: Robot) -> None:
    robot.hardware.line.want(False)
    assert robot.hardware.line.settle()
    robot.start_driver()
    robot.until(lambda: "cannot be opened" in robot.status.cause, "the missing port")
    robot.hardware.line.want(True)
    robot.driving()
    robot.hardware.line.want(False)
    robot.drive(lambda: robot.status.state == "unconfigured", "unconfigured")
    robot.until(lambda: "is lost" in robot.log.read_text(), "the log")
    robot.hardware.line.want(True)
    robot.activate()
    assert robot.log.read_text().count("cannot be opened") == 1


def test_a_wrong_calibration_is_refused_at_start(robot: Robot) -> None:
    robot.start_driver(direction="[1.0, 1.0]")
    assert robot.process.wait(20.0) == 2
    assert "direction is [1.0, 1.0], expected six values" in robot.log.read_text()
