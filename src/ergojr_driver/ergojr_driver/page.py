"""The page of memory that guard, bus process and driver node share.

Each word on it has one writer and is read and written as a whole, so nobody waits for a lock; the
newest value counts. A process that hangs or dies holds nothing that another one needs.
"""

from __future__ import annotations

import mmap
import os

VARIABLE = "ERGOJR_GUARD_PAGE"
"""Environment variable with the page's file descriptor."""
_SIZE = 4096  # bytes
_TEXT = 1024  # where the port's name begins, after its length
# Index of each word.
_BEAT, _ARMED, _TAKEN, _ACCEPTED, _STOP, _NODE, _ASKED, _BAUD, _LENGTH = range(9)


class Page:
    """The page behind the file descriptor `handle`.

    The bus process writes `beat` to `accept`, the guard `take`, the driver node all others.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._memory = mmap.mmap(handle, _SIZE)
        self._words = memoryview(self._memory).cast("Q")

    @classmethod
    def create(cls) -> Page:
        """Create a page whose words are all 0."""
        handle = os.memfd_create("ergojr_guard")
        os.ftruncate(handle, _SIZE)
        return cls(handle)

    @classmethod
    def inherited(cls) -> Page:
        """Return the page that the guard handed to this process, or a new one without a guard."""
        handle = os.environ.get(VARIABLE)
        return cls.create() if handle is None else cls(int(handle))

    # The bus process

    def beat(self, armed: bool) -> None:
        """Signal that the bus process runs, and whether a motor may have torque."""
        self._words[_ARMED] = armed
        self._words[_BEAT] += 1

    @property
    def beats(self) -> int:
        """The number of beats so far."""
        return self._words[_BEAT]

    @property
    def armed(self) -> bool:
        """Whether a motor may have torque, so that a missing beat matters."""
        return bool(self._words[_ARMED])

    def name_port(self, port: str, baud_rate: int) -> None:
        """Tell the guard where the motors are, before any of them has torque."""
        name = os.fsencode(port)[: _SIZE - _TEXT]
        self._words[_LENGTH] = 0
        self._words[_BAUD] = baud_rate
        self._memory[_TEXT : _TEXT + len(name)] = name
        self._words[_LENGTH] = len(name)

    @property
    def port(self) -> tuple[str, int]:
        """The port's name, empty before `name_port`, and its baud rate."""
        name = self._memory[_TEXT : _TEXT + self._words[_LENGTH]]
        return os.fsdecode(name), self._words[_BAUD]

    def accept(self) -> None:
        """Take the arm back from the guard, after the operator has agreed to go on."""
        self._words[_ACCEPTED] = self._words[_TAKEN]

    # The guard

    def take(self) -> None:
        """Forbid the bus process to move the arm until `accept`."""
        self._words[_TAKEN] += 1

    @property
    def taken(self) -> bool:
        """Whether the guard has taken the arm, and the operator has not agreed to go on since."""
        return self._words[_TAKEN] != self._words[_ACCEPTED]

    # The driver node

    def stop(self, on: bool) -> None:
        """Latch the emergency stop, or release the latch."""
        self._words[_STOP] = on

    @property
    def stopped(self) -> bool:
        """Whether the emergency stop is latched."""
        return bool(self._words[_STOP])

    def node_beat(self) -> None:
        """Signal that the driver node runs and would receive an emergency stop."""
        self._words[_NODE] += 1

    @property
    def node_beats(self) -> int:
        """The number of the node's beats so far."""
        return self._words[_NODE]

    def ask(self) -> None:
        """Ask the guard to check the bus process, which does not answer."""
        self._words[_ASKED] += 1

    @property
    def asked(self) -> int:
        """The number of such requests so far."""
        return self._words[_ASKED]
