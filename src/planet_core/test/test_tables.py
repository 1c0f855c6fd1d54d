from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planet_core.durable import DirectoryError
from planet_core.tables import Table

COLUMNS = ("number", "text")


def table(path: Path, **options: object) -> Table:
    return Table(path, COLUMNS, **options)  # type: ignore[arg-type]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_rows_are_read_as_they_were_appended(tmp_path_factory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    opened = table(path)
    for number, text in enumerate(texts):
        opened.append([number, text.replace("\r", "").replace("\0", "")])
    assert len(table(path).rows) == len(texts)


def test_a_row_that_a_crash_cut_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("number,text\n1,a\n2,b")
    opened = table(path)
    opened.append([3, "c"])
    assert path.read_text() == "number,text\n1,a\n3,c\n"


def test_rows_that_are_not_kept_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("number,text\n1,a\n2,b\n")
    assert table(path, keep=lambda row: row[0] == "2").rows == [["2", "b"]]
    assert path.read_text() == "number,text\n2,b\n"


def test_a_table_of_an_earlier_version_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("number\n1\n")
    assert table(path).rows == [["1", ""]]
    assert path.read_text() == "number,text\n1,\n"


def test_another_table_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(DirectoryError, match="holds another table"):
        table(path)
    assert path.read_text() == "a,b,c\n1,2,3\n"


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryError, match="cannot be written"):
        table(tmp_path / "file" / "t.csv")
