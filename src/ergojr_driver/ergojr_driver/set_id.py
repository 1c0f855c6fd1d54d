"""The tool `set_id`: gives the one motor that is connected its id and the bus' baud rate.

    ros2 run ergojr_driver set_id m3

Motors fresh from the factory all have the id 1, and of two with one id neither can be understood.
So this is done with one motor at a time, before the arm is assembled or with the cables unplugged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from ergojr_description import xl320
from ergojr_description.kinematics import JOINT_NAMES
from ergojr_driver import guard
from ergojr_driver.bus import BusError, FoundMotor, MotorRefusedError, PortError, Scan
from ergojr_driver.ports import serial_ports, which_ports
from ergojr_driver.pypot_bus import PypotBus
from ergojr_driver.scan import describe
from ergojr_driver.servo import MOTORS

TIMEOUT = 0.5  # s
_ATTEMPTS = 3
_ALL_IDS = 253

ScanPort = Callable[[str], Scan]


class SetIdError(Exception):
    """The id cannot be given; one sentence."""


def scan_port(port: str) -> Scan:
    """Who answers there, whatever the id; takes some seconds. Raises PortError."""
    bus = PypotBus(port, xl320.BAUD_RATE, TIMEOUT)
    try:
        return bus.scan(ids=_ALL_IDS)
    finally:
        bus.close()


def find_motor(
    name: str, ports: Sequence[str], scan: ScanPort = scan_port
) -> tuple[str, FoundMotor]:
    """The first port on which a motor is, and the motor, which is to become `name`.

    Raises:
        SetIdError: there is none, more than one, or one of another model.
    """
    tried = []
    for port in ports:
        try:
            seen = scan(port)
        except PortError as error:
            tried.append(str(error))
            continue
        if seen.garbled:
            raise SetIdError(
                f"garbled answers come on {port}, as from several motors: connect {name} alone"
            )
        if len(seen.found) > 1:
            raise SetIdError(f"{describe(seen.found)} are connected: connect {name} alone")
        if seen.found and seen.found[0].model != xl320.MODEL:
            raise SetIdError(f"{describe(seen.found)} is connected, expected an XL-320")
        if seen.found:
            return port, seen.found[0]
        tried.append(f"no motor answers on {port}: is the supply on, and {name} plugged in?")
    raise SetIdError("; ".join(tried) or which_ports())


def give(port: str, motor: FoundMotor, id_: int) -> None:
    """Give `motor`, which is alone on the bus at `port`, an id and 1 Mbaud.

    Raises:
        SetIdError: it does not have them afterwards.
        BusError: the port fails, or the motor refuses.
    """
    guard.name_port(port, motor.baud_rate)
    bus = PypotBus(port, motor.baud_rate, TIMEOUT)
    try:
        for _ in range(_ATTEMPTS):
            bus.torque_off([motor.id])  # the EEPROM can be written only without torque
        if motor.id != id_:
            _write(bus, motor.id, xl320.ID, id_)
        if motor.baud_rate != xl320.BAUD_RATE:
            _write(bus, id_, xl320.BAUD_RATE_CODE, xl320.BAUD_RATE_1M)
    finally:
        bus.close()
    guard.name_port(port, xl320.BAUD_RATE)
    bus = PypotBus(port, xl320.BAUD_RATE, TIMEOUT)
    try:
        if not any(bus.ping(id_) == xl320.MODEL for _ in range(_ATTEMPTS)):
            raise SetIdError(
                f"the motor does not answer as id {id_} at {xl320.BAUD_RATE} baud after it was "
                "told to: switch its supply off and on, and begin again"
            )
    finally:
        bus.close()


def _write(bus: PypotBus, motor: int, register: xl320.Register, value: int) -> None:
    """Write, without a look at the answer: it may come under the new id or at the new rate."""
    try:
        bus.write(motor, register, value)
    except (PortError, MotorRefusedError):
        raise
    except BusError:
        return


def set_id() -> int:
    """Set an id, under the guard."""
    parser = argparse.ArgumentParser(
        prog="set_id",
        description="Give the only connected motor its id and set it to 1 Mbaud.",
    )
    parser.add_argument(
        "motor", choices=JOINT_NAMES, help="name of the motor in the arm, which decides its id"
    )
    parser.add_argument(
        "--port",
        default="",
        help="path of the servo bus's serial port (default: the first one with a motor)",
    )
    arguments = parser.parse_args()
    id_ = MOTORS[JOINT_NAMES.index(arguments.motor)]
    try:
        ports = [arguments.port] if arguments.port else serial_ports()
        port, motor = find_motor(arguments.motor, ports)
        give(port, motor, id_)
    except (SetIdError, BusError) as error:
        print(f"set_id: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset_id: given up", file=sys.stderr)
        return 1
    print(f"{arguments.motor} on {port}: {describe([motor])} is id {id_} at 1 Mbaud now.")
    return 0


def main() -> int:
    """The console script `set_id`: whatever its process dies of, the guard lets go."""
    return guard.watch([sys.executable, "-m", "ergojr_driver.set_id", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(set_id())
