"""What a bench of one device found. Its fields are the keys of what `mobilekit bench --json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mobilekit.artifacts.analysis.runtime_faults import FileFault, faults_in
from mobilekit.bench.artifacts import Artifact, printable
from mobilekit.bench.devices.base import DeviceFacts, DeviceState
from mobilekit.bench.engine import EngineFacts, Run, RunSettings
from mobilekit.bench.profile import Profile
from mobilekit.bench.session import Outcome, Plan
from mobilekit.bench.statistics import Comparison, Latency, compare, summarize
from mobilekit.bench.verdicts import BudgetVerdict, Change
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable

EMULATED = "This device's instructions are translated by another machine: its latencies mean nothing."


@dataclass(frozen=True)
class BenchSettings(RunSettings):
    """How each process ran a file, how many rounds of them, and the seed of their order."""

    rounds: int = field(kw_only=True)
    seed: int = field(kw_only=True)


@dataclass(frozen=True)
class FileResult(Jsonable):
    """What was measured of one file."""

    file: str
    """Its name in comparisons and baselines; see `Artifact.name`."""
    path: str
    sha256: str
    precision: str
    size_mb: float
    """In units of 10^6 bytes."""
    threads: int
    latency_ms: Latency | None
    """None where no run was accepted."""
    statistic: Literal["median", "mean"] | None
    """What of a run's inferences each of `raw_ms` is."""
    rounds: int
    """How many rounds count."""
    raw_ms: tuple[float, ...]
    """One latency for each of them."""
    memory_mb: float | None
    """The largest of the rounds; None where the engine does not say."""
    delegates: tuple[str, ...]
    accepted: bool
    why_not: str | None


@dataclass(frozen=True)
class _TwoFiles(Jsonable):
    file: str
    against: str


@dataclass(frozen=True)
class FileComparison(Comparison, _TwoFiles):
    """How long `file` takes, as a multiple of what `against` takes."""


@dataclass(frozen=True)
class RoundResult(Jsonable):
    """One round, whether it counts or not."""

    index: int
    rejected: str | None
    """Why it does not count."""
    before: DeviceState
    after: DeviceState
    runs: dict[str, Run]
    """By the file's name."""


