"""Serial ports that an arm can be on."""

from __future__ import annotations

from glob import glob
from os.path import realpath

PORTS = (
    "/dev/ergojr",  # launch/udev
    *("/dev/serial/by-id/*", "/dev/ttyACM*", "/dev/ttyUSB*", "/dev/ttyAMA0", "/dev/serial0"),
)


def serial_ports() -> list[str]:
    """Those that are there, each by the first of its names."""
    names: dict[str, str] = {}
    for pattern in PORTS:
        for name in sorted(glob(pattern)):
            names.setdefault(realpath(name), name)
    return list(names.values())


def which_ports() -> str:
    """The same as words."""
    ports = serial_ports()
    if not ports:
        return "no serial port is there: plug the adapter in"
    return f"there is {', '.join(ports)}"
