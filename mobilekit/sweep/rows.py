"""The rows of a sweep: a Parquet dataset of a file for each cell, which any reader of Parquet takes.

One row is one file of one cell. `COLUMNS` is the schema, with the unit of each figure; both stand in the metadata of
the columns too, and the schema's version in that of each file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import ToolError, UsageError, first_line
from mobilekit.store.files import sync
from mobilekit.sweep.schema import PRECISIONS

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
"""Of the rows. A version that adds columns keeps it; one that changes what a column means has the next."""
_VERSION_KEY = b"mobilekit.sweep.schema"


@dataclass(frozen=True)
class Column:
    """A column of the dataset."""

    name: str
    type: str
    """Of pyarrow: `string`, `int64`, `double`, `bool`, `timestamp`, and lists of them."""
    meaning: str
    unit: str = ""


COLUMNS = (
    Column("cell", "string", "key of the cell: a digest of all it does, and of the files that it is made of"),
    Column("status", "string", "ok, or failed: the last step that the file was to take part in has no result"),
    Column("failed_step", "string", "export, diff, inspect:TARGET or bench, where it failed"),
    Column("reason", "string", "why it failed"),
    Column("hint", "string", "what to do about that"),
    Column("model", "string", "as the sweep's file has it"),
    Column("model_options", "string", "as JSON"),
    Column("input_size", "string", "HEIGHTxWIDTH of the picture that the file takes", "pixels"),
    Column("recipe", "string", "name or file; null: the model's own"),
    Column("precision", "string", f"one of {', '.join(PRECISIONS)}; of an imported row as its tool has it"),
    Column("device", "string", "as the sweep's file has it; null: not timed"),
    Column("threads", "int64", "of the runtime"),
    Column("bundle", "string", "folder, from the sweep's on"),
    Column("file", "string", "name of the file in the bundle; null where there is none"),
    Column("sha256", "string", "of the file"),
    Column("size_bytes", "int64", "of the file", "bytes"),
    Column("partitions", "int64", "parts of the graph that XNNPACK runs; 1: all of it in one"),
    Column("trained", "bool", "whether the weights mean something"),
    Column("parity", "string", "pass, fail or inconclusive: the file's stage against its limits"),
    Column("max_abs", "double", "largest difference from the reference"),
    Column("relative_l2", "double", "L2 norm of the difference over that of the reference"),
    Column("cosine", "double", "smallest cosine with the reference's output of an input"),
    Column("top1_agreement", "double", "share of inputs whose largest output is the reference's"),
    Column("top1", "double", "share of inputs whose largest output is the label's; null without labels"),
    Column("targets", "list<string>", "each target's answer, as JSON of `mobilekit inspect --target`"),
    Column("latency_ms", "double", "median of the rounds", "ms"),
    Column("latency_low_ms", "double", "lower end of its 95 % interval; null with fewer than 6 rounds", "ms"),
    Column("latency_high_ms", "double", "upper end; null with fewer than 6 rounds", "ms"),
    Column("raw_ms", "list<double>", "a figure for each round that counts", "ms"),
    Column("statistic", "string", "what of a round's inferences a figure is: median or mean"),
    Column("memory_mb", "double", "growth of the process that ran the file", "10^6 bytes"),
    Column("delegates", "list<string>", "what delegates took"),
    Column("rounds", "string", "all rounds of the bench, those that do not count too, as JSON of `mobilekit bench`"),
    Column("baseline", "string", "the file's figures as JSON of `mobilekit bench --save-baseline`"),
    Column("device_model", "string", "the device's own name for itself"),
    Column("engine", "string", "what ran the file, with its version"),
    Column("host", "string", "machine of the last step"),
    Column("export_seconds", "double", "time of the export, whose other files have the same", "s"),
    Column("diff_seconds", "double", "of the diff", "s"),
    Column("inspect_seconds", "double", "of all targets' answers", "s"),
    Column("bench_seconds", "double", "of the bench, with the wait for the device", "s"),
    Column("ended", "timestamp", "when the cell ended, in UTC"),
    Column("source", "string", "imported: another tool measured this row; null: this sweep did"),
    Column("tool", "string", "which tool that is"),
    Column("source_sha256", "string", "of that tool's file"),
)
"""In their order in the dataset."""


def schema() -> pa.Schema:
    """Return the schema of the dataset."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<string>": pa.list_(pa.string()),
        "list<double>": pa.list_(pa.float64()),
    }
    columns = [pa.field(each.name, types[each.type], metadata=_metadata(each)) for each in COLUMNS]
    return pa.schema(columns, metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()})


def _metadata(column: Column) -> dict[str, str]:
    return {"description": column.meaning, **({"unit": column.unit} if column.unit else {})}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows of a cell, whole or not at all.

    Args:
        path: The file.
        rows: Values by column; null where there is none.

    Raises:
        OSError: They cannot be written, as on a full disk; nothing is left of them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema())
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")  # readers pass over names that begin with a dot
    try:
        pq.write_table(table, part)
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a sweep, a dict by column each, in the order of model, size, precision and device.

    Raises:
        UsageError: Rows are of a later version.
        ToolError: A file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, rows = schema(), []
    for path in sorted(folder.glob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:  # read_table takes six times as long for files as small as these
                table = file.read(use_threads=False)
        except (OSError, pa.ArrowException) as error:
            hint = "Remove it, and run the sweep with --resume."
            raise ToolError(f"{path} is damaged: {first_line(error)}.", hint) from error
        version = (table.schema.metadata or {}).get(_VERSION_KEY, b"?").decode()
        if version != str(SCHEMA_VERSION):
            raise UsageError(f"{path} has rows of version {version}; this mobilekit reads {SCHEMA_VERSION}.")
        empty = dict.fromkeys(wanted.names)
        rows += [{**empty, **row} for row in table.to_pylist()]
    return sorted(rows, key=_order)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("model", "model_options", "input_size", "recipe", "device", "threads", "precision", "tool")
    return tuple((row[name] is not None, row[name]) for name in names)
