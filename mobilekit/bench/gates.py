"""What a bench is held to: the figures of an earlier one, and budgets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.bench.devices.base import Core, DeviceFacts
from mobilekit.bench.statistics import Latency
from mobilekit.errors import UsageError
from mobilekit.store.versions import tool_versions

# Pydantic, of which these are made, would cost every bench a tenth of a second.
if TYPE_CHECKING:
    from mobilekit.bench.baseline import Baseline
    from mobilekit.bench.budgets import Budget, Measured


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

    def check(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the verdicts on one device's result: `baseline`, `budgets`, and its `notes` with more to know."""
        found: dict[str, Any] = {}
        notes = list(content["notes"])
        if self.baseline:
            from mobilekit.bench.baseline import compare_with_baseline

            changes = compare_with_baseline(_as_baseline(content), self.baseline)
            found["baseline"] = [change.to_json() for change in changes]
            if all(change.ratio is None for change in changes):
                notes.append("No file could be compared with the baseline: it gates nothing here.")
        if self.budgets:
            from mobilekit.bench.budgets import check, idle_budgets

            model = content["device"]["model"]
            measured = [_measured(result, content["device"]["emulated"]) for result in content["results"]]
            found["budgets"] = [verdict.to_json() for each in measured for verdict in check(self.budgets, each, model)]
            idle = idle_budgets(self.budgets, measured, model)
            notes += [
                f"The budget for {each.file} ({each.precision}) on {each.device} covers no file." for each in idle
            ]
        return {**found, "notes": notes}

    def check_devices(self, count: int) -> None:
        """Refuse before the first run what cannot be kept after the last.

        Raises:
            UsageError: A baseline is to be kept, and there are several devices.
        """
        if self.save_to is not None and count > 1:
            raise UsageError("A baseline is of one device.", "Name it: --device adb:SERIAL.")

    def save(self, content: dict[str, Any]) -> None:
        """Keep one device's figures, if that was asked for.

        Raises:
            UsageError: There is nothing worth keeping, or the file cannot be written.
        """
        if self.save_to is None:
            return
        from mobilekit.bench.baseline import save_baseline

        baseline = _as_baseline(content)
        if not baseline.entries:
            raise UsageError("No run was accepted, so there is no baseline to keep.")
        save_baseline(self.save_to, baseline)


def _as_baseline(content: dict[str, Any]) -> Baseline:
    from mobilekit.bench.baseline import Baseline, Entry

    settings = content["settings"]
    return Baseline(
        date=datetime.now(UTC),
        device=_facts(content["device"]),
        tools=tool_versions(),
        entries=tuple(
            Entry(
                file=result["file"],
                precision=result["precision"],
                threads=result["threads"],
                engine=content["engine"]["name"],
                statistic=result["statistic"],
                cpu_mask=settings["cpu_mask"],
                delegate=settings["delegate"],
                sha256=result["sha256"],
                raw_ms=tuple(result["raw_ms"]),
            )
            for result in content["results"]
            if result["accepted"]
        ),
    )


def _facts(device: dict[str, Any]) -> DeviceFacts:
    return DeviceFacts(**{**device, "cores": tuple(Core(**core) for core in device["cores"])})


def _measured(result: dict[str, Any], emulated: bool) -> Measured:
    from mobilekit.bench.budgets import Measured

    figures = result["latency_ms"]
    latency = Latency(**{each.name: figures[each.name] for each in fields(Latency)}) if figures else None
    return Measured(
        file=result["file"],
        precision=result["precision"],
        latency=None if emulated else latency,  # it means nothing
        memory_mb=result["memory_mb"],
        size_mb=result["size_mb"],
    )
