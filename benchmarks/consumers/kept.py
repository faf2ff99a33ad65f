"""Rows out of the tables of docs/consumers.md: what was measured before, where the rows themselves are gone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.consumers.catalogue import CONSUMERS
from benchmarks.consumers.report import FILES

Row = dict[str, Any]
_DATES = re.compile(r"^Measured (\S+?)(?: to (\S+))?\.$", re.MULTILINE)
_REASON = re.compile(r"^- \*\*(\d+)\*\*: (.*)$", re.MULTILINE)
_VERSIONS = re.compile(r"^Versions: (.*)\.$", re.MULTILINE)
_REFUSED = re.compile(r"refused \((\d+)\)")
_FIGURES = re.compile(r"(\S+), (\S+?)(?:; (.*))?")


def with_kept(rows: Sequence[Row], text: str) -> list[Row]:
    """Return rows, and before them those of a document that they do not replace."""
    replaced = {_place(row) for row in rows}
    return [*(row for row in rows_in(text) if _place(row) not in replaced), *rows]


def rows_in(text: str) -> list[Row]:
    """Return the rows that a document was made of, as far as it tells them: one for each date of its span."""
    span = _DATES.search(text)
    dates = dict.fromkeys(date for date in span.groups() if date) if span else ()
    reasons = dict(_REASON.findall(text))
    versions = _VERSIONS.search(text)
    packages = {one.partition("==")[0]: one for one in versions[1].split(", ")} if versions else {}
    own = {each.name: packages.get(each.own.partition("==")[0]) for each in CONSUMERS}
    return [
        {**place, **_found(cell, reasons), "packages": [package], "date": date}
        for place, cell in _cells(text)
        if (package := own.get(place["consumer"]))
        for date in dates
    ]


def _place(row: Row) -> tuple[str, str, str]:
    return row["consumer"], row["model"], row["file"]


def _cells(text: str) -> Iterator[tuple[Row, str]]:
    """Yield what each cell of the tables says, with the consumer, the model and the file that it says it of."""
    files = {title: file for file, title in FILES.items()}
    for part in text.split("\n### ")[1:]:
        title, *lines = part.splitlines()
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        if title not in files or not table:
            continue
        (_head, *models), _rule, *rows = table
        for name, *cells in rows:
            for model, cell in zip(models, cells, strict=True):
                if cell != "-":
                    yield {"consumer": name, "model": model, "file": files[title]}, cell


def _found(cell: str, reasons: dict[str, str]) -> Row:
    """Return what a cell says, as a row has it."""
    cell = cell.strip("*")
    if refused := _REFUSED.fullmatch(cell):
        return {"refused": reasons[refused[1]]}
    if cell == "not finite":
        return {"cosine": math.nan, "max_abs": math.inf}
    if cell.startswith("compiles"):
        what = cell.partition("; ")[2]
        return {"told": what} if what else {}
    figures = _FIGURES.fullmatch(cell)
    assert figures, cell
    told = {"told": figures[3]} if figures[3] else {}
    return {"cosine": float(figures[1]), "max_abs": float(figures[2]), **told}
