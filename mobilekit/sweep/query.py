"""Which rows are wanted, and in which order: the words of `--where` and `--sort`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mobilekit.errors import UsageError, nearest
from mobilekit.sweep.rows import COLUMNS, Column

Row = Mapping[str, Any]
IDENTITY = ("model", "model_options", "input_size", "recipe", "precision", "device", "threads", "source", "tool")
"""What says which file a row is about, where that was timed, and who did."""
IMPORTED = "imported"
"""The source of rows that others measured."""
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
_KINDS = ("string", "int64", "double", "bool")


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the row that ended last of each file: a cell whose files or settings changed leaves its earlier rows."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in IDENTITY)
        if key not in found or row["ended"] > found[key]["ended"]:
            found[key] = row
    return list(found.values())


def where(rows: Iterable[Row], conditions: Sequence[str]) -> list[Row]:
    """Return the rows that meet all conditions.

    Args:
        rows: Of a sweep.
        conditions: Such as `precision=int8`, `model=ghostnetv2,shufflenet` (one of them), `latency_ms<5` and
            `parity!=fail`. A row without a value meets none but `!=`.

    Raises:
        UsageError: There is no such column, or one is no condition.
    """
    tests = [_test(condition) for condition in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def sort(rows: Sequence[Row], column: str | None) -> list[Row]:
    """Return rows by a column, `-COLUMN` from its largest value on; rows without a value come last.

    Raises:
        UsageError: There is no such column.
    """
    if column is None:
        return list(rows)
    name = _column(column.removeprefix("-")).name
    known = [row for row in rows if row[name] is not None]
    ordered = sorted(known, key=lambda row: row[name], reverse=column.startswith("-"))
    return [*ordered, *(row for row in rows if row[name] is None)]


def _test(condition: str) -> Callable[[Row], bool]:
    found = _CONDITION.fullmatch(condition)
    if found is None:
        raise UsageError(f"--where {condition} is no condition.", "Write COLUMN=VALUE; also != < <= > >=.")
    column, sign = _column(found[1]), found[2]
    values = [_value(column, word.strip()) for word in (found[3].split(",") if sign in ("=", "!=") else [found[3]])]
    if sign == "=":
        return lambda row: row[column.name] in values
    if sign == "!=":
        return lambda row: row[column.name] not in values
    if column.type not in ("int64", "double"):
        raise UsageError(f"--where {condition}: {column.name} is no number.", "Compare it by = or !=.")
    compared = _COMPARISONS[sign]
    return lambda row: row[column.name] is not None and compared(row[column.name], values[0])


def _column(name: str) -> Column:
    known = {each.name: each for each in COLUMNS if each.type in _KINDS}
    if name not in known:
        raise UsageError(f"The rows have no column {name}.", nearest(name, known))
    return known[name]


def _value(column: Column, word: str) -> Any:
    try:
        if column.type == "bool":
            return {"true": True, "false": False}[word.lower()]
        return float(word) if column.type in ("int64", "double") else word
    except (ValueError, KeyError) as error:
        raise UsageError(f"{word!r} is no value of {column.name}, which is {column.type}.") from error
