"""CSV tables that grow by a row at a time and are whole after a crash."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from planet_core import durable

Row = list[str]


class Table:
    """A CSV file with a header.

    A row that a dying process left unfinished is dropped. A table that lacks the last of `columns`,
    as earlier versions wrote it, gets them, empty.

    Args:
        path: the file; it is made if need be.
        columns: the header.
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
            whole = text[: text.rfind("\n") + 1]
            names, *rows = list(csv.reader(io.StringIO(whole))) or [list(columns)]
            if names != list(columns[: len(names)]):
                raise durable.DirectoryError(
                    f"{path} holds another table (its first row is not {','.join(columns)}): "
                    "move it away"
                )
            empty = [""] * (len(columns) - len(names))
            self.rows = [row + empty for row in rows if len(row) == len(names)]
            self.rows = [row for row in self.rows if keep(row)]
            """The rows that the file held when it was opened."""
            kept = _lines([columns, *self.rows])
            if kept != text:
                durable.replace(path, kept.encode())
        except OSError as error:
            raise durable.DirectoryError(f"{path} cannot be written: {error.strerror}") from error

    def append(self, values: Iterable[object]) -> None:
        """Write one row; on OSError the file is as it was."""
        with self._path.open("ab") as file:
            end = file.tell()
            try:
                file.write(_lines([list(values)]).encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
