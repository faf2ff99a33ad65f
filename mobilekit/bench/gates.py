"""What a bench is held to: the figures of an earlier one, and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mobilekit.bench.baseline import Baseline, Entry, compare_with_baseline, load_baseline, save_baseline
from mobilekit.bench.budgets import Budget, Measured, check, idle_budgets, load_budgets
from mobilekit.bench.statistics import Latency
from mobilekit.devices.base import Core, DeviceFacts
from mobilekit.errors import UsageError
from mobilekit.versions import tool_versions


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
        return cls(load_baseline(baseline) if baseline else None, load_budgets(budgets) if budgets else (), save_to)

    def check(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the verdicts on one device's result: `baseline`, `budgets`, and its `notes` with more to know."""
        found: dict[str, Any] = {}
        notes = list(content["notes"])
        if self.baseline:
            changes = compare_with_baseline(_as_baseline(content), self.baseline)
            found["baseline"] = [change.to_json() for change in changes]
            if all(change.ratio is None for change in changes):
                notes.append("No file could be compared with the baseline: it gates nothing here.")
        if self.budgets:
            model = content["device"]["model"]
            measured = [_measured(result, content["device"]["emulated"]) for result in content["results"]]
            found["budgets"] = [verdict.to_json() for each in measured for verdict in check(self.budgets, each, model)]
            idle = idle_budgets(self.budgets, measured, model)
            notes += [
                f"The budget for {each.file} ({each.precision}) on {each.device} covers no file." for each in idle
            ]
        return {**found, "notes": notes}

    def save(self, contents: Sequence[dict[str, Any]]) -> None:
        """Keep the figures, if that was asked for.

        Raises:
            UsageError: There are several devices, or nothing worth keeping.
        """
        if self.save_to is None:
            return
        if len(contents) > 1:
            raise UsageError("A baseline is of one device.", "Name it: --device adb:SERIAL.")
        baseline = _as_baseline(contents[0])
        if not baseline.entries:
            raise UsageError("No run was accepted, so there is no baseline to keep.")
        save_baseline(self.save_to, baseline)


def _as_baseline(content: dict[str, Any]) -> Baseline:
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
    figures = result["latency_ms"]
    latency = Latency(**{each.name: figures[each.name] for each in fields(Latency)}) if figures else None
    return Measured(
        file=result["file"],
        precision=result["precision"],
        latency=None if emulated else latency,  # it means nothing
        memory_mb=result["memory_mb"],
        size_mb=result["size_mb"],
    )
