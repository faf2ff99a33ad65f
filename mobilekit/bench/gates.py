"""What a bench is held to: the figures of an earlier one, and budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.bench.result import BenchResult, FileResult
from mobilekit.errors import UsageError
from mobilekit.store.versions import tool_versions

# Pydantic, of which these are made, would cost every bench a tenth of a second.
if TYPE_CHECKING:
    from mobilekit.bench.baseline import Baseline
    from mobilekit.bench.budgets import Budget, FileCost


@dataclass(frozen=True)
class Gates:
    """What was asked for, read before the first run: a mistake in a file shows at once."""

    baseline: Baseline | None
    budgets: tuple[Budget, ...]
    save_to: Path | None

    @classmethod
    def load(cls, baseline: Path | None, budgets: Path | None, save_to: Path | None) -> Gates:
        """Read the files.

        Raises:
            UsageError: One cannot be read.
        """
        earlier: Baseline | None = None
        limits: tuple[Budget, ...] = ()
        if baseline:
            from mobilekit.bench.baseline import load_baseline

            earlier = load_baseline(baseline)
        if budgets:
            from mobilekit.bench.budgets import load_budgets

            limits = load_budgets(budgets)
        return cls(earlier, limits, save_to)

    def check(self, result: BenchResult) -> BenchResult:
        """Return one device's result with the verdicts on it, and with more to know in its notes."""
        if self.baseline:
            result = _against_baseline(result, self.baseline)
        return _within_budgets(result, self.budgets) if self.budgets else result

    def check_devices(self, count: int) -> None:
        """Refuse before the first run what cannot be kept after the last.

        Raises:
            UsageError: A baseline is to be kept, and there are several devices.
        """
        if self.save_to is not None and count > 1:
            raise UsageError("A baseline is of one device.", "Name it: --device adb:SERIAL.")

    def save(self, result: BenchResult) -> None:
        """Keep one device's figures, if that was asked for.

        Raises:
            UsageError: There is nothing worth keeping, or the file cannot be written.
        """
        if self.save_to is None:
            return
        from mobilekit.bench.baseline import save_baseline

        baseline = as_baseline(result)
        if not baseline.entries:
            raise UsageError("No run was accepted, so there is no baseline to keep.")
        save_baseline(self.save_to, baseline)


def _against_baseline(result: BenchResult, baseline: Baseline) -> BenchResult:
    from mobilekit.bench.baseline import compare_with_baseline

    changes = tuple(compare_with_baseline(as_baseline(result), baseline))
    notes = result.notes
    if all(change.ratio is None for change in changes):
        notes = (*notes, "No file could be compared with the baseline: it gates nothing here.")
    return replace(result, baseline=changes, notes=notes)


def _within_budgets(result: BenchResult, budgets: tuple[Budget, ...]) -> BenchResult:
    from mobilekit.bench.budgets import hold

    costs = [_cost(each, result.device.emulated) for each in result.results]
    verdicts, notes = hold(budgets, costs, result.device.model)
    return replace(result, budgets=verdicts, notes=(*result.notes, *notes))


def as_baseline(result: BenchResult) -> Baseline:
    """Return the figures of one device as a baseline has them: of the files whose runs were accepted."""
    from mobilekit.bench.baseline import Baseline, Entry

    entries = [
        Entry(
            file=each.file,
            precision=each.precision,
            threads=each.threads,
            engine=result.engine.name,
            statistic=each.statistic,
            cpu_mask=result.settings.cpu_mask,
            delegate=result.settings.delegate,
            tool=result.engine.tool_sha256,
            gpu_interface=_interface(result, each.file),
            fixed_performance=result.fixed_performance,
            sha256=each.sha256,
            raw_ms=each.raw_ms,
        )
        for each in result.results
        if each.accepted and each.statistic
    ]
    return Baseline(date=datetime.now(UTC), device=result.device, tools=tool_versions(), entries=tuple(entries))


def _interface(result: BenchResult, file: str) -> str | None:
    ran = (each.runs[file] for each in result.rounds if each.rejected is None and file in each.runs)
    return next((run.gpu_interface for run in ran if run.gpu_interface), None)


def _cost(result: FileResult, emulated: bool) -> FileCost:
    from mobilekit.bench.budgets import FileCost

    return FileCost(
        file=result.file,
        precision=result.precision,
        latency=None if emulated else result.latency_ms,  # it means nothing
        memory_mb=result.memory_mb,
        size_mb=result.size_mb,
    )
