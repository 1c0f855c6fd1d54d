"""Serial ports that an arm can be on."""

from __future__ import annotations

from glob import glob

PORTS = ("/dev/serial/by-id/*", "/dev/ttyACM*", "/dev/ttyUSB*", "/dev/ttyAMA0", "/dev/serial0")


def serial_ports() -> list[str]:
    """Those that are there."""
    return [port for pattern in PORTS for port in sorted(glob(pattern))]


def which_ports() -> str:
    """The same as words."""
    ports = serial_ports()
    if not ports:
        return "no serial port is there: plug the adapter in"
    return f"there is {', '.join(ports)}"
