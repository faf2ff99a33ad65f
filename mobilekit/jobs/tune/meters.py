"""What compares the files of recipes: a bench on a device, or a count of instructions on an ARM core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.bench import BenchRequest, bench
from mobilekit.bench.devices.base import Device
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.instructions.baseline import TOLERANCE
from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.bench.instructions.count import count_files
from mobilekit.bench.instructions.result import CountResult, FileCount
from mobilekit.bench.result import BenchResult
from mobilekit.errors import DeviceError, ToolError
from mobilekit.jobs.tune.search import BASE, COUNTED, CountVerdict, Figure, Progress, Words


class Meter(ABC):
    """Compares files with the first of them, the base."""

    words = Words()

    @abstractmethod
    def compare(self, artifacts: tuple[Artifact, ...], progress: Progress) -> dict[str, Figure]:
        """Return a figure for each file, by its name; only the base has no ratio.

        Raises:
            ToolError: The base was refused.
            DeviceError: The device was lost.
        """


@dataclass
class BenchMeter(Meter):
    """Times files on a device."""

    device: Device
    rounds: int | None = None
    seed: int = 0
    settings: RunSettings = field(default_factory=RunSettings)
    benchmark_binary: str | None = None
    benches: list[BenchResult] = field(default_factory=list)
    """What each bench found."""

    def compare(self, artifacts: tuple[Artifact, ...], progress: Progress) -> dict[str, Figure]:
        """Time the files in one bench; see `Meter.compare`."""
        request = BenchRequest(artifacts, self.settings, self.rounds, self.seed, self.benchmark_binary)
        found = bench(self.device, request, progress)
        self.benches.append(found)
        return figures_of(found)


@dataclass
class CountMeter(Meter):
    """Counts the instructions of files on a core; a file that was counted is not counted again."""

    core: CountedCore
    counts: list[CountResult] = field(default_factory=list)
    """What each count found."""
    _known: dict[str, FileCount] = field(default_factory=dict)
    words = COUNTED

    def compare(self, artifacts: tuple[Artifact, ...], progress: Progress) -> dict[str, Figure]:
        """Count the files that are new; see `Meter.compare`."""
        new = [each for each in artifacts if each.sha256 not in self._known]
        if new:
            self.counts.append(count_files(new, self.core, progress))
            self._known |= {each.sha256: each for each in self.counts[-1].results}
        return counted_figures({each.name: self._known[each.sha256] for each in artifacts})


def figures_of(bench: BenchResult) -> dict[str, Figure]:
    """Return the figures of a bench's result.

    Raises:
        ToolError: The base was refused.
        DeviceError: The device failed before the last round: fewer are not what was planned.
    """
    if bench.partial:
        raise DeviceError(bench.partial)
    comparisons = {each.file: each for each in bench.comparisons}
    figures = {}
    for each in bench.results:
        if each.latency_ms is None:
            if each.file == BASE:
                raise ToolError(f"The base recipe's file cannot be timed: {each.why_not}")
            figures[each.file] = Figure(why_not=each.why_not)
            continue
        figures[each.file] = Figure(median_ms=each.latency_ms.median)
        if row := comparisons.get(each.file):
            figures[each.file] = Figure(row.ratio, row.low, row.high, row.verdict, each.latency_ms.median)
    return figures


def counted_figures(results: dict[str, FileCount]) -> dict[str, Figure]:
    """Return the figures of counts; fewer or more are those that differ by more than the tolerance of baselines.

    Raises:
        ToolError: The base was refused.
    """
    base = results[BASE].count
    if base is None:
        raise ToolError(f"The base recipe's file cannot be counted: {results[BASE].why_not}")
    figures = {BASE: Figure(instructions=base.instructions)}
    for name, each in results.items():
        if each.count is None:
            figures[name] = Figure(why_not=each.why_not)
        elif name != BASE:
            ratio = each.count.instructions / base.instructions
            is_more, is_fewer = ratio > 1 + TOLERANCE, ratio < 1 / (1 + TOLERANCE)
            verdict: CountVerdict = "more" if is_more else "fewer" if is_fewer else "same"
            figures[name] = Figure(ratio, verdict=verdict, instructions=each.count.instructions)
    return figures
