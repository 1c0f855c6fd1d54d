"""Why a watchdog bit: the machine, a camera, the roller, or the way between them.

The kernel says how long each process waited for a processor (`schedstat`: the time that its threads
were ready and did not run). Cameras announce each image with a small message, so it is known which
of them have sent, although their large messages go to others.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ergojr_driver.watching import LOST_ANSWERS, NO_COMMAND, NO_READING, OLD_IMAGE

# s of a thread without a processor; more is the machine's fault:
_WAITED = 0.04  # of the one that is late
_ANY_WAITED = 0.12  # of any other
_SPAN = 0.25  # s between two looks
_LOOKS = 2  # looks back that a cause lies in,
_RATE_LOOKS = 5  # and one that is a rate: the driver judges it over a second
_REFRESH = 20  # looks until the threads are looked for anew
_KERNEL = "a thread of the kernel"  # such as those that hand over what ports have received
_THREADS = 2  # the process whose children the kernel's threads are
_BUS = ("ergojr_driver.bus_process", "rig", _KERNEL)  # rig: servos that are a process themselves
_VISION = "pixel_reward"  # the process that the cameras' nodes are in
_KEPT = 100  # images of a camera, and commands
_FRESH = 0.1  # s; a camera whose newest image is not older has sent


class Machine:
    """How long the processes of this launch waited for a processor.

    Processes of a low priority wait as they should, and are left out.

    Args:
        root: process whose descendants are looked at.
    """

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._proc = proc
        self._threads: dict[str, tuple[str, int]] = {}  # path -> name of the process, handle
        self._looks: deque[dict[str, int]] = deque(maxlen=_RATE_LOOKS)
        self._turn = 0

    def look(self) -> None:
        """Take note of the present."""
        if self._turn % _REFRESH == 0:
            self._find()
        self._turn += 1
        self._looks.append(self._waits())

    def waited(self, looks: int) -> dict[str, float]:
        """Of each process, how long its threads waited at most since so many looks ago, s."""
        now = self._waits()
        before = self._looks[-min(looks, len(self._looks))] if self._looks else {}
        longest: dict[str, float] = {}
        for path in now:
            if path in before:
                name, waited = self._threads[path][0], 1e-9 * (now[path] - before[path])
                longest[name] = max(longest.get(name, 0.0), waited)
        return longest

    def _find(self) -> None:
        """Look for the threads, and keep the file open that tells of each."""
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
                continue  # it has ended, or this kernel does not tell

    def _children(self, process: int) -> list[int]:
        """Its child processes; none where it has ended."""
        path = self._proc / str(process) / "task" / str(process) / "children"
        try:
            return [int(child) for child in path.read_text().split()]
        except (OSError, ValueError):
            return []

    def _hands_over(self, thread: int) -> bool:
        """Whether a thread of the kernel is one of those that hand over what a port received."""
        try:
            name = (self._proc / str(thread) / "comm").read_text()
        except OSError:
            return False
        return name.startswith("kworker/u")

    def _waits(self) -> dict[str, int]:
        """Of each thread, ns that it has waited so far."""
        found: dict[str, int] = {}
        for path, (_, handle) in self._threads.items():
            with suppress(OSError, IndexError):  # it has ended
                found[path] = int(os.pread(handle, 100, 0).split()[1])
        return found


def parent(process: int) -> int:
    """The parent of a process; the process itself where that cannot be known."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return process
    return int(status.rpartition(")")[2].split()[1])


def _name(folder: Path) -> str:
    """How people call a process: the node's name where it has one, else its program."""
    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if words == [""]:
        return _KERNEL
    for word in words:
        if word.startswith("__node:="):
            return word.removeprefix("__node:=")
    return Path(next((w for w in words[1:] if w and not w.startswith("-")), words[0])).name


class Blame:
    """Finds whose fault a watchdog's bite was.

    Args:
        steady: s of a clock that never jumps.
        now: ns of the clock that stamps are of.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        machine: Machine,
        steady: Callable[[], float],
        now: Callable[[], int],
    ) -> None:
        self._machine = machine
        self._steady = steady
        self._now = now
        # Arrival, and stamp of each image of late; arrival of each command. ns.
        self._images: dict[str, deque[tuple[int, int]]] = {
            camera: deque(maxlen=_KEPT) for camera in cameras
        }
        self._commands: deque[int] = deque(maxlen=_KEPT)
        self._looked = steady()

    def on_image(self, camera: str, stamp: int) -> None:
        """A camera says that it has sent an image of `stamp`, ns."""
        self._images[camera].append((self._now(), stamp))

    def on_command(self) -> None:
        """A command has come."""
        self._commands.append(self._now())

    def look(self) -> None:
        """Call it a few times a second."""
        if self._steady() >= self._looked + _SPAN:
            self._looked = self._steady()
            self._machine.look()

    def explain(self, cause: str, found: int) -> str:
        """`cause`, found at `found` (ns), with what it was caused by, where a watchdog bit."""
        if not any(part in cause for part in (NO_COMMAND, OLD_IMAGE, NO_READING, LOST_ANSWERS)):
            return cause
        late, said = self._late(cause, found)
        looks = _RATE_LOOKS if LOST_ANSWERS in cause else _LOOKS
        waited = {
            name: seconds
            for name, seconds in self._machine.waited(looks).items()
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
        """Processes of which one was late at `found` (None: any), and in words."""
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
