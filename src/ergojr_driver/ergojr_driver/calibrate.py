"""The guided tool `calibrate`: from an assembled arm to the driver's section of robot.yaml.

    ros2 run ergojr_driver calibrate --output robot_driver.yaml

The tool finds the port, checks the six motors, and asks you to move the arm by hand. So it measures
each motor's offset and direction, and whether the motor reports its speed. Then, if you agree, the
arm moves slowly and with little effort to one pose, once from above and once from below. The
effort scale is the weight that the motors carry in this pose over the effort that they report; the
mean of both ways is free of friction.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ergojr_description import kinematics, xl320
from ergojr_description.kinematics import JOINT_NAMES, Array
from ergojr_description.limiter import Limiter
from ergojr_driver import guard
from ergojr_driver.bus import Bus, BusError, MotorRefusedError, PortError
from ergojr_driver.ports import serial_ports, which_ports
from ergojr_driver.pypot_bus import PypotBus
from ergojr_driver.scan import who_answers
from ergojr_driver.servo import MOTORS, Calibration, Joints
from ergojr_driver.speed_check import SpeedCheck

TURNS = (
    "m1: turn the arm to its left (counter-clockwise, seen from above)",
    "m2: lean the whole arm forward and down",
    "m3: lean the forearm forward and down",
    "m4: turn the forearm counter-clockwise, seen from above",
    "m5: tilt the hand down",
    "m6: open the gripper",
)
"""The motion that each joint's angle grows with, as the user is told."""
ENOUGH = 0.25  # rad by which a joint must be moved by hand
VOLTAGE_ERROR = 0.2  # V by which a motor's reading may be too high
GAIN_NAMES = {xl320.P_GAIN: "P", xl320.I_GAIN: "I", xl320.D_GAIN: "D"}
MOST_OFFSET = 0.6  # rad; with a greater offset, a horn is mounted a notch or more away
READINGS = 20
"""Number of readings of which an angle is the mean."""
TIMEOUT = 0.05  # s for the answers to one packet

LEANING: Array = np.array([0.0, 0.2, 0.2, 0.0, -0.3, 0.0])
"""[6] rad: the pose in which m2, m3 and m5 carry weight."""
WEIGHED = (1, 2, 4)
"""Indices of m2, m3 and m5."""
APART: Array = np.array([0.0, 0.15, 0.15, 0.0, 0.15, 0.0])
"""[6] rad: how far above and below `LEANING` the arm starts from."""
SLOW, WEAK = 0.3, 0.12  # rad/s and N m: greatest speed and effort of the arm
STEP = 0.02  # s between two commands
SETTLE = 1.0  # s for the arm to come to rest
LEAST_LOAD = 0.008  # N m; a smaller load gives no scale
SCALES = (0.5, 2.0)
"""Smallest and greatest plausible effort scale."""


class CalibrationError(Exception):
    """The arm cannot be calibrated as it is; one sentence."""


