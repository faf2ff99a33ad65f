"""Rows on the disk: any reader of Parquet takes them, with their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.errors import ToolError, UsageError
from mobilekit.sweep.rows import read_rows, schema, write_rows
from tests.sweep.rows_by_hand import row, sweep_of

pa = pytest.importorskip("pyarrow")


def test_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row("a", "float32", [1.0, 2.0, 3.0]), row("b", "int8", status="failed", reason="why")]
    folder = sweep_of(tmp_path / "s", rows)
    assert read_rows(folder / "rows") == rows


def test_any_reader_takes_the_folder_and_finds_units_and_version(tmp_path: Path) -> None:
    import pyarrow.dataset as ds

    folder = sweep_of(tmp_path / "s", [row("a", raw_ms=[1.5, 2.5]), row("b")])
    (folder / "rows" / ".c.parquet.partial-1").write_bytes(b"half of a file that was being written")
    table = ds.dataset(folder / "rows", format="parquet").to_table()
    assert sorted(table["model"].to_pylist()) == ["a", "b"]
    assert sorted(table["raw_ms"].to_pylist(), key=str) == [None, [1.5, 2.5]] or table["raw_ms"].null_count == 1
    field = table.schema.field("latency_ms")
    assert field.metadata == {b"description": b"median of the rounds", b"unit": b"ms"}
    assert table.schema.metadata[b"mobilekit.sweep.schema"] == b"1"


def test_rows_of_another_version_are_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = sweep_of(tmp_path / "s", [row()])
    later = schema().with_metadata({b"mobilekit.sweep.schema": b"2"})
    pq.write_table(pa.Table.from_pylist([row()], schema=later), folder / "rows" / "later.parquet")
    with pytest.raises(UsageError, match="has rows of version 2; this mobilekit reads 1"):
        read_rows(folder / "rows")


def test_a_column_that_a_version_added_is_null_in_older_rows(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    older = pa.schema([each for each in schema() if each.name != "host"], metadata=schema().metadata)
    one = {name: value for name, value in row().items() if name != "host"}
    pq.write_table(pa.Table.from_pylist([one], schema=older), tmp_path / "a.parquet")
    assert read_rows(tmp_path) == [row()]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ToolError, match=r"a\.parquet is damaged"):
        read_rows(tmp_path)


def test_a_value_of_another_type_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowException):
        write_rows(tmp_path / "a.parquet", [row(threads="many")])
    assert list(tmp_path.iterdir()) == []
