"""Tables are read as they were written, and while they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import tables


def test_a_fresh_table_holds_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    for name in ("a", "b, c"):
        table = tables.fresh(tmp_path / "table.csv", ["minutes", "name"])
        table.append({"minutes": 1.5, "name": name})
    assert tables.read(tmp_path / "table.csv") == [{"minutes": "1.5", "name": "b, c"}]


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