@dataclass(frozen=True)
class BenchResult(Jsonable):
    """Figures of each file, comparisons within each group, verdicts, and all raw data of one device."""

    device: DeviceFacts
    engine: EngineFacts
    settings: BenchSettings
    results: tuple[FileResult, ...]
    comparisons: tuple[FileComparison, ...]
    rounds: tuple[RoundResult, ...]
    notes: tuple[str, ...]
    """What the user must know."""
    profiles: dict[str, Profile] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """By the file's name; None where none was asked for."""
    baseline: tuple[Change, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """None where none was given, and so with budgets."""
    budgets: tuple[BudgetVerdict, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    fixed_performance: bool | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Whether a phone held a speed that it can keep up; None for other devices."""
    partial: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Why there are fewer rounds than were asked for: the device failed."""
    runtime_faults: tuple[FileFault, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Known faults of the engine's version that touch a file, with the delegate; None where none is known."""

    @property
    def accepted_rounds(self) -> int:
        """How many rounds count."""
        return sum(each.rejected is None for each in self.rounds)

    @property
    def fails(self) -> bool:
        """Whether a file regressed, a budget is exceeded, or no run of a file was accepted."""
        return (
            any(not each.accepted for each in self.results)
            or any(each.verdict == "regressed" for each in self.baseline or ())
            or any(each.verdict == "fail" for each in self.budgets or ())
        )


@dataclass(frozen=True)
class BenchOfDevices(Jsonable):
    """What a bench of several devices found."""

    devices: tuple[BenchResult, ...]
    failed: tuple[str, ...]
    """Why a device has no result."""


AnyBench = BenchResult | BenchOfDevices
"""What `mobilekit bench --json` prints; the latter where several devices are asked for."""


def result_of(
    facts: DeviceFacts,
    engine: EngineFacts,
    artifacts: Sequence[Artifact],
    plan: Plan,
    outcome: Outcome,
    fixed_performance: bool | None = None,
) -> BenchResult:
    """Return what the rounds on one device say."""
    notes = (
        EMULATED if facts.emulated else None,
        outcome.note,
        *_copies(artifacts),
        *_interfaces(artifacts, outcome),
        *_screens(outcome),
    )
    return BenchResult(
        device=facts,
        engine=engine,
        settings=BenchSettings(**vars(plan.settings), rounds=plan.rounds, seed=plan.seed),
        results=tuple(_file_result(artifact, plan, outcome) for artifact in artifacts),
        comparisons=tuple(_comparisons(artifacts, outcome)),
        rounds=tuple(
            RoundResult(
                index=each.index,
                rejected=each.rejected,
                before=each.before,
                after=each.after,
                runs={one.name: each.runs[one.path] for one in artifacts if one.path in each.runs},
            )
            for each in outcome.rounds
        ),
        notes=tuple(note for note in notes if note),
        fixed_performance=fixed_performance,
        partial=str(outcome.lost).replace("\n", " ") if outcome.lost else None,
        runtime_faults=tuple(_runtime_faults(engine, artifacts, plan.settings)) or None,
    )


def _runtime_faults(engine: EngineFacts, artifacts: Sequence[Artifact], settings: RunSettings) -> Iterator[FileFault]:
    on_gpu = settings.delegate == "gpu"
    if engine.version is not None:
        for artifact in artifacts:
            for fault in _faults_in(artifact, engine.version, on_gpu):
                yield replace(fault, file=artifact.name)


def _faults_in(artifact: Artifact, version: str, on_gpu: bool) -> Sequence[FileFault]:
    """Return the faults; none of a file that cannot be read here, as the device has run it and its figures count."""
    try:
        return faults_in(artifact.path, version, without_delegates=False, on_gpu=on_gpu)
    except Exception:
        return ()


def _file_result(artifact: Artifact, plan: Plan, outcome: Outcome) -> FileResult:
    runs = outcome.figures(artifact.path)
    figures = tuple(run.latency_ms for run in runs if run.latency_ms is not None)
    memory = [run.memory_mb for run in runs if run.memory_mb is not None]
    why_not = outcome.refused.get(artifact.path) or (None if figures else outcome.note)
    accepted = why_not is None and bool(figures)
    return FileResult(
        file=artifact.name,
        path=printable(str(artifact.path)),
        sha256=artifact.sha256,
        precision=artifact.precision,
        size_mb=artifact.path.stat().st_size / 1e6,
        threads=plan.settings.threads,
        latency_ms=summarize(figures) if accepted else None,
        statistic=runs[0].statistic if runs else None,
        rounds=len(figures),
        raw_ms=figures,
        memory_mb=max(memory) if accepted and memory else None,
        delegates=runs[0].delegates if runs else (),
        accepted=accepted,
        why_not=why_not,
    )


def _copies(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """Say which files hold the same bytes as the first of their group, as these are not compared with it."""
    firsts: dict[str, Artifact] = {}
    for artifact in artifacts:
        first = firsts.setdefault(artifact.group, artifact)
        if artifact is not first and artifact.sha256 == first.sha256:
            yield f"{artifact.name} holds the same bytes as {first.name}: there is nothing to compare."


def _interfaces(artifacts: Sequence[Artifact], outcome: Outcome) -> Iterator[str]:
    """Say where files ran through different interfaces of one GPU, which may differ by several times."""
    through: dict[str, list[str]] = {}
    for artifact in artifacts:
        for run in outcome.figures(artifact.path)[:1]:
            if run.gpu_interface:
                through.setdefault(run.gpu_interface, []).append(artifact.name)
    if len(through) > 1:
        said = ", ".join(f"{' and '.join(names)} through {interface}" for interface, names in through.items())
        yield f"The GPU ran {said}: a difference may be the interface's, and not the files'."


def _screens(outcome: Outcome) -> Iterator[str]:
    """Say that the screen was off, as a phone may then keep programs on its slow cores."""
    rounds = outcome.accepted
    dark = sum("off" in (each.before.screen, each.after.screen) for each in rounds)
    if dark:
        yield f"The screen was off in {dark} of {len(rounds)} rounds; some phones slow programs then. Keep it on."


def _comparisons(artifacts: Sequence[Artifact], outcome: Outcome) -> Iterator[FileComparison]:
    """Compare each file with the first of its group that was accepted, by the rounds in which both ran.

    A file that holds the same bytes as the first is no second file: there is nothing to compare.
    """
    for group in dict.fromkeys(artifact.group for artifact in artifacts):
        accepted = [
            artifact
            for artifact in artifacts
            if artifact.group == group and artifact.path not in outcome.refused and outcome.figures(artifact.path)
        ]
        for artifact in accepted[1:]:
            first = accepted[0]
            pairs = outcome.pairs(first.path, artifact.path)
            if pairs and artifact.sha256 != first.sha256:
                comparison = compare([a for a, _ in pairs], [b for _, b in pairs])
                yield FileComparison(artifact.name, first.name, **vars(comparison))
