"""A network camera: MJPEG over HTTP (multipart/x-mixed-replace), with the newest frame only.

Every path under the server's address is the stream. A slow reader skips frames: apart from the few
frames that its socket holds, the next one is always the one that was published last. A new reader
waits for the next frame, for the last one may be old.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDARY = "frame"
SEND_BUFFER = 16384  # bytes, about two pictures, by which a slow reader can fall behind


class MjpegServer:
    """Serves a stream on 127.0.0.1, in threads of its own, until `close`.

    Args:
        port: the HTTP port; 0 takes any free port.

    Raises:
        OSError: if the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._news = threading.Condition()
        self._frame = b""
        self._number = 0
        self._readers: set[socket.socket] = set()
        self._connected = True
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def readers(self) -> int:
        """The number of readers of the stream now."""
        with self._news:
            return len(self._readers)

    def publish(self, jpeg: bytes) -> None:
        """Make `jpeg` the newest frame."""
        with self._news:
            self._frame = jpeg
            self._number += 1
            self._news.notify_all()

    def connect(self, connected: bool) -> None:
        """Plug the camera in, or unplug it, which cuts all readers off and refuses new ones."""
        with self._news:
            self._connected = connected
            if not connected:
                for reader in self._readers:
                    _cut(reader)
            self._news.notify_all()

    def close(self) -> None:
        """Stop serving."""
        self.connect(False)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request with the stream, as long as reader and camera are connected."""
        reader = handler.connection
        with self._news:
            if not self._connected:
                handler.close_connection = True
                return
            self._readers.add(reader)
            sent = self._number
        try:
            handler.send_response(200)
            handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            handler.send_header("Cache-Control", "no-store")
            handler.end_headers()
            while (newest := self._newer(sent)) is not None:
                frame, sent = newest
                head = (
                    f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                    f"Content-Length: {len(frame)}\r\n\r\n"
                )
                handler.wfile.write(head.encode() + frame + b"\r\n")
        except OSError:
            pass  # the reader went away
        finally:
            handler.close_connection = True
            with self._news:
                self._readers.discard(reader)

    def _newer(self, than: int) -> tuple[bytes, int] | None:
        """Wait for a newer frame, and return it and its number; None if the camera is gone."""
        with self._news:
            self._news.wait_for(lambda: self._number > than or not self._connected)
            return (self._frame, self._number) if self._connected else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def _handler(server: MjpegServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.serve(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _cut(reader: socket.socket) -> None:
    with suppress(OSError):  # the reader may have left by itself
        reader.shutdown(socket.SHUT_RDWR)
