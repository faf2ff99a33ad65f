"""What benches measured of a bundle's files: times with their intervals, counted instructions, and where they go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from mobilekit.bench.instructions.result import CountResult, FileCount
from mobilekit.bench.result import BenchResult, FileResult
from mobilekit.cli.bench_results import Bench
from mobilekit.cli.render.bench import engine_words, interval_words
from mobilekit.cli.render.count import heading as count_heading
from mobilekit.cli.render.format import count, instructions, ms, percent
from mobilekit.cli.render.report import charts
from mobilekit.cli.render.report.page import Chart

_PARTS = 15
"""Bars of a chart; what the others take together is one more."""


@dataclass(frozen=True)
class Column:
    """One bench of the files of a bundle."""

    head: str
    cells: Mapping[str, str]
    """By the file's name in the bundle."""
    heading: str
    """What was measured on what, a line."""
    notes: tuple[str, ...]
    chart: Chart | None
    """Of times."""


@dataclass(frozen=True)
class Share:
    """Where the time or the instructions of one file go."""

    title: str
    charts: tuple[Chart, ...]
    rows: tuple[tuple[str, str, str], ...]
    """Part, its figure, and that in percent of all."""


def columns(benches: Sequence[Bench], files: Mapping[str, str]) -> list[Column]:
    """Return a column for each bench; several of one device have numbers.

    Args:
        benches: Those that are about files of the bundle.
        files: Their names there by SHA-256.
    """
    made = [
        _counted(bench, files) if isinstance(bench, CountResult) else _timed(bench, files, number)
        for number, bench in enumerate(benches)
    ]
    of_each = Counter(column.head for column in made)
    seen: Counter[str] = Counter()
    for place, column in enumerate(made):
        if of_each[column.head] > 1:
            seen[column.head] += 1
            words = f"bench {seen[column.head]}"
            made[place] = replace(column, head=f"{column.head}, {words}", heading=f"{column.heading}; {words}")
    return made


R = TypeVar("R", FileResult, FileCount)


def _in_order(results: Sequence[R], files: Mapping[str, str]) -> dict[str, R]:
    """Return the results by the files' names in the bundle, in the bundle's order."""
    found = {each.sha256: each for each in results}
    return {name: found[digest] for digest, name in files.items() if digest in found}


def _timed(bench: BenchResult, files: Mapping[str, str], number: int) -> Column:
    device, settings = bench.device, bench.settings
    of = _in_order(bench.results, files)
    threads = count(settings.threads, "thread")
    heading = f"{device.model} ({device.abi}, {device.os}), {threads}; {engine_words(bench)}"
    points = [_point(name, each) for name, each in of.items() if each.latency_ms]
    said = "; ".join(f"{point['file']} {point['shown']}" for point in points)
    words = f"Median latencies in ms with their intervals, on {device.model}: {said}."
    return Column(
        f"ms on {device.model}" + (f", {threads}" if settings.threads > 1 else ""),
        {name: _latency(each) for name, each in of.items()},
        heading,
        bench.notes,
        Chart(f"latency-{number}", words, charts.latencies(points)) if points else None,
    )


def _latency(each: FileResult) -> str:
    latency = each.latency_ms
    return f"{ms(latency.median)} ({interval_words(latency, ms, 'to')})" if latency else f"refused: {each.why_not}"


def _point(name: str, each: FileResult) -> dict[str, object]:
    assert each.latency_ms is not None
    latency = each.latency_ms
    figures = {"median": latency.median, "low": latency.low, "high": latency.high}
    return {"file": name, **figures, "raw": list(each.raw_ms), "shown": _latency(each)}


def _counted(result: CountResult, files: Mapping[str, str]) -> Column:
    of = _in_order(result.results, files)
    return Column(
        f"instructions, {result.core.model}",
        {
            name: instructions(each.count.instructions) if each.count else f"refused: {each.why_not}"
            for name, each in of.items()
        },
        count_heading(result),
        result.notes,
        None,
    )


def shares(benches: Sequence[Bench], files: Mapping[str, str]) -> list[Share]:
    """Return where times and instructions go, by module and by kind of work; the arguments are those of `columns`."""
    return [
        _share(f"share-{number}", *each)
        for number, each in enumerate(part for bench in benches for part in _parts(bench, files))
    ]


Parts = tuple[str, str, float, tuple[tuple[str, Mapping[str, float]], ...]]
"""Title, unit, the whole, and its parts by module and by kind."""


def _parts(bench: Bench, files: Mapping[str, str]) -> Iterator[Parts]:
    for each in bench.results:
        name = files.get(each.sha256)
        if name is None:
            continue
        if isinstance(bench, CountResult) and isinstance(each, FileCount) and each.count:
            found = each.count
            counted = (("module", found.by_module), ("kind of work", found.by_kind))
            yield f"{name} on {bench.core.model}", "instructions", found.instructions, counted
        elif not isinstance(bench, CountResult) and bench.profiles and each.file in bench.profiles:
            profile = bench.profiles[each.file]
            by = (("module", profile.by_module), ("kind of work", profile.by_kind))
            yield f"{name} on {bench.device.model} ({profile.source})", "ms", profile.total_ms, by


def _share(name: str, title: str, unit: str, whole: float, by: Sequence[tuple[str, Mapping[str, float]]]) -> Share:
    write = ms if unit == "ms" else instructions
    drawn, rows = [], []
    for number, (kind, sums) in enumerate(by):
        shown = _largest(sums)
        points = [{"part": part, "value": value, "shown": write(value)} for part, value in shown.items()]
        most = "; ".join(f"{part} {write(value)}" for part, value in list(shown.items())[:5])
        words = f"{unit} of {title} by {kind}, the most: {most}."
        if points:
            drawn.append(Chart(f"{name}-{number}", words, charts.bars(points, f"{unit} by {kind}")))
        rows += [(part, write(value), percent(value / whole if whole else None)) for part, value in sums.items()]
    return Share(title, tuple(drawn), tuple(rows))


def _largest(sums: Mapping[str, float]) -> dict[str, float]:
    there = [(part, value) for part, value in sums.items() if value > 0]
    rest = there[_PARTS:]
    others = {f"{len(rest)} others": sum(value for _, value in rest)} if rest else {}
    return {**dict(there[:_PARTS]), **others}
