"""The operator's terminal: a map of the table, one-letter answers.

Launched nodes have no terminal of their own, and a process in the background may not read the one
of its session; so a small process in a session of its own reads it (`cat`), and dies with us.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ergojr_driver.operator import (
    CONFIRM,
    END,
    PAUSE,
    RELEASE,
    RESUME,
    SKIP,
    STOP,
    OperatorConfig,
    Place,
    Request,
)
from planet_core.processes import end_with_parent

KEYS = {"": CONFIRM, "p": PAUSE, "r": RESUME, "k": SKIP, "s": STOP, "u": RELEASE, "q": END}
_HELP = {
    CONFIRM: "Enter confirm",
    PAUSE: "p pause",
    RESUME: "r resume",
    SKIP: "k skip",
    STOP: "s stop",
    RELEASE: "u let go",
    END: "q quit",
}
_COLUMN, _ROW = 0.01, 0.02  # m that a character is wide and high: about square on a screen
_SIDE, _BACK, _FRONT = 0.18, -0.02, 0.22  # m that the map shows
_PAUSE = 0.1  # s until a terminal whose reader ended is read again


class TerminalError(Exception):
    """The terminal cannot be used; one sentence."""


def draw(request: Request, config: OperatorConfig) -> str:
    """What a person is shown: the sentence, the map where the cube shall lie, the keys."""
    lines = ["", f"  {request.sentence[:1].upper()}{request.sentence[1:]}."]
    if request.place is not None:
        lines += ["", *table_map(request.place, config), ""]
    if request.actions:
        lines.append("  [" + " | ".join(_HELP[action] for action in request.actions) + "]")
    return "\n".join(lines) + "\n"


def table_map(place: Place, config: OperatorConfig) -> list[str]:
    """The table from above, the arm at the bottom: where the cube may lie, and where it shall."""
    rows = round((_FRONT - _BACK) / _ROW) + 1
    columns = 2 * round(_SIDE / _COLUMN) + 1

    def cell(x: float, y: float) -> tuple[int, int]:
        return round((_FRONT - y) / _ROW), round((x + _SIDE) / _COLUMN)

    cells = [[" "] * columns for _ in range(rows)]
    top, left = cell(config.cube_x[0], config.cube_y[1])
    bottom, right = cell(config.cube_x[1], config.cube_y[0])
    for row in range(max(top, 0), min(bottom, rows - 1) + 1):
        for column in range(max(left, 0), min(right, columns - 1) + 1):
            cells[row][column] = "."
    for text, x, y in (("ARM", 0.0, 0.0), ("[#]", place.x, place.y)):
        row, column = cell(x, y)
        for i, character in enumerate(text):
            if 0 <= row < rows and 0 <= column - 1 + i < columns:
                cells[row][column - 1 + i] = character
    lines = [" " * 9 + "camera_front".center(columns + 2)]
    lines.append(" " * 8 + "+" + "-" * columns + "+")
    for row, characters in enumerate(cells):
        y = _FRONT - row * _ROW
        label = f"{100 * y:4.0f} cm" if row % 2 == 1 and y >= 0.0 else ""
        lines.append(f"{label:>7} |" + "".join(characters) + "|")
    lines.append(" " * 8 + "+" + "-" * columns + "+")
    scale = [" "] * (columns + 2)
    for x in (-0.12, -0.06, 0.0, 0.06, 0.12):
        text = f"{100 * x:+.0f}" if x else "0"
        start = cell(x, 0.0)[1] + 1 - len(text) // 2
        scale[start : start + len(text)] = text
    lines.append(" " * 8 + "".join(scale).rstrip() + " cm")
    lines[4] += f"  the cube: x {100 * place.x:+.1f} cm, y {100 * place.y:.1f} cm,"
    lines[5] += f"  turned by {math.degrees(place.yaw):.0f} degrees; its edge is 3 cm"
    lines[7] += "  (camera_side looks from the left)"
    return lines


class Terminal:
    """Reads lines of a terminal and writes to it.

    Args:
        path: of the terminal.
        on_line: gets each line, without its end, in a thread of its own.
        on_gone: is called in that thread when nobody reads any more, unless it was closed.

    Raises:
        TerminalError: it cannot be opened.
    """

    def __init__(
        self, path: str, on_line: Callable[[str], None], on_gone: Callable[[], None]
    ) -> None:
        self._path = path
        self._on_line = on_line
        self._on_gone = on_gone
        self._closed = threading.Event()
        self._lock = threading.Lock()  # of the reader, which is started anew
        try:
            self._writer = os.open(path, os.O_WRONLY | os.O_NOCTTY)
            self._reader = self._start()
        except OSError as error:
            raise TerminalError(f"the terminal {path} cannot be used: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Write `text`; a terminal that is gone is no fault."""
        try:
            os.write(self._writer, text.encode())
        except OSError:
            return

    def close(self) -> None:
        """Leave the terminal to others."""
        with self._lock:
            self._closed.set()
            self._reader.terminate()
        self._reader.wait()
        self._thread.join(timeout=1.0)
        os.close(self._writer)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["cat", self._path],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",  # a byte that is no UTF-8 must not end the reading
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 -- it takes no lock
        )

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                code = self._read()
                # Ctrl-D ends it, or whoever kills it; a terminal that is gone is none any more.
                if code > 0 or not os.isatty(self._writer):
                    break
                self._closed.wait(_PAUSE)
                with self._lock:
                    if not self._closed.is_set():
                        self._reader = self._start()
        finally:
            if not self._closed.is_set():
                self._on_gone()

    def _read(self) -> int:
        assert self._reader.stdout is not None  # it was asked for
        for line in self._reader.stdout:
            self._on_line(line.strip())
        self._reader.stdout.close()
        return self._reader.wait()


def own_terminal() -> str:
    """The terminal of this process's standard input, or ''."""
    return str(Path("/proc/self/fd/0").readlink()) if os.isatty(0) else ""
