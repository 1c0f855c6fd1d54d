"""The connection between bus process and driver node: records over a pair of sockets.

One record is one datagram. Sending never waits. Joint states and commands that do not fit are
dropped, for newer ones follow; other records are kept and sent again. Joint states and commands
have a fixed format, all other records are JSON.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from ergojr_description.kinematics import Array
from ergojr_driver.guard import LINK
from ergojr_driver.servo import Joints

_JOINTS, _COMMAND, _WORDS = b"j", b"c", b"w"
_JOINTS_FORM = struct.Struct("<cq18d")
_COMMAND_FORM = struct.Struct("<cqd4d")
_LONGEST = 16384  # bytes of a record
_KEPT = 64  # words that may wait for room


@dataclass(frozen=True)
class JointsRecord:
    """A complete reading of the joints and its stamp in ns."""

    joints: Joints
    stamp: int


@dataclass(frozen=True)
class CommandRecord:
    """A joint command.

    Attributes:
        efforts: [4] N m.
        stamp: the stamp of the observation that it answers, in ns.
        arrival: when it arrived, in s of the steady clock.
    """

    efforts: Array
    stamp: int
    arrival: float


Words = dict[str, Any]
"""A record in JSON, whose kind stands under `say` or `do`."""
Record = JointsRecord | CommandRecord | Words


class Link:
    """One end of the pair of sockets. One thread may send while another receives, but no more."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._kept: deque[bytes] = deque(maxlen=_KEPT)
        self._closed = False

    @classmethod
    def inherited(cls) -> Link:
        """Return the end that the guard handed to this process.

        Raises:
            KeyError: if this process has no guard.
        """
        return cls(socket.socket(fileno=int(os.environ[LINK])))

    def send_joints(self, joints: Joints, stamp: int) -> None:
        """Send a reading, or drop it."""
        values = np.concatenate([joints.position, joints.velocity, joints.load])
        self._send(_JOINTS_FORM.pack(_JOINTS, stamp, *values.tolist()))

    def send_command(self, efforts: Array, stamp: int, arrival: float) -> None:
        """Send a command, or drop it."""
        self._send(_COMMAND_FORM.pack(_COMMAND, stamp, arrival, *efforts.tolist()))

    def send(self, words: Words) -> None:
        """Send words now, or with the next `flush` that finds room."""
        self._kept.append(_WORDS + json.dumps(words).encode())
        self.flush()

    def flush(self) -> None:
        """Send the words that are waiting."""
        while self._kept and self._send(self._kept[0]):
            self._kept.popleft()

    def wait(self, timeout: float) -> bool:
        """Wait for a record for at most `timeout` s, and return whether there is one."""
        heard = [] if self._closed else [self._end]
        return bool(select.select(heard, [], [], max(0.0, timeout))[0])

    def receive(self) -> list[Record]:
        """Return all records that have arrived."""
        records: list[Record] = []
        while True:
            try:
                data = self._end.recv(_LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return records
            except ConnectionResetError:  # the other end died and left a record unread
                continue
            if not data:  # guard and other end are gone, and SIGTERM is on its way
                self._closed = True
                return records
            records.append(_record(data))

    def _send(self, data: bytes) -> bool:
        try:
            self._end.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):  # as in `receive`
            return False
        return True


def _record(data: bytes) -> Record:
    if data[:1] == _JOINTS:
        _, stamp, *values = _JOINTS_FORM.unpack(data)
        position, velocity, load = np.array(values).reshape(3, 6)
        return JointsRecord(Joints(position, velocity, load), stamp)
    if data[:1] == _COMMAND:
        _, stamp, arrival, *efforts = _COMMAND_FORM.unpack(data)
        return CommandRecord(np.array(efforts), stamp, arrival)
    words: Words = json.loads(data[1:])
    return words
