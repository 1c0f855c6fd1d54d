"""Tables are read as they were written, and while they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import tables


def test_a_row_is_in_the_file_before_the_table_is_closed(tmp_path: Path) -> None:
    with tables.Table(tmp_path / "table.csv") as table:
        table.add(minutes=1.5, name="a, b")
        assert tables.read(tmp_path / "table.csv") == [{"minutes": "1.5", "name": "a, b"}]


def test_a_row_that_is_being_written_is_left_out_of_a_growing_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("minutes,update\n1,10\n2,2")
    assert [row["update"] for row in tables.read(path, growing=True)] == ["10"]
    path.write_text("minutes,upd")
    assert tables.read(path, growing=True) == []


def test_a_row_that_ends_early_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("minutes,update\n1,10\n2")
    with pytest.raises(TypeError):
        tables.column(tables.read(path), "update")
