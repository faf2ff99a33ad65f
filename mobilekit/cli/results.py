"""What `mobilekit diff` and `mobilekit export` print with --json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, computed_field

from mobilekit.artifacts.analysis.runtime_faults import FileFault, faults_in
from mobilekit.cli.findings import Finding, findings_of
from mobilekit.parity.baseline import BaselineReport
from mobilekit.parity.bisect.result import BisectionReport
from mobilekit.parity.layers.result import Layers
from mobilekit.parity.ledger.result import Ledger, Verdict
from mobilekit.store.manifest import Weights
from mobilekit.store.result import Result


@dataclass(frozen=True, kw_only=True)
class DiffResult(Ledger):
    """A ledger with what was asked for beside it. `verdict` is that of the limits alone."""

    baseline: BaselineReport | None = None
    """What changed since an earlier ledger."""
    layers: Layers | None = None
    """The values inside."""
    bisect: BisectionReport | None = None
    """What is at fault; null where nothing is outside its limit."""
    is_bisected: Annotated[bool, Field(exclude=True)] = False
    runtime_faults: tuple[FileFault, ...] = ()
    """Known faults of the runtimes on this machine that touch a measured file."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return findings_of(self, self.baseline, self.layers, self.is_bisected)

    @property
    def is_good(self) -> bool:
        """Whether the exit code is 0."""
        return all(finding.level != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON data, without what was not asked for."""
        content = super().to_json()
        absent = {name for name in ("baseline", "layers", "bisect") if content[name] is None}
        if self.is_bisected:
            absent.discard("bisect")
        return {name: value for name, value in content.items() if name not in absent}


def result_of(ledger: Ledger, **more: Any) -> DiffResult:
    """Return a ledger with what was asked for beside it."""
    return DiffResult(**{**vars(ledger), **more})


def faults_of(files: Iterable[Path], without_delegates: bool) -> tuple[FileFault, ...]:
    """Return the known faults of this machine's runtimes that touch the files; see `faults_in`."""
    return tuple(each for file in files for each in faults_in(file, without_delegates=without_delegates))


@dataclass(frozen=True)
class ExportResult(Result):
    """A bundle that was exported, with its ledger."""

    bundle: str
    """Its directory."""
    up_to_date: bool
    """Whether it was there already."""
    from_cache: bool
    weights: Weights
    files: Mapping[str, int]
    """Bytes of each file at its top, by name."""
    ledger: Ledger
    findings: tuple[Finding, ...]
    """All that is wrong."""
    verdict: Verdict
