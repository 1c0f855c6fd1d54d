"""CSV tables, as every experiment writes and reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Row = dict[str, str]


def read(path: Path, growing: bool = False) -> list[Row]:
    """Return the rows of a table; of a `growing` one only those that are written to their end.

    Raises:
        OSError: the file cannot be read.
    """
    text = path.read_text()
    if growing:
        text = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(text)))


def column(rows: Sequence[Row], name: str) -> Array:
    """Return the numbers of a column, [rows].

    Raises:
        KeyError: there is no such column.
        TypeError: a row ends before it.
        ValueError: an entry is no number.
    """
    return np.array([float(row[name]) for row in rows], np.float64)


class Table:
    """A file that gets its columns from its first row; each row is in it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Table:
        self._file = self._path.open("w", newline="")
        self._writer: csv.DictWriter[str] | None = None
        return self

    def add(self, **values: object) -> None:
        """Write one row.

        Raises:
            OSError: the file cannot be written.
            ValueError: the row has a column that the first one has not.
        """
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(values))
            self._writer.writeheader()
        self._writer.writerow(values)
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()
