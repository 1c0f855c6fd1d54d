"""The node's side of the bus process: asks it, hears it, and knows what it last said.

`checking` is a state of the node's own: the motors are found, and for some seconds it is measured
whether this computer keeps the pace. Only then is the driver inactive, and can be activated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from ergojr_description.kinematics import Array
from ergojr_driver.config import DriverConfig
from ergojr_driver.link import JointsRecord, Link, Record, Words
from ergojr_driver.pace import PaceCheck
from ergojr_driver.page import Page
from ergojr_driver.status import Status
from planet_core.report import Level

_ANSWER_SECONDS = 2.0  # for the bus process to answer what takes no time
_SLOW_SECONDS = 10.0  # and for what waits for motors: six restarts, or a search for who answers
_LISTEN = 0.2  # s between looks whether this is to end
_SLOW = ("configure", "activate", "compliant")


@dataclass(frozen=True)
class Answer:
    """What the bus process answers; first_stamp (ns) is a reset's."""

    ok: bool
    message: str
    first_stamp: int = 0


class BusClient:
    """Thread-safe. The callbacks run in the thread of `listen`, and may not call back.

    Args:
        limits: the limiter's configuration, by name.
        on_joints: gets each reading.
        on_status: gets each change of the status.
        on_report: gets (part, level, sentence, values) about once a second.
    """

    def __init__(
        self,
        link: Link,
        page: Page,
        config: DriverConfig,
        limits: dict[str, float],
        on_joints: Callable[[JointsRecord], None],
        on_status: Callable[[Status], None],
        on_report: Callable[[str, Level, str, dict[str, object]], None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._page = page
        self._config = config
        self._setup = {"config": config.to_dict(), "limits": limits}
        self._on_joints = on_joints
        self._on_status = on_status
        self._on_report = on_report
        self._steady = steady
        self._sending = threading.Lock()
        self._answers: dict[int, Future[Answer]] = {}
        self._asked = 0
        self._pid = 0  # of the bus process
        self._ended = False
        self._said = Status("unconfigured", False, "the bus process has not answered yet")
        self.status = self._said
        self._checked = config.pace_seconds == 0.0
        self._check_ends = 0.0
        self._unfit = ""  # why the pace is not kept
        self._pace = PaceCheck(config.max_observation_age)

    # What the node asks for

    def connect(self) -> None:
        """Ask the bus process who it is and what it does, and give it its configuration."""
        self._send({"do": "hello"})
        self._send({"do": "setup", **self._setup})

    def ask(self, do: str, **words: Any) -> Answer:
        """Have something done; waits for the answer, outside of the callbacks' thread."""
        future = self.begin(do, **words)
        seconds = _SLOW_SECONDS if do in _SLOW else _ANSWER_SECONDS
        try:
            return future.result(seconds)
        except TimeoutError:
            # Whether it lives is for the guard to find out.
            self._page.ask()
            return Answer(False, f"the bus process did not answer for {seconds:g} s")

    def begin(self, do: str, **words: Any) -> Future[Answer]:
        """Have something begun; the answer comes when it is done."""
        future: Future[Answer] = Future()
        with self._sending:
            self._asked += 1
            self._answers[self._asked] = future
            self._link.send({"do": do, "id": self._asked, **words})
        return future

    def tell(self, do: str, **words: Any) -> None:
        """Say what needs no answer."""
        self._send({"do": do, **words})

    def command(self, efforts: Array, stamp: int) -> None:
        """Pass a command on: efforts [4] N m that answer the observation of `stamp`, ns."""
        with self._sending:
            self._link.send_command(efforts, stamp, self._steady())

    def stop(self, on: bool) -> Answer:
        """Latch the torque off, or release the latch; no record has to arrive for that."""
        self._page.stop(on)
        return self.ask("stop")

    def alive(self) -> None:
        """Say that an emergency stop would be heard; call it several times a second."""
        self._page.node_beat()
        self._check()
        with self._sending:
            self._link.flush()

    def images(self, stamp: int, arrival: int) -> None:
        """A set of images was judged; times in ns."""
        self._pace.images(stamp, arrival)

    def close(self, seconds: float) -> None:
        """Let go, and wait for the bus process' last word for at most `seconds`."""
        deadline = self._steady() + seconds
        last = self.begin("unconfigure")
        while not last.done() and self._said.state != "unconfigured":
            if self._steady() >= deadline:
                break
            time.sleep(0.005)
        self._ended = True

    def _send(self, words: Words) -> None:
        with self._sending:
            self._link.send(words)

    # What the bus process says

    def listen(self) -> None:
        """Hear the bus process until `close`, in a thread of its own."""
        while not self._ended:
            if self._link.wait(_LISTEN):
                for record in self._link.receive():
                    self._hear(record)

    def _hear(self, record: Record) -> None:
        if isinstance(record, JointsRecord):
            self._on_joints(record)
        elif isinstance(record, dict):
            {
                "hello": self._hear_hello,
                "status": self._hear_status,
                "answer": self._hear_answer,
                "report": self._hear_report,
            }[record["say"]](record)

    def _hear_hello(self, words: Words) -> None:
        """It has started, or was asked: a new one knows nothing of what the old one was asked."""
        if words["pid"] != self._pid:
            self._pid = words["pid"]
            with self._sending:
                lost, self._answers = self._answers, {}
            for future in lost.values():
                future.set_result(Answer(False, "the bus process was started again"))
        self._send({"do": "setup", **self._setup})

    def _hear_status(self, words: Words) -> None:
        self._said = Status(words["state"], words["torque"], words["cause"], words["stamp"])
        if self._said.state == "inactive" and not self._checked and not self._check_ends:
            self._check_ends = self._steady() + self._config.pace_seconds
        self._tell_status()

    def _hear_answer(self, words: Words) -> None:
        with self._sending:
            future = self._answers.pop(words["id"], None)
        if future is not None:
            future.set_result(Answer(words["ok"], words["message"], words["first_stamp"]))

    def _hear_report(self, words: Words) -> None:
        values = words["values"]
        if "cycles" in values:
            self._pace.bus(values["cycles"], values["cycles_in_time"])
        self._on_report(words["part"], words["level"], words["sentence"], values)

    # The pace

    def _check(self) -> None:
        if self._checked or not self._check_ends or self._steady() < self._check_ends:
            return
        verdict = self._pace.verdict()
        self._checked = verdict.fits
        level: Level = ("warn" if verdict.tight else "ok") if verdict.fits else "error"
        self._on_report("pace", level, verdict.sentence, {})
        self._pace = PaceCheck(self._config.max_observation_age)
        self._check_ends = self._steady() + self._config.pace_seconds
        self._unfit = "" if verdict.fits else verdict.sentence
        self._tell_status()

    def _tell_status(self) -> None:
        status = self._said
        if status.state == "inactive" and not self._checked:
            cause = self._unfit or (
                "the driver measures whether this computer keeps the pace, for "
                f"{self._config.pace_seconds:g} s"
            )
            status = replace(status, state="checking", cause=cause)
        if status != self.status:
            self.status = status
            self._on_status(status)
