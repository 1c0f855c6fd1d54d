"""The serial ports that an arm can be connected to."""

from __future__ import annotations

from glob import glob
from os.path import realpath

PORTS = (
    "/dev/ergojr",  # launch/udev
    *("/dev/serial/by-id/*", "/dev/ttyACM*", "/dev/ttyUSB*", "/dev/ttyAMA0", "/dev/serial0"),
)


def serial_ports() -> list[str]:
    """Return the serial ports that exist, each under the first of its names."""
    names: dict[str, str] = {}
    for pattern in PORTS:
        for name in sorted(glob(pattern)):
            names.setdefault(realpath(name), name)
    return list(names.values())


def which_ports() -> str:
    """Return a sentence that names the serial ports that exist."""
    ports = serial_ports()
    if not ports:
        return "no serial port is there: plug the adapter in"
    return f"there is {', '.join(ports)}"
