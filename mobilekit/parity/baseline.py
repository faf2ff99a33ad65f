"""A ledger kept from earlier, and whether any stage has become worse since."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, computed_field

from mobilekit.artifacts.analysis.compare import op_changes
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.result import ArtifactSummary, FormatError, Ledger, Row, Verdict
from mobilekit.store.result import Figure, Result
from mobilekit.store.stages import find_stage

FLOAT32_SPREAD = 4
"""How far float32 stages may be from one another, in units of one evaluation's distance from float64: two independent
evaluations are sqrt(2) apart, and kernels that add in longer chains have up to about 3 times the deviation: 4.2,
rounded down. (Limits on the largest output allow twice that; this is the L2 norm, which no single output decides.)"""
FLOAT32_ROUNDING = 2.0**-24
"""Relative rounding of an output itself, which a model as small as its own outputs has in any case."""

_AGAIN = "Give the ledger.json of an earlier bundle, or what `mobilekit diff BUNDLE --json` printed."

_Change = Literal["regressed", "improved", "same", "new", "missing"]


@dataclass(frozen=True)
class StageChange(Result):
    """How one comparison changed: the relative L2 then and now, and by how much it may grow."""

    stage: str
    against: str
    output: str
    verdict: _Change
    before: Figure | None
    now: Figure | None
    format_error: Annotated[Figure | None, Field(alias="noise")]
    """Of the stage's format, as the baseline measured it."""
    why: str

    @property
    def place(self) -> str:
        """Which comparison it is, in words."""
        return f"{self.stage} against {self.against} ({self.output})"


@dataclass(frozen=True)
class ArtifactChange(Result):
    """How one file changed."""

    file: str
    size_before: int | None
    size_now: int | None
    ops: Mapping[str, tuple[int, int]]
    """Count before and now, of each kind of op whose count changed."""


@dataclass(frozen=True)
class BaselineReport(Result):
    """All that changed between two ledgers."""

    stages: tuple[StageChange, ...]
    artifacts: tuple[ArtifactChange, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """`fail` if any stage regressed."""
        return "fail" if any(each.verdict == "regressed" for each in self.stages) else "pass"

    @property
    def changed(self) -> list[StageChange]:
        """The comparisons that changed by more than their noise."""
        return [each for each in self.stages if each.verdict != "same"]


def load_ledger(path: Path) -> Ledger:
    """Read a ledger that was kept.

    Raises:
        UsageError: There is none, or it is something else.
    """
    try:
        return Ledger.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"Cannot read the baseline {path}: {error.strerror}.", _AGAIN) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its top"
        raise UsageError(f"{path} is no ledger: {place}: {first['msg'].lower()}.", _AGAIN) from error
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError as well
        raise UsageError(f"{path} is no ledger: it is not JSON.", _AGAIN) from error


def against_baseline(now: Ledger, baseline: Ledger) -> BaselineReport:
    """Compare a ledger with one that was kept.

    A stage has regressed where its relative L2 grew by more than the error of its format. Two sound artifacts are two
    draws of the same rounding noise: the norms of their errors differ by less than the errors themselves, which have
    about the size of that noise. The noise is the baseline's, so that a model that became more sensitive shows too.

    Raises:
        UsageError: The two were measured on other inputs, or have nothing in common.
    """
    _check_inputs(now, baseline)
    old, new = ({(row.stage, row.against, row.output): row for row in each.rows} for each in (baseline, now))
    if not old.keys() & new.keys():
        raise UsageError("The baseline has no stage or output in common with this bundle: it is of another model.")
    places = [*new, *(place for place in old if place not in new)]
    stages = tuple(_stage_change(place, old.get(place), new.get(place), baseline.format_errors) for place in places)
    return BaselineReport(stages, tuple(_artifact_changes(baseline.artifacts, now.artifacts)))


def stage_error(stage: str, noise: FormatError) -> float:
    """Return the relative L2 of a stage's format, which its noise on one output tells."""
    least = FLOAT32_SPREAD * max(noise.float32_relative_l2, FLOAT32_ROUNDING)
    known = find_stage(stage)
    if known is None or known.precision == "float32":
        return least
    return max(noise.relative_l2(known.precision), least)


def _check_inputs(now: Ledger, before: Ledger) -> None:
    if now.inputs_sha256 and before.inputs_sha256:
        same = now.inputs_sha256 == before.inputs_sha256
    else:  # a ledger of an earlier version
        same = now.inputs == before.inputs
    if not same:
        old, new = before.inputs, now.inputs
        raise UsageError(
            f"The baseline was measured on other inputs: {old.count} of {old.real}, here {new.count} of {new.real}.",
            "Measure both on the same ones; --inputs chooses them.",
        )


def _stage_change(
    place: tuple[str, str, str], old: Row | None, new: Row | None, errors: Mapping[str, FormatError]
) -> StageChange:
    stage, _against, output = place
    noise = stage_error(stage, errors[output]) if output in errors else None
    before, now = old.relative_l2 if old else None, new.relative_l2 if new else None
    if old is None or new is None:
        verdict: _Change = "new" if old is None else "missing"
        why = "the baseline has no such stage" if old is None else "it is only there"
    else:
        verdict, why = _judge(old, new, noise)
    return StageChange(*place, verdict, before, now, noise, why)


def _judge(old: Row, new: Row, noise: float | None) -> tuple[_Change, str]:
    if old.finite and not new.finite:
        return "regressed", "some outputs are no longer finite numbers"
    if not old.finite:
        return ("improved", "all outputs are finite numbers now") if new.finite else ("same", "not finite, as before")
    growth = new.relative_l2 - old.relative_l2
    if noise is None or not math.isfinite(growth) or not math.isfinite(noise):
        return "same", "there is no figure to compare"
    if growth > noise:
        return "regressed", f"grew by {growth:.1e}, more than the error of its format, {noise:.1e}"
    if growth < -noise:
        return "improved", f"fell by {-growth:.1e}, more than the error of its format, {noise:.1e}"
    return "same", f"within the error of its format, {noise:.1e}"


def _artifact_changes(old: Mapping[str, ArtifactSummary], new: Mapping[str, ArtifactSummary]) -> list[ArtifactChange]:
    """Return the files whose size or ops changed; none for a baseline that does not know of files."""
    changes = []
    for file in sorted({*old, *new}) if old else ():
        before, now = old.get(file), new.get(file)
        ops = op_changes(before.ops if before else {}, now.ops if now else {})
        if before != now:
            sizes = (before.size_bytes if before else None, now.size_bytes if now else None)
            changes.append(ArtifactChange(file, *sizes, ops))
    return changes
