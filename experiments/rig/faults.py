"""The fault table, tried on the rig: each fault on a running graph, with its times.

Times are read from three clocks' one, the machine's: when the fault was made, when the driver said
what it had found (the stamp of its status), and when the last virtual servo lost its torque (the
stamp of `rig/torque`).
"""

from __future__ import annotations

import csv
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from planet_node.qos import COMMAND, LATCHED, STREAM
from planet_node.stamps import to_ns
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from planet_msgs.msg import DriverStatus, Transition
from planet_msgs.srv import InjectFault

ROBOT = "/ergojr"
ACTIVE = ["m1", "m2", "m3", "m5"]
PATIENCE = 90.0  # s for the graph to drive again


@dataclass(frozen=True)
class Row:
    """One fault and what came of it; times in ms, NaN where there is none."""

    fault: str
    made_by: str
    outcome: str
    detect_ms: float
    """From the fault to the driver's word of it."""
    off_after_detection_ms: float
    off_ms: float
    """From the fault to the torque off."""
    cause: str
    goes_on: str


class Graph:
    """The rig's launch, and what is heard of it. With `apart`, its hardware is no part of it."""

    def __init__(self, data_dir: Path, domain: int, *arguments: str, apart: bool) -> None:
        self.domain = domain
        self.log = data_dir / "launch.log"
        data_dir.mkdir(parents=True, exist_ok=True)
        commands = hardware_apart(data_dir) if apart else [["planet_bringup", "rig.launch.py"]]
        commands[0] = ["ros2", "launch", *commands[0], f"data_dir:={data_dir}", *arguments]
        with self.log.open("a") as log:
            self.processes = [
                subprocess.Popen(
                    command,
                    env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for command in commands
            ]
        self.process = self.processes[0]
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=domain)
        self.node = rclpy.create_node("trial", context=self.context)
        self.changed = threading.Condition()
        self.statuses: list[DriverStatus] = []
        self.torques: list[tuple[int, bool]] = []
        """Stamp (ns), and whether any servo has torque."""
        self.diagnostics: list[tuple[str, str]] = []
        """What went beyond OK: name, message."""
        self.version = 0  # of the weights that the roller acts with
        self.driven = 0.0
        """When the last decision was heard of, s on the steady clock."""
        listen = self.node.create_subscription
        listen(DriverStatus, f"{ROBOT}/driver_status", self._on_status, LATCHED)
        listen(JointState, f"{ROBOT}/rig/torque", self._on_torque, LATCHED)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, STREAM)
        listen(Transition, f"{ROBOT}/transition", self._on_transition, STREAM)
        self.commands = self.node.create_publisher(JointState, f"{ROBOT}/joint_command", COMMAND)
        self.fault = self.node.create_client(InjectFault, f"{ROBOT}/rig/fault")
        self.stop = self.node.create_client(SetBool, f"{ROBOT}/emergency_stop")
        self.state = self.node.create_client(GetState, f"{ROBOT}/driver/get_state")
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_status(self, message: DriverStatus) -> None:
        with self.changed:
            self.statuses.append(message)
            self.changed.notify_all()

    def _on_torque(self, message: JointState) -> None:
        with self.changed:
            self.torques.append((to_ns(message.header.stamp), any(message.effort)))
            self.changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self.changed:
            self.diagnostics += [
                (status.name, status.message)
                for status in message.status
                if status.level != DiagnosticStatus.OK
            ]
            self.changed.notify_all()

    def _on_transition(self, message: Transition) -> None:
        with self.changed:
            self.driven = time.monotonic()
            self.version = message.weights_version
            self.changed.notify_all()

    def wait(self, what: str, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Raises TimeoutError, which names `what` never happened."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise TimeoutError(f"{what} did not happen within {timeout:g} s; see {self.log}")

    def wait_driving(self, steps: int = 4) -> None:
        """Until the robot is some decisions into an episode."""
        began = time.monotonic()
        self.wait("driving", lambda: bool(self.statuses) and self.statuses[-1].state == "driving")
        for _ in range(steps):
            self.wait_decision(began)

    def wait_decision(self, since: float = 0.0, timeout: float = PATIENCE) -> None:
        """Until the roller's next decision after `since`."""
        newest = max(since, self.driven)
        self.wait("a decision", lambda: self.driven > newest, timeout)

    def call(self, client: Any, request: Any, timeout: float = 5.0) -> Any:
        client.wait_for_service(timeout)
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            raise TimeoutError(f"{client.service_name} did not answer within {timeout:g} s")
        return future.result()

    def pids(self, part: str) -> list[int]:
        """Processes of this launch whose command line holds `part`, oldest first."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if part in line and self._has(int(entry.name)):
                        found.append(int(entry.name))
                except (OSError, UnicodeDecodeError):
                    continue
        return sorted(found)

    def _has(self, pid: int) -> bool:
        """Whether a process descends from the launch: the driver has a session of its own."""
        while pid > 1 and pid != self.process.pid:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return pid == self.process.pid

    def close(self) -> None:
        """End the launch as Ctrl-C would, and then what is apart from it."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def hardware_apart(data_dir: Path) -> list[list[str]]:
    """real.launch.py's arguments, and the commands of what rig.launch.py has besides: hardware that
    outlives the launch can tell what became of its torque."""
    port, config = data_dir / "port", Path(get_package_share_directory("planet_bringup")) / "config"
    with socket.socket() as front, socket.socket() as side:
        for one in (front, side):
            one.bind(("127.0.0.1", 0))
        ports = {"front": front.getsockname()[1], "side": side.getsockname()[1]}
    real = ["planet_bringup", "real.launch.py", "robot:=rig", f"port:={port}"]
    rig = ["ergojr_sim", "rig_node", "--params-file", str(config / "rig.yaml")]
    rig += ["-p", f"port_link:={port}"]
    for name, number in ports.items():
        real.append(f"camera_{name}:=http://127.0.0.1:{number}/stream.mjpg")
        rig += ["-p", f"{name}_http_port:={number}"]
    operator = ["planet_bringup", "scripted_operator_node"]
    namespace = ["--ros-args", "-r", f"__ns:={ROBOT}"]
    return [real, *(["ros2", "run", *one[:2], *namespace, *one[2:]] for one in (rig, operator))]


@contextmanager
def graph(data_dir: Path, domain: int, *arguments: str, apart: bool = False) -> Iterator[Graph]:
    """A rig that is driving when it is handed over."""
    running = Graph(data_dir, domain, *arguments, apart=apart)
    try:
        running.wait_driving()
        yield running
    finally:
        running.close()


def inject(kind: str, target: str = "", value: float = 0.0, duration: float = 0.0) -> Make:
    """A fault of the virtual hardware."""

    def make(running: Graph) -> Callable[[], None]:
        request = InjectFault.Request(kind=kind, target=target, value=value, duration=duration)
        answer = running.call(running.fault, request)
        if not answer.ok:
            raise RuntimeError(f"rig/fault {kind}: {answer.message}")
        return lambda: running.call(running.fault, InjectFault.Request())

    return make


def command(names: list[str], effort: list[float]) -> Make:
    """A bad command among the roller's."""

    def make(running: Graph) -> Callable[[], None]:
        message = JointState(name=names, effort=effort)
        message.header.stamp = running.node.get_clock().now().to_msg()
        running.commands.publish(message)
        return lambda: None

    return make


def send(part: str, number: signal.Signals) -> Make:
    """A signal to the first process whose command line holds `part`."""

    def make(running: Graph) -> Callable[[], None]:
        pids = running.pids(part)
        if not pids:
            raise RuntimeError(f"no process of the launch has {part} in its command line")
        pid = pids[0]
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            return lambda: os.kill(pid, signal.SIGCONT)
        return lambda: None

    return make


def kill_launch(running: Graph) -> Callable[[], None]:
    """All that it started goes with it, the driver last."""
    running.process.kill()
    return lambda: None


def emergency_stop(running: Graph) -> Callable[[], None]:
    """The button."""
    running.call(running.stop, SetBool.Request(data=True))
    return lambda: running.call(running.stop, SetBool.Request(data=False))


Make = Callable[[Graph], Callable[[], None]]
"""Makes a fault and returns what mends it."""

GOES_ON: tuple[tuple[str, str, Make, float, str], ...] = (
    ("learner killed", "SIGKILL", send("learner_node", signal.SIGKILL), 10.0, "learner"),
    ("replay killed", "SIGKILL", send("replay_node", signal.SIGKILL), 10.0, "replay"),
    ("1 % CRC errors", "rig", inject("corrupt_crc", "bus", 0.01), 15.0, "driver"),
)
"""(a): fault, by what, how, for how long (s), whose diagnostic should tell."""

LETS_GO: tuple[tuple[str, str, Make], ...] = (
    ("command NaN", "publisher", command(ACTIVE, [math.nan, 0.0, 0.0, 0.0])),
    ("command infinite", "publisher", command(ACTIVE, [0.0, math.inf, 0.0, 0.0])),
    ("command of wrong length", "publisher", command(ACTIVE, [0.0, 0.0])),
    ("command for wrong names", "publisher", command(["m1", "m2", "m3", "m9"], [0.0] * 4)),
    ("overheated motor", "rig", inject("overheat", "m2", 75.0)),
    ("overloaded motor", "rig", inject("overload", "m2")),
    ("hardware error", "rig", inject("hardware_error", "m3", 4.0)),
    ("silent motor", "rig", inject("silence", "m5")),
    ("50 % CRC errors", "rig", inject("corrupt_crc", "bus", 0.5)),
    ("emergency stop", "service", emergency_stop),
    ("roller killed", "SIGKILL", send("roller_node", signal.SIGKILL)),
    ("roller frozen", "SIGSTOP", send("roller_node", signal.SIGSTOP)),
    ("camera killed", "SIGKILL", send("__node:=camera_front", signal.SIGKILL)),
    ("camera frozen (process)", "SIGSTOP", send("__node:=camera_side", signal.SIGSTOP)),
    ("camera frozen (same pixels)", "rig", inject("freeze_camera", "camera_front")),
    ("camera unplugged", "rig", inject("disconnect_camera", "camera_side")),
    ("camera late by 1 s", "rig", inject("delay_camera", "camera_front", 1.0)),
    ("driver node killed", "SIGKILL", send("ergojr_driver.driver_node", signal.SIGKILL)),
    ("driver node frozen", "SIGSTOP", send("ergojr_driver.driver_node", signal.SIGSTOP)),
    ("bus process killed", "SIGKILL", send("ergojr_driver.bus_process", signal.SIGKILL)),
    ("bus process frozen", "SIGSTOP", send("ergojr_driver.bus_process", signal.SIGSTOP)),
    ("motor restarts by itself", "rig", inject("reboot", "m3")),
)
"""(b) and (c): after each the graph goes on when it is mended and the operator agrees."""

ENDS: tuple[tuple[str, str, Make], ...] = (
    ("driver interrupted", "SIGINT", send("driver_node", signal.SIGINT)),
    ("driver terminated", "SIGTERM", send("driver_node", signal.SIGTERM)),
    ("guard killed", "SIGKILL", send("driver_node", signal.SIGKILL)),
    ("launch killed", "SIGKILL", kill_launch),
)
"""(b) and (d): the launch ends with the driver, or the driver with the launch."""


def try_going_on(
    running: Graph, fault: str, made_by: str, make: Make, seconds: float, teller: str
) -> Row:
    """The motion must go on, and a diagnostic must tell."""
    running.wait("planning", lambda: running.version > 0)  # there is something to lose
    running.wait_driving()
    running.diagnostics.clear()
    seen = len(running.statuses)
    mend = make(running)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        running.wait_decision()
    mend()
    faults = [s.cause for s in running.statuses[seen:] if s.state in {"fault", "stopped"}]
    told = sorted({f"{n}: {m}" for n, m in running.diagnostics if teller in f"{n}: {m}"})
    return Row(
        fault,
        made_by,
        "stopped" if faults else "goes on",
        *(math.nan,) * 3,
        cause=faults[0] if faults else (told[0] if told else "no diagnostic"),
        goes_on="no" if faults else "yes",
    )


def try_letting_go(running: Graph, fault: str, made_by: str, make: Make, ends: bool) -> Row:
    """The torque must go off; unless the launch ends with it, motion must come again."""
    for _ in range(5):
        running.wait_driving()
        seen = len(running.statuses)
        began = time.time_ns()
        mend = make(running)

        def off(began: int = began) -> int | None:
            return next((stamp for stamp, on in running.torques if stamp > began and not on), None)

        def over(seen: int = seen) -> bool:
            return any(status.state == "holding" for status in running.statuses[seen:])

        running.wait("torque off", lambda: off() is not None or over(), 20.0)
        found = off()
        if found is not None:
            break
        mend()  # the episode was over first: there was nothing to let go of
    else:
        raise TimeoutError(f"five episodes were over before '{fault}' was noticed")

    def told() -> DriverStatus | None:
        words = running.statuses[seen:]
        return next((s for s in words if s.state in {"fault", "stopped"} or s.cause), None)

    if not ends:
        running.wait("the driver's word", lambda: told() is not None, 20.0)
    word = told()
    detected = math.nan if word is None else (to_ns(word.header.stamp) - began) * 1e-6
    goes_on = "the launch ends"
    if not ends:
        mend()
        try:
            running.wait_driving()
            goes_on = "yes"
        except TimeoutError as error:
            goes_on = str(error)
    total = (found - began) * 1e-6
    return Row(
        fault,
        made_by,
        "torque off",
        round(detected, 1),
        round(total - detected, 1),
        round(total, 1),
        word.cause if word is not None else "",
        goes_on,
    )


def trials(out: Path, domain: int, arguments: tuple[str, ...], only: str) -> list[Row]:
    """Try every fault whose name holds `only`; rows are printed as they come."""
    rows: list[Row] = []

    def keep(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)
        write(out / "faults.csv", rows)

    lasting = [f for f in GOES_ON if only in f[0]], [f for f in LETS_GO if only in f[0]]
    if any(lasting):
        with graph(out / "lasting", domain, *arguments) as running:
            for trial in lasting[0]:
                keep(try_going_on(running, *trial))
            for fault in lasting[1]:
                keep(try_letting_go(running, *fault, ends=False))
    for number, fault in enumerate(f for f in ENDS if only in f[0]):
        folder, own = out / f"ending_{number}", domain + 1 + number
        with graph(folder, own, *arguments, apart=True) as running:
            keep(try_letting_go(running, *fault, ends=True))
    return rows


def write(path: Path, rows: list[Row]) -> None:
    """One line per fault."""
    names = [item.name for item in fields(Row)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
