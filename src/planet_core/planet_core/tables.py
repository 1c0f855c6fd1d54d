"""CSV tables that grow by a row at a time and are whole after a crash."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from planet_core import durable

Row = dict[str, str]


class Table:
    """A CSV file with a header.

    A row that a dying process left unfinished is dropped. Columns that a row brings and the table
    lacks are added to it, empty in the rows before.

    Args:
        path: the file; it is made if need be.
        columns: what the header must begin with, but for the last of them, which a table of an
            earlier version may lack.
        keep: says of a whole row whether it stays when the table is opened.

    Raises:
        durable.DirectoryError: the file cannot be read or written, or holds another table.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], keep: Callable[[Row], bool] = lambda row: True
    ) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(errors="replace") if path.exists() else ""
            self._columns, rows = _parsed(text)
            common = min(len(columns), len(self._columns))
            if list(columns[:common]) != self._columns[:common]:
                raise durable.DirectoryError(
                    f"{path} holds another table (its first row does not begin with "
                    f"{','.join(columns)}): move it away"
                )
            self._columns += columns[common:]
            self.rows = [row for row in rows if keep(row)]
            """The rows that the file held when it was opened."""
            kept = _text(self._columns, self.rows)
            if kept != text:
                durable.replace(path, kept.encode())
        except OSError as error:
            raise durable.DirectoryError(f"{path} cannot be written: {error.strerror}") from error

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row, its values by column; on OSError the file is as it was."""
        new = [name for name in row if name not in self._columns]
        if new:
            rows = _parsed(self._path.read_text())[1]
            columns = self._columns + new
            durable.replace(self._path, _text(columns, rows).encode())
            self._columns = columns
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(_line(row.get(name, "") for name in self._columns).encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise


def _text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    lines = [_line(row.get(name, "") for name in columns) for row in rows]
    return _line(columns) + "".join(lines)


def _parsed(text: str) -> tuple[list[str], list[Row]]:
    """The header and the whole rows of a table."""
    whole = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    columns = whole[0] if whole else []
    return columns, [
        dict(zip(columns, row, strict=True)) for row in whole[1:] if len(row) == len(columns)
    ]


def _line(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
