"""The bus process, which moves the arm and waits for nothing but the servos.

It runs `Driver` at the bus rate, with real-time priority where the system allows it. It imports
neither rclpy nor anything that uses DDS, and it writes to no pipe that could fill up. The driver
node's requests arrive as records (`link`). The emergency stop and signs of life must not wait in a
queue, so they stand on a page of memory that this process shares with guard and node (`page`). The
bus process survives the node. It switches the torque off when the node, which alone receives the
emergency stop, is silent.

Requests (`do`): hello, setup (config, limits), configure, activate, deactivate, unconfigure, reset
(seed), stop, compliant (on), refuse (why), end_episode (stamp). A request with an `id` is answered.
Messages (`say`): hello, status, report, answer.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import Any

import numpy as np

from ergojr_description.config import LimiterConfig
from ergojr_driver import realtime
from ergojr_driver.bus import Bus
from ergojr_driver.config import DriverConfig
from ergojr_driver.driver import Driver
from ergojr_driver.guarded_bus import GuardedBus
from ergojr_driver.link import CommandRecord, JointsRecord, Link, Words
from ergojr_driver.page import Page
from ergojr_driver.pypot_bus import PypotBus
from ergojr_driver.servo import MOTORS, Joints
from ergojr_driver.status import DriverError, Status
from planet_core.report import Level
from planet_core.robot import ResetResult

_JOINTS_RATE = 50.0  # Hz, at which joint states are sent to the node
_SPAN = 1000  # number of cycles that a report covers
_IDLE = 0.02  # s between looks at the page before there is a driver
_LATE = 0.5  # share of the period; a cycle that begins later than this is not in time


class BusProcess:
    """Drives the arm on the node's requests.

    Args:
        link: the connection to the node.
        page: the memory that guard, node and this process share.
        open_bus: opens the port of a configuration and calls its second argument before each
            packet; raises PortError.
        priority: the priority that the system allowed, for the diagnostics.
        doubtful: motors that may have had torque before this process started.
        steady: the steady clock, in s.
    """

    def __init__(
        self,
        link: Link,
        page: Page,
        open_bus: Callable[[DriverConfig, Callable[[], None]], Bus],
        priority: str,
        doubtful: tuple[int, ...] = (),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._page = page
        self._open_bus = open_bus
        self._priority = priority
        self._doubtful = doubtful
        self._steady = steady
        self._setup: Words = {}
        self._config = DriverConfig()
        self._driver: Driver | None = None
        self._resets: list[tuple[int, Future[ResetResult]]] = []
        self._node = page.node_beats, steady()
        self._beaten = steady()
        self._stood_still = 0.0  # s: the longest pause since the operator agreed to go on
        self._joints_due = 0.0
        self._kept: deque[tuple[float, float]] = deque(maxlen=_SPAN)  # delay and duration in s
        self._cycles, self._in_time = 0, 0  # counts since the last report
        self.ended = False

    def run(self) -> None:
        """Run cycles on an absolute schedule until `ended`; missed cycles are not made up for."""
        self._link.receive()  # requests to a process that has died
        self._say_hello()
        cause = "the node was stopped"
        try:
            self._cycle()
        except BaseException as error:
            cause = f"the bus process failed: {error}"
            raise
        finally:
            if self._driver is not None:
                self._driver.close(cause)
            self._beat()
            self._link.flush()

    def _cycle(self) -> None:
        due = self._steady()
        while not self.ended:
            began = self._steady()
            self.turn()
            ended = self._steady()
            period = 1.0 / self._config.bus_rate if self._driver is not None else _IDLE
            self._note(began - due, ended - began, period)
            due = max(due + period, ended)
            while not self.ended and self._link.wait(due - self._steady()):
                self._take_records()
                self._take_page()

    def _note(self, delay: float, duration: float, period: float) -> None:
        self._kept.append((delay, duration))
        self._cycles += 1
        self._in_time += delay < _LATE * period and duration < period

    def turn(self) -> None:
        """Run one cycle, after the requests that came since the last one."""
        self._take_records()
        self._take_page()
        if self._driver is not None:
            self._driver.cycle()
            self._answer_resets()
        self._beat()
        self._link.flush()

    def _beat(self) -> None:
        self._page.beat(self._driver is not None and self._driver.armed)
        before, self._beaten = self._beaten, self._steady()
        self._stood_still = max(self._stood_still, self._beaten - before)

    def _accept(self) -> None:
        """Record that the operator has agreed to go on."""
        self._page.accept()
        self._stood_still = 0.0
        self._node = self._page.node_beats, self._steady()  # the node is alive: it has just asked

    def _why_taken(self) -> str:
        """Return the sentence on why the guard has switched the torque off."""
        longest = max(self._stood_still, self._steady() - self._beaten)
        return (
            f"the bus process got no processor for {1e3 * longest:.0f} ms, so its guard let the "
            "arm go: this computer is too busy"
        )

    # The page

    def _take_page(self) -> None:
        driver, now = self._driver, self._steady()
        beats, since = self._node
        if self._page.node_beats != beats:
            self._node = self._page.node_beats, now
        if driver is None:
            return
        if self._page.stopped != driver.stopped:
            driver.emergency_stop(self._page.stopped)
        if self._page.taken:
            driver.fail(self._why_taken())
        silence = now - since
        if self._page.node_beats == beats and silence > self._config.node_watchdog:
            driver.fail(
                f"the driver node has been silent for {1e3 * silence:.0f} ms: nobody would hear an "
                "emergency stop"
            )

    # Records

    def _take_records(self) -> None:
        for record in self._link.receive():
            if isinstance(record, CommandRecord):
                if self._driver is not None:
                    self._driver.command(record.efforts, record.stamp, record.arrival)
            elif not isinstance(record, JointsRecord):
                self._do(record)

    def _do(self, words: Words) -> None:
        if words["do"] == "hello":
            self._say_hello()
        elif words["do"] == "setup":
            self._set_up(words)
        elif self._driver is None:
            self._answer(words, False, "the bus process has no configuration yet")
        elif words["do"] == "reset":
            self._resets.append((words["id"], self._driver.reset(words["seed"])))
        elif words["do"] == "end_episode":
            self._driver.end_episode(words["stamp"])
        elif words["do"] == "refuse":
            self._driver.refuse_command(words["why"])
        elif words["do"] == "stop":
            self._take_page()
            self._answer(words, True, "")
        else:
            self._try(words, self._driver)

    def _try(self, words: Words, driver: Driver) -> None:
        message = ""
        try:
            if words["do"] == "configure":
                driver.configure()
            elif words["do"] == "activate":
                self._accept()
                driver.activate()
            elif words["do"] == "compliant":
                self._accept()
                message = driver.set_compliant(words["on"])
            elif words["do"] == "deactivate":
                driver.deactivate()
            else:
                driver.unconfigure()
        except DriverError as error:
            self._answer(words, False, str(error))
        else:
            self._answer(words, True, message)

    def _set_up(self, words: Words) -> None:
        """Make the driver, unless there is one of this configuration: a node may have restarted."""
        setup = {"config": words["config"], "limits": words["limits"]}
        if self._driver is not None and setup == self._setup:
            return
        if self._driver is not None:
            self._driver.close()
        self._setup = setup
        self._config = config = DriverConfig.from_dict(words["config"])
        self._driver = Driver(
            config,
            LimiterConfig(**words["limits"]),
            lambda: GuardedBus(self._open(config), self._page, self._why_taken),
            self._on_joints,
            self._on_status,
            self._report,
            stop_wanted=lambda: self._page.stopped,
            doubtful=self._doubtful,
            steady=self._steady,
        )
        self._doubtful = ()
        self._on_status(self._driver.status)

    def _open(self, config: DriverConfig) -> Bus:
        self._page.name_port(config.port, config.baud_rate)
        return self._open_bus(config, self._beat)

    def _answer(self, words: Words, ok: bool, message: str, first_stamp: int = 0) -> None:
        if "id" in words:
            answer = {"say": "answer", "id": words["id"], "ok": ok, "message": message}
            self._link.send({**answer, "first_stamp": first_stamp})

    def _answer_resets(self) -> None:
        for number, future in list(self._resets):
            if future.done():
                self._resets.remove((number, future))
                result = future.result()
                self._answer({"id": number}, result.ok, result.message, result.first_stamp)

    # Messages to the node

    def _say_hello(self) -> None:
        self._link.send({"say": "hello", "pid": os.getpid()})
        if self._driver is not None:
            self._on_status(self._driver.status)

    def _on_joints(self, joints: Joints, stamp: int) -> None:
        now = self._steady()
        if now >= self._joints_due:
            self._joints_due = max(self._joints_due + 1.0 / _JOINTS_RATE, now)
            self._link.send_joints(joints, stamp)

    def _on_status(self, status: Status) -> None:
        self._beat()  # the last beat before a port is closed
        # If the guard has taken the arm, that explains whatever this process found on waking up.
        taken = status.state in ("fault", "unconfigured") and self._page.taken
        cause = f"{self._why_taken()} ({status.cause})" if taken else status.cause
        said = {"state": status.state, "torque": status.torque, "cause": cause}
        self._link.send({"say": "status", **said, "stamp": status.stamp})

    def _report(self, part: str, level: Level, sentence: str, values: dict[str, object]) -> None:
        if part == "bus" and values:
            values = values | self._pace()
        report: dict[str, Any] = {"part": part, "level": level, "sentence": sentence}
        self._link.send({"say": "report", **report, "values": values})

    def _pace(self) -> dict[str, object]:
        """Return the number of cycles since the last report, and their delays and durations."""
        delays, durations = np.array(self._kept or [(0.0, 0.0)]).T
        cycles, in_time = self._cycles, self._in_time
        self._cycles, self._in_time = 0, 0
        return {
            "cycles": cycles,
            "cycles_in_time": in_time,
            "cycle_median_ms": f"{1e3 * np.median(durations):.2f}",
            "cycle_p99_ms": f"{1e3 * np.quantile(durations, 0.99):.2f}",
            "delay_p99_ms": f"{1e3 * np.quantile(delays, 0.99):.2f}",
            "delay_most_ms": f"{1e3 * delays.max():.1f}",
            "priority": self._priority,
        }


def open_port(config: DriverConfig, on_packet: Callable[[], None]) -> Bus:
    """Open the serial port of a configuration.

    Raises:
        PortError: if it cannot be opened.
    """
    return PypotBus(config.port, config.baud_rate, config.reply_timeout, on_packet)


def main() -> int:
    """Run the process under the guard, and return its exit code."""
    page = Page.inherited()
    doubtful = MOTORS if page.beats else ()  # an earlier bus process drove them, and has died
    priority = realtime.go_first(realtime.BUS)
    process = BusProcess(Link.inherited(), page, open_port, priority, doubtful)

    def end(number: int, frame: FrameType | None) -> None:
        process.ended = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    gc.freeze()  # so that a collection looks at new objects only
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
