"""The fault table, tried on the rig: each fault on a running graph, with its times.

All times are of the machine's one clock: when the fault was made, when the driver said what it had
found (the stamp of its status), and when the last virtual servo lost its torque (the stamp of
`rig/torque`).
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from planet_msgs.msg import DriverStatus
from planet_msgs.srv import InjectFault
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from experiments import tables
from experiments.rig.graph import Graph, graph
from planet_node.stamps import to_ns

ACTIVE = ["m1", "m2", "m3", "m5"]


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
    ("cameras killed", "SIGKILL", send("__node:=pixel_reward", signal.SIGKILL)),
    ("cameras frozen (process)", "SIGSTOP", send("__node:=pixel_reward", signal.SIGSTOP)),
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
    ("driver interrupted", "SIGINT", send("ergojr_driver/driver", signal.SIGINT)),
    ("driver terminated", "SIGTERM", send("ergojr_driver/driver", signal.SIGTERM)),
    ("guard killed", "SIGKILL", send("ergojr_driver/driver", signal.SIGKILL)),
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
        mend()  # first: a node that is frozen says nothing
        running.wait("the driver's word", lambda: told() is not None, 20.0)
    word = told()
    detected = math.nan if word is None else (to_ns(word.header.stamp) - began) * 1e-6
    goes_on = "the launch ends"
    if not ends:
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


def trials(out: Path, domain: int, arguments: tuple[str, ...], only: str) -> None:
    """Try every fault whose name holds `only`, and write out/faults.csv, a row for each."""
    table = tables.fresh(out / "faults.csv", [field.name for field in fields(Row)])
    going_on = [fault for fault in GOES_ON if only in fault[0]]
    letting_go = [fault for fault in LETS_GO if only in fault[0]]
    ending = [fault for fault in ENDS if only in fault[0]]

    def keep(row: Row) -> None:
        print(row, flush=True)
        table.append(vars(row))

    if going_on or letting_go:
        with graph(out / "lasting", domain, *arguments) as running:
            for lasting in going_on:
                keep(try_going_on(running, *lasting))
            for fault in letting_go:
                keep(try_letting_go(running, *fault, ends=False))
    for number, fault in enumerate(ending):
        folder, own = out / f"ending_{number}", domain + 1 + number
        with graph(folder, own, *arguments, apart=True) as running:
            keep(try_letting_go(running, *fault, ends=True))
