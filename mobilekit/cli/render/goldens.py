"""What came of golden cases, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from mobilekit.cli.render.format import count
from mobilekit.jobs.goldens.result import Replayed

_METRICS = {"max_abs": "abs", "relative_l2": "L2", "equal_labels": "equal"}


def replay_table(found: Replayed) -> Table:
    """Return a row for each case, file and output: its largest difference, and what is held to which limit."""
    table = Table(box=None)
    for column in ("case", "file", "output"):
        table.add_column(column, no_wrap=True)
    for column in ("max abs", "held", "limit", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        word = _METRICS.get(row.metric, row.metric)
        value = row.fault or f"{word} {row.value:.1e}"
        largest = "-" if row.fault else f"{row.largest:.1e}"
        table.add_row(row.case, row.file, row.output, largest, value, f"{row.limit:.1e}", row.verdict)
    return table


def skipped_lines(found: Replayed) -> Iterator[str]:
    """Yield which files were not replayed, and the verdict."""
    yield from (f"{file} is not replayed: {reason}." for file, reason in found.skipped.items())
    off = sum(row.verdict == "fail" for row in found.rows)
    what = f"{off} of {count(len(found.rows), 'output')} off" if off else f"{count(len(found.rows), 'output')} right"
    yield f"{found.verdict}: {found.runtime} on the {found.place}: {what}"
