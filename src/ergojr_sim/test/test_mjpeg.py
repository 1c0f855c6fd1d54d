"""The MJPEG stream as its readers see it."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from ergojr_sim.mjpeg import SEND_BUFFER, MjpegServer

RECEIVE_BUFFER = 1 << 20  # bytes; more than what the reader's socket takes without being read


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    made = MjpegServer()
    yield made
    made.close()


class Reader:
    """Reads parts of the stream with the standard library."""

    def __init__(self, server: MjpegServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5.0)
        self._connection.request("GET", "/stream.mjpg")
        self.response = self._connection.getresponse()

    def frame(self) -> bytes:
        assert self.response.readline() == b"--frame\r\n"
        assert self.response.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(self.response.readline().split()[1])
        assert self.response.readline() == b"\r\n"
        frame = self.response.read(length)
        assert self.response.readline() == b"\r\n"
        return frame


def test_readers_get_the_frames_that_are_published_from_then_on(server: MjpegServer) -> None:
    server.publish(b"from long ago")
    readers = [Reader(server), Reader(server)]
    server.publish(b"old")
    assert readers[0].response.getheader("Content-Type", "").startswith("multipart/x-mixed-replace")
    assert [reader.frame() for reader in readers] == [b"old", b"old"]
    server.publish(b"new")
    assert [reader.frame() for reader in readers] == [b"new", b"new"]
    assert server.readers == 2


def test_a_slow_reader_skips_frames_and_delays_nobody(server: MjpegServer) -> None:
    slow, quick = Reader(server), Reader(server)
    server.publish(b"0")
    assert slow.frame() == quick.frame() == b"0"
    # More than the slow reader's sockets can hold; the quick one gets each frame all the same.
    last = (RECEIVE_BUFFER * 16) // SEND_BUFFER
    for number in range(1, last + 1):
        frame = str(number).encode().ljust(SEND_BUFFER)
        server.publish(frame)
        assert quick.frame() == frame
    got = [int(slow.frame())]
    while got[-1] < last:
        got.append(int(slow.frame()))
    assert all(later > earlier for earlier, later in itertools.pairwise(got))
    assert len(got) < last


def test_a_disconnected_camera_cuts_its_readers_off_and_comes_back(server: MjpegServer) -> None:
    reader = Reader(server)
    server.publish(b"frame")
    reader.frame()
    server.connect(False)
    assert reader.response.readline() == b""
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        Reader(server)
    server.connect(True)
    reader = Reader(server)
    server.publish(b"another")
    assert reader.frame() == b"another"


def test_a_reader_that_does_not_read_does_not_keep_the_server_from_closing() -> None:
    server = MjpegServer()
    reader = Reader(server)
    server.publish(bytes(4 * RECEIVE_BUFFER))
    assert reader.response.readline() == b"--frame\r\n"
    closing = threading.Thread(target=server.close)
    closing.start()
    closing.join(5.0)
    assert not closing.is_alive()


def test_a_port_that_is_reserved_can_be_served_again_and_again() -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        for _ in range(2):
            server = MjpegServer(port)
            reader = Reader(server)
            server.publish(b"frame")
            assert reader.frame() == b"frame"
            server.close()


def test_a_taken_port_is_an_error(server: MjpegServer) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        MjpegServer(server.port)