class Calibrator:
    """Measures a calibration with the help of a person.

    Args:
        bus: the servo bus.
        ask: shows a request to the person and returns the answer.
        tell: shows a sentence to the person.
        sleep: waits for some s.
        clock: the steady clock, in s.
    """

    def __init__(
        self,
        bus: Bus,
        ask: Callable[[str], str],
        tell: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._ask = ask
        self._tell = tell
        self._sleep = sleep
        self._limiter = Limiter()
        self._speeds = SpeedCheck(bus, clock)

    def run(self) -> dict[str, list[float]]:
        """Measure the driver's parameters `direction`, `offset` and `effort_scale`.

        The arm has no torque afterwards, whatever happens.

        Raises:
            CalibrationError: if the arm cannot be calibrated as it is.
            BusError: if a motor does not answer.
        """
        try:
            self._bus.torque_off(MOTORS)
            self._look()
            offset = self._offset()
            direction = self._direction()
            scale = self._scale(Calibration(tuple(direction), tuple(offset), (1.0,) * 6))
        finally:
            for _ in range(3):
                self._bus.torque_off(MOTORS)
        if silent := self._speeds.silent():
            self._tell(
                f"{', '.join(silent)}: no speed is reported by the motor while it moves, so the "
                "driver will take it from the positions."
            )
        return {"direction": direction, "offset": offset, "effort_scale": scale}

    def _look(self) -> None:
        for motor, name in zip(MOTORS, JOINT_NAMES, strict=True):
            model = self._bus.ping(motor)
            if model is None:
                raise CalibrationError(
                    f"{name} (id {motor}) does not answer: {who_answers(self._bus.scan(), [motor])}"
                )
            if model != xl320.MODEL:
                raise CalibrationError(f"{name} is of model {model}, expected an XL-320")
            health = self._bus.read_health(motor)
            firmware = self._bus.read(motor, xl320.FIRMWARE)
            error = xl320.hardware_error_text(health.hardware_error) or "no error"
            self._tell(
                f"{name}: firmware {firmware}, {health.voltage:.1f} V, "
                f"{health.temperature:.0f} °C, {error}"
            )
            low, high = xl320.VOLTAGES
            if not low <= health.voltage <= high + VOLTAGE_ERROR:
                raise CalibrationError(
                    f"{name} has a supply of {health.voltage:.1f} V, expected {low:.0f} to "
                    f"{high:.1f} V: switch it off and use the kit's (7.5 V)"
                )
            for gain, delivered in xl320.GAINS_DELIVERED.items():
                if (found := self._bus.read(motor, gain)) != delivered:
                    self._bus.write(motor, gain, delivered)
                    self._tell(
                        f"{name}: the {GAIN_NAMES[gain]} gain was {found} and is {delivered} again"
                    )
            for register, value in (
                (xl320.CONTROL_MODE, xl320.JOINT_MODE),
                (xl320.ANGLE_LOW, 0),
                (xl320.ANGLE_HIGH, 1023),
            ):
                if self._bus.read(motor, register) != value:
                    self._bus.write(motor, register, value)

    def _angles(self) -> Array:
        """Return the motors' angles, [6] rad, each the mean of some readings."""
        readings = []
        for _ in range(READINGS * 5):
            motors = self._bus.read_state(MOTORS).motors
            if len(motors) == len(MOTORS):
                readings.append([motors[motor].position for motor in MOTORS])
            if len(readings) == READINGS:
                return np.asarray(np.mean(readings, axis=0))
        raise CalibrationError("the motors do not answer reliably: check cables and supply")

    def _offset(self) -> list[float]:
        self._ask(
            "Move the arm to its zero pose and keep it there: upper arm upright, hand level and "
            "pointing forward, fingers parallel. Then Enter."
        )
        offset = self._angles()
        for name, value in zip(JOINT_NAMES, offset, strict=True):
            if abs(value) > MOST_OFFSET:
                raise CalibrationError(
                    f"{name} reads {np.degrees(value):.0f} degrees at the zero pose: mount its "
                    "horn with the marks in line"
                )
        return [round(float(value), 4) for value in offset]

    def _direction(self) -> list[float]:
        direction = []
        for index, turn in enumerate(TURNS):
            start = self._angles()
            while True:
                with self._speeds:
                    self._ask(f"{turn}, by 20 degrees or more, and keep it there. Then Enter.")
                moved = self._angles() - start
                if abs(moved[index]) >= ENOUGH:
                    break
                most = int(np.abs(moved).argmax())
                other = f"; {JOINT_NAMES[most]} did" if abs(moved[most]) >= ENOUGH else ""
                self._tell(f"{JOINT_NAMES[index]} did not move far enough{other}.")
            direction.append(float(np.sign(moved[index])))
        return direction

    def _scale(self, calibration: Calibration) -> list[float]:
        scale = [1.0] * len(MOTORS)
        answer = self._ask(
            "The arm now leans forward slowly to weigh itself. Clear the table, move the arm near "
            "its zero pose, hands off. Enter to begin, s to skip."
        )
        if answer.strip().lower().startswith("s"):
            return scale
        goal = self._joints(calibration).position
        self._send(calibration, goal)
        self._bus.set_torque(MOTORS, True)
        loads = []
        for side in (-1.0, 1.0):
            for pose in (LEANING + side * APART, LEANING):
                goal = self._go(calibration, goal, pose)
            loads.append(self._joints(calibration).load)
        self._go(calibration, goal, np.zeros(6))
        carried = kinematics.gravity_effort(LEANING)
        pushed = np.mean(loads, axis=0)
        known = []
        for index in WEIGHED:
            self._tell(
                f"{JOINT_NAMES[index]} carries {1e3 * carried[index]:.0f} mN m, its motor says "
                f"{1e3 * pushed[index]:.0f}"
            )
            if abs(pushed[index]) >= LEAST_LOAD and abs(carried[index]) >= LEAST_LOAD:
                ratio = float(carried[index] / pushed[index])
                if not SCALES[0] <= ratio <= SCALES[1]:
                    self._tell(f"{JOINT_NAMES[index]}: {ratio:.2f} is not plausible, left at 1")
                    continue
                scale[index] = round(ratio, 3)
                known.append(ratio)
        if known:  # m1, m4 and m6 carry no weight, but all motors are of one kind
            for index in set(range(len(MOTORS))) - set(WEIGHED):
                scale[index] = round(float(np.mean(known)), 3)
        return scale

    def _go(self, calibration: Calibration, start: Array, end: Array) -> Array:
        if trouble := self._limiter.clear_path(start, end):
            raise CalibrationError(
                f"the arm may not go straight from where it is, {trouble}: move it near its zero "
                "pose and begin again"
            )
        steps = int(np.ceil(np.abs(end - start).max() / (SLOW * STEP))) or 1
        for step in range(1, steps + 1):
            self._send(calibration, start + (end - start) * (step / steps))
            self._sleep(STEP)
            self._speeds.look()
        self._sleep(SETTLE)
        return end

    def _send(self, calibration: Calibration, goal: Array) -> None:
        self._bus.write_command(calibration.go(goal, np.full(6, WEAK), 2.0 * SLOW))

    def _joints(self, calibration: Calibration) -> Joints:
        for _ in range(10):
            motors = self._bus.read_state(MOTORS).motors
            if any(state.alert for state in motors.values()):
                raise CalibrationError("a motor reports a hardware error: switch it off and on")
            if len(motors) == len(MOTORS):
                return calibration.joints(dict(motors))
        raise CalibrationError("the motors do not answer reliably: check cables and supply")


def section(port: str, values: dict[str, list[float]]) -> str:
    """Return the driver's section of robot.yaml with these values."""
    lines = ["/**/driver:", "  ros__parameters:", f"    port: {port}"]
    lines += [f"    {name}: {numbers}" for name, numbers in values.items()]
    return "\n".join(lines) + "\n"


def find_port(ports: Sequence[str], baud_rate: int) -> tuple[str, PypotBus]:
    """Open the first of `ports` on which a motor answers.

    Raises:
        CalibrationError: if no motor answers on any port.
    """
    tried = []
    for port in ports:
        try:
            bus = PypotBus(port, baud_rate, TIMEOUT)
        except PortError as error:
            tried.append(str(error))
            continue
        try:
            if any(bus.ping(motor) is not None for motor in MOTORS):
                return port, bus
            seen = who_answers(bus.scan(), MOTORS)
            tried.append(f"no motor answers on {port} at {baud_rate} baud: {seen}")
        except BusError as error:
            tried.append(str(error))
        bus.close()
    raise CalibrationError("; ".join(tried) or which_ports())


def main() -> int:
    """Run the tool under a guard, which switches the torque off whatever the tool dies of."""
    return guard.watch([sys.executable, "-m", "ergojr_driver.calibrate", *sys.argv[1:]])


def calibrate() -> int:
    """Run the tool itself, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="calibrate",
        description="Measure the motors' offsets, directions and effort scales, step by step.",
    )
    parser.add_argument(
        "--port",
        default="",
        help="path of the servo bus's serial port (default: the first one with a motor)",
    )
    parser.add_argument(
        "--baud-rate", type=int, default=xl320.BAUD_RATE, help="baud rate of the servo bus"
    )
    parser.add_argument(
        "--output", type=Path, help="path of the YAML file to write (default: print it)"
    )
    arguments = parser.parse_args()
    ports = [arguments.port] if arguments.port else serial_ports()
    try:
        port, bus = find_port(ports, arguments.baud_rate)
        guard.name_port(port, arguments.baud_rate)
        print(f"The arm is on {port}.")
        try:
            text = section(port, Calibrator(bus, lambda text: input(f"\n{text} "), print).run())
        finally:
            bus.close()
    except (CalibrationError, BusError) as error:
        advice = ": switch its supply off and on" if isinstance(error, MotorRefusedError) else ""
        print(f"calibrate: {error}{advice}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\ncalibrate: given up; the arm has no torque", file=sys.stderr)
        return 1
    if arguments.output is None:
        print(f"\nFor robot.yaml:\n\n{text}", end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
        print(f"Written: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(calibrate())
