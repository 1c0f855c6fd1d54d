"""CSV tables, as every experiment writes and reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planet_core.tables import Table

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


def fresh(path: Path, columns: Sequence[str]) -> Table:
    """Begin a table with these columns, whatever was there; each row is on disk when it is written.

    Raises:
        planet_core.durable.DirectoryError: the file cannot be written.
    """
    path.unlink(missing_ok=True)
    return Table(path, columns)
