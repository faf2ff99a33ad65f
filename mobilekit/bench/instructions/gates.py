"""What a count is held to: an earlier one, and budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.bench.instructions.result import CountResult, FileCount
from mobilekit.errors import UsageError

# Pydantic, of which these are made, would cost every count a tenth of a second.
if TYPE_CHECKING:
    from mobilekit.bench.budgets import Budget, FileCost
    from mobilekit.bench.instructions.baseline import CountBaseline


@dataclass(frozen=True)
class CountGates:
    """What was asked for, read before anything is counted."""

    baseline: CountBaseline | None
    budgets: tuple[Budget, ...]
    save_to: Path | None

    @classmethod
    def load(cls, baseline: Path | None, budgets: Path | None, save_to: Path | None) -> CountGates:
        """Read the files.

        Raises:
            UsageError: One cannot be read.
        """
        earlier: CountBaseline | None = None
        limits: tuple[Budget, ...] = ()
        if baseline:
            from mobilekit.bench.instructions.baseline import load_count_baseline

            earlier = load_count_baseline(baseline)
        if budgets:
            from mobilekit.bench.budgets import load_budgets

            limits = load_budgets(budgets)
        return cls(earlier, limits, save_to)

    def check(self, result: CountResult) -> CountResult:
        """Return the result with the verdicts on it."""
        if self.baseline:
            from mobilekit.bench.instructions.baseline import compare_counts

            changes = tuple(compare_counts(_as_baseline(result), self.baseline))
            notes = result.notes
            if all(change.now is None for change in changes):
                notes = (*notes, "No file could be compared with the baseline: it gates nothing here.")
            result = replace(result, baseline=changes, notes=notes)
        return _within_budgets(result, self.budgets) if self.budgets else result

    def save(self, result: CountResult) -> None:
        """Keep the counts, if that was asked for.

        Raises:
            UsageError: There is nothing worth keeping, or the file cannot be written.
        """
        if self.save_to is None:
            return
        from mobilekit.bench.baseline import save_baseline

        baseline = _as_baseline(result)
        if not baseline.entries:
            raise UsageError("No count was accepted, so there is no baseline to keep.")
        save_baseline(self.save_to, baseline)


def _as_baseline(result: CountResult) -> CountBaseline:
    from mobilekit.bench.instructions.baseline import CountBaseline, CountEntry

    entries = [
        CountEntry(
            file=each.file,
            precision=each.precision,
            sha256=each.sha256,
            instructions=each.count.instructions,
            kinds=each.count.by_kind,
            modules=each.count.by_module,
            kernels=each.count.kernels,
        )
        for each in result.results
        if each.count
    ]
    return CountBaseline(
        unit=result.unit,
        date=datetime.now(UTC),
        core=result.core.name,
        litert=result.litert,
        qemu=result.qemu,
        plugin_sha256=result.plugin_sha256,
        entries=tuple(entries),
    )


def _within_budgets(result: CountResult, budgets: tuple[Budget, ...]) -> CountResult:
    from mobilekit.bench.budgets import hold

    costs = [_cost(each) for each in result.results]
    verdicts, notes = hold(budgets, costs, result.core.model)
    return replace(result, budgets=verdicts, notes=(*result.notes, *notes))


def _cost(each: FileCount) -> FileCost:
    from mobilekit.bench.budgets import FileCost

    count = each.count
    return FileCost(
        file=each.file,
        precision=each.precision,
        size_mb=each.size_mb,
        instructions=count.instructions if count else None,
        kinds=count.by_kind if count else {},
        modules=count.by_module if count else {},
    )
