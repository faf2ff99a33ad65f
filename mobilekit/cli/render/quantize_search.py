"""What `mobilekit quantize-search` tried and found, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mobilekit.cli.render.format import instructions
from mobilekit.jobs.quantize_search.float_search import Point
from mobilekit.jobs.quantize_search.job import SearchResult

_HEAD = ("more in float", "layers", "cost %", "rel L2", "cosine", "int8 file", "MB", "partitions")


def search_report(found: SearchResult) -> Group:
    """Return a line for each choice, what the columns are, and what holds the limit."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in (*_HEAD, *(["instructions"] if found.counts else [])):
        table.add_column(column, justify="left" if column == _HEAD[0] else "right", no_wrap=True)
    for point in found.points:
        table.add_row(*map(Text, _cells(found, point)))
    return Group(
        table,
        "cost: mean of the shares of multiply-accumulates and of values that are in float, or turned into float.",
        "rel L2 and cosine: simulated, on calibration inputs. int8 file: its cosine, on evaluation inputs.",
        *map(Text, _counted(found)),
        Text(_verdict(found)),
    )


def _cells(found: SearchResult, point: Point) -> tuple[str, ...]:
    file = found.file_of(point.int8)
    return (
        point.added or "(the recipe as it is)",
        str(point.layers),
        f"{100 * point.cost:.1f}",
        f"{point.relative_l2:.4f}",
        f"{point.cosine:.5f}",
        *((f"{file.cosine:.5f}", f"{file.size_bytes / 1e6:.2f}", str(file.partitions)) if file else ("", "", "")),
        *([instructions(file.instructions) if file and file.instructions else ""] if found.counts else []),
    )


def _counted(found: SearchResult) -> Iterator[str]:
    """Yield what the instructions are of, what those of the float32 file are, and which counts were refused."""
    if not found.counts:
        return
    first = found.counts[0]
    float32 = first.results[0].count
    beside = f"; of the float32 file: {instructions(float32.instructions)}" if float32 else ""
    yield f"instructions: of one inference on {first.core.model}, LiteRT {first.litert}, qemu {first.qemu}{beside}."
    yield from (f"refused: {each.file}: {each.why_not}" for one in found.counts for each in one.results if each.why_not)
    yield from (note for note in first.notes)


def _verdict(found: SearchResult) -> str:
    last = found.files[-1]
    parts = ", ".join((*last.int8.keep_float, *last.int8.float_modules)) or "nothing"
    if found.holds:
        return f"{found.limit:g} holds with {parts} in float."
    return f"{found.limit:g} does not hold: {last.cosine:.5f} with {parts} in float."
