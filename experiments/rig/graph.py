"""The rig's launch as an experiment meets it: a process that is started, heard and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from planet_msgs.msg import DriverStatus, ReplayStatus, Transition
from planet_msgs.srv import InjectFault
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from experiments.processes import MARK, command_line, marked
from planet_node.qos import COMMAND, LATCHED, STREAM
from planet_node.stamps import to_ns

ROBOT = "/ergojr"
PATIENCE = 90.0  # s for the graph to drive again


class Graph:
    """The rig's launch, and what is heard of it. With `apart`, its hardware is no part of it."""

    def __init__(
        self,
        data_dir: Path,
        domain: int,
        *arguments: str,
        apart: bool = False,
        log: Path | None = None,
    ) -> None:
        self.domain = domain
        self.log = log or data_dir / "launch.log"
        data_dir.mkdir(parents=True, exist_ok=True)
        commands = hardware_apart(data_dir) if apart else [["planet_bringup", "rig.launch.py"]]
        commands[0] = ["ros2", "launch", *commands[0], f"data_dir:={data_dir}", *arguments]
        mark = uuid.uuid4().hex
        with self.log.open("a") as file:
            self.processes = [
                subprocess.Popen(
                    command,
                    env=os.environ | {"ROS_DOMAIN_ID": str(domain), MARK: f"{mark}.{number}"},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for number, command in enumerate(commands)
            ]
        self.mark = f"{mark}.0"
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
        self.stored: list[int] = []
        """The newest sequence in the replay, each time that it told."""
        listen = self.node.create_subscription
        listen(DriverStatus, f"{ROBOT}/driver_status", self._on_status, LATCHED)
        listen(JointState, f"{ROBOT}/rig/torque", self._on_torque, LATCHED)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, STREAM)
        listen(Transition, f"{ROBOT}/transition", self._on_transition, STREAM)
        listen(ReplayStatus, "/replay/status", self._on_replay, LATCHED)
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

    def _on_replay(self, message: ReplayStatus) -> None:
        with self.changed:
            self.stored.append(message.newest_sequence)
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
        """Call a service and return its answer."""
        client.wait_for_service(timeout)
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            raise TimeoutError(f"{client.service_name} did not answer within {timeout:g} s")
        return future.result()

    def pids(self, part: str = "") -> list[int]:
        """Living processes of this launch whose command line holds `part`, oldest first."""
        return [pid for pid in marked(self.mark) if part in command_line(pid)]

    def close(self) -> None:
        """End the launch as Ctrl-C would, and then what is apart from it."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
        self.leave()

    def leave(self) -> None:
        """Stop listening; what was started goes on."""
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def hardware_apart(data_dir: Path) -> list[list[str]]:
    """Return real.launch.py's arguments, and the commands of what rig.launch.py has besides.

    Hardware that outlives the launch can tell what became of its torque.
    """
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
