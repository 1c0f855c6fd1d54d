"""Finds out why a watchdog fired: because of the computer, a camera, the roller, or DDS.

The kernel tells how long each thread was ready and waited for a processor (`schedstat`). Each
camera also announces every image with a small message on camera_info. The driver subscribes to
these messages, so it knows which cameras send without receiving their images.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ergojr_driver.watching import LOST_ANSWERS, NO_COMMAND, NO_READING, OLD_IMAGE

# A process that waited longer than this for a processor, in s, was slowed down by the computer:
_WAITED = 0.04  # the process that is late
_ANY_WAITED = 0.12  # any other process
_SPAN = 0.25  # s between two looks
_LOOKS = 2  # how many looks a cause may lie back
_RATE_LOOKS = 5  # the same for lost answers, which the driver counts over a second
_REFRESH = 20  # looks between two searches for threads
_KERNEL = "a thread of the kernel"  # among them those that pass on what serial ports receive
_THREADS = 2  # id of the process whose children the kernel's threads are
_BUS = ("ergojr_driver.bus_process", "rig", _KERNEL)  # the rig's process stands in for servos
_VISION = "pixel_reward"  # the process that contains the cameras' nodes
_KEPT = 100  # images of each camera that are remembered, and commands
_FRESH = 0.1  # s; a camera sends if its newest image is not older than this


class ProcessorWaits:
    """Measures how long the processes of this launch waited for a processor.

    Processes of low priority are left out, for they are meant to wait.

    Args:
        root: id of the process whose descendants are measured.
        proc: the folder of the proc file system.
    """

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = proc
        self._threads: dict[str, tuple[str, int]] = {}  # path -> name of the process, handle
        self._looks: deque[dict[str, int]] = deque(maxlen=_RATE_LOOKS)
        self._turn = 0

    def look(self) -> None:
        """Record how long each thread has waited until now."""
        if self._turn % _REFRESH == 0:
            self._find()
        self._turn += 1
        self._looks.append(self._waits())

    def waited(self, looks: int) -> dict[str, float]:
        """Return by process the longest wait in s of any of its threads since `looks` looks ago."""
        now = self._waits()
        before = self._looks[-min(looks, len(self._looks))] if self._looks else {}
        longest: dict[str, float] = {}
        for path in now:
            if path in before:
                name, waited = self._threads[path][0], 1e-9 * (now[path] - before[path])
                longest[name] = max(longest.get(name, 0.0), waited)
        return longest

    def _find(self) -> None:
        """Find all threads, and keep the file of each open that tells its wait."""
        for _, handle in self._threads.values():
            os.close(handle)
        self._threads = {}
        left = [self._root]
        left += [thread for thread in self._children(_THREADS) if self._hands_over(thread)]
        while left:
            folder = self._proc / str(left.pop())
            left += self._children(int(folder.name))
            try:
                nice = int((folder / "stat").read_text().rpartition(")")[2].split()[16])
                for thread in os.listdir(folder / "task") if nice <= 0 else ():
                    path = str(folder / "task" / thread / "schedstat")
                    self._threads[path] = _name(folder), os.open(path, os.O_RDONLY)
            except (OSError, ValueError, IndexError):
                continue  # the process has ended, or this kernel does not tell

    def _children(self, process: int) -> list[int]:
        """Return the ids of a process's children; none for a process that has ended."""
        path = self._proc / str(process) / "task" / str(process) / "children"
        try:
            return [int(child) for child in path.read_text().split()]
        except (OSError, ValueError):
            return []

    def _hands_over(self, thread: int) -> bool:
        """Return whether a thread of the kernel passes on what serial ports receive."""
        try:
            name = (self._proc / str(thread) / "comm").read_text()
        except OSError:
            return False
        return name.startswith("kworker/u")

    def _waits(self) -> dict[str, int]:
        """Return by thread the ns that it has waited so far."""
        found: dict[str, int] = {}
        for path, (_, handle) in self._threads.items():
            with suppress(OSError, IndexError):  # the thread has ended
                found[path] = int(os.pread(handle, 100, 0).split()[1])
        return found


def parent(process: int) -> int:
    """Return the id of a process's parent, or the process itself if that is not known."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return process
    return int(status.rpartition(")")[2].split()[1])


def _name(folder: Path) -> str:
    """Return what people call a process: the name of its node, else that of its program."""
    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if words == [""]:
        return _KERNEL
    for word in words:
        if word.startswith("__node:="):
            return word.removeprefix("__node:=")
    return Path(next((w for w in words[1:] if w and not w.startswith("-")), words[0])).name


class Blame:
    """Finds the cause of a watchdog's firing.

    Args:
        cameras: names of the robot's cameras.
        waits: how long processes waited for a processor.
        steady: the steady clock, in s.
        now: the clock of the stamps, in ns.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        waits: ProcessorWaits,
        steady: Callable[[], float],
        now: Callable[[], int],
    ) -> None:
        self._waits = waits
        self._steady = steady
        self._now = now
        # Arrival and stamp of the latest images, and arrival of the latest commands, in ns.
        self._images: dict[str, deque[tuple[int, int]]] = {
            camera: deque(maxlen=_KEPT) for camera in cameras
        }
        self._commands: deque[int] = deque(maxlen=_KEPT)
        self._looked = steady()

    def on_image(self, camera: str, stamp: int) -> None:
        """Record that a camera has announced an image with this stamp in ns."""
        self._images[camera].append((self._now(), stamp))

    def on_command(self) -> None:
        """Record that a command has arrived."""
        self._commands.append(self._now())

    def look(self) -> None:
        """Measure the processes' waits when it is time; to be called several times a second."""
        if self._steady() >= self._looked + _SPAN:
            self._looked = self._steady()
            self._waits.look()

    def explain(self, cause: str, found: int) -> str:
        """Add to `cause`, found at `found` (ns), what made a watchdog fire, if one did."""
        if not any(part in cause for part in (NO_COMMAND, OLD_IMAGE, NO_READING, LOST_ANSWERS)):
            return cause
        late, said = self._late(cause, found)
        looks = _RATE_LOOKS if LOST_ANSWERS in cause else _LOOKS
        waited = {
            name: seconds
            for name, seconds in self._waits.waited(looks).items()
            if seconds > (_WAITED if late is None or name in late else _ANY_WAITED)
        }
        if waited:
            name = max(waited, key=lambda each: waited[each])
            said = (
                f"this computer is too busy, {name} waited {1e3 * waited[name]:.0f} ms for a "
                "processor"
            )
        return f"{cause}: {said}" if said else cause

    def _late(self, cause: str, found: int) -> tuple[list[str] | None, str]:
        """Return the processes of which one was late (None for any), and a sentence on them."""
        if NO_COMMAND not in cause and OLD_IMAGE not in cause:
            return [*_BUS], ""
        newest = {
            camera: max((stamp for arrival, stamp in images if arrival <= found), default=0)
            for camera, images in self._images.items()
        }
        ages = {camera: 1e-9 * (found - stamp) for camera, stamp in newest.items()}
        late = [camera for camera, age in ages.items() if age > _FRESH]
        if late:
            sentences = [
                f"{camera} has sent no image for {1e3 * ages[camera]:.0f} ms"
                if newest[camera]
                else f"{camera} has sent no image"
                for camera in late
            ]
            return [*late, _VISION], " and ".join(sentences)
        command = max((arrival for arrival in self._commands if arrival <= found), default=0)
        if NO_COMMAND in cause and 1e-9 * (found - command) > _FRESH:
            return ["roller"], "the cameras send images, but the roller sends no commands"
        return None, "cameras and roller send, but DDS delivers late"
