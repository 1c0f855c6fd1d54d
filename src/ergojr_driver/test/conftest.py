"""Six virtual servos on a pseudo-terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ergojr_description import xl320
from ergojr_sim.virtual_bus import Line, VirtualBus
from ergojr_sim.virtual_servo import VirtualServo


class Wire:
    """Servos that nothing moves, and their port."""

    def __init__(self, port: Path) -> None:
        self.port = str(port)
        self.servos = [VirtualServo(motor) for motor in range(1, 7)]
        self.bus = VirtualBus(self.servos)
        self.lost = 0  # bytes that are still to be lost on their way to the servos
        self.line = Line(port, self._answer, lambda: self.bus.fault.delay)
        self._thread = threading.Thread(target=self.line.run, name="line")
        self._thread.start()

    def switch_on(self) -> None:
        for servo in self.servos:
            servo.write(xl320.TORQUE_ENABLE.address, b"\x01")

    def wait_for_no_torque(self) -> None:
        deadline = time.monotonic() + 5.0
        while any(servo.get(xl320.TORQUE_ENABLE) for servo in self.servos):
            assert time.monotonic() < deadline
            time.sleep(0.001)  # a servo tells nobody

    def close(self) -> None:
        self.line.close()
        self._thread.join()

    def _answer(self, data: bytes, rate: int) -> tuple[bytes, float]:
        lost = min(self.lost, len(data))
        self.lost -= lost
        return self.bus.answer(data[lost:], rate)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    wire = Wire(tmp_path / "port")
    yield wire
    wire.close()
