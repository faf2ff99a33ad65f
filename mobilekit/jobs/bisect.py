"""The job of `mobilekit diff --bisect`: find the fault, cut it out, and write it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilekit.artifacts.runtime import is_label
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.compare import Pair, find_faults
from mobilekit.parity.bisect.bisect import MOST_FAULTS, Fault, Findings
from mobilekit.parity.bisect.regions import Islands
from mobilekit.parity.bisect.reproduction import Reproduction, reproduce, write_reproduction
from mobilekit.parity.bisect.result import BisectionReport, ErrorAlone, FaultReport
from mobilekit.parity.bisect.tolerance import FEWEST_STEPS
from mobilekit.store.files import whole_folder
from mobilekit.store.versions import tool_versions

Progress = Callable[[str], None]
_INT8_STEPS = 255

_NOTHING = (
    "Every op gives what the reference gives on the same values, within what its number format rounds: the error adds "
    "up over all of them, or XNNPACK's delegate makes it, which does not run op by op. No part of the file is at fault."
)
_MANY = "More may be wrong than was looked for: has the candidate the reference's weights?"
_ELSEWHERE = (
    "On right inputs the ops that were cut out are right by themselves, so the fault needs the values that the whole "
    "file has before them: nothing is written."
)


@dataclass(frozen=True)
class Bisection:
    """What was found, and the folder that shows it."""

    pair: Pair
    islands: Islands
    findings: Findings
    local: tuple[Reproduction, ...]
    """The faults that show by themselves, on right inputs. Others come of the wrong values that these make: an integer
    range, say, does not hold them."""
    refusal: str = ""
    """Why a fault could not be cut out."""
    folder: Path | None = None
    """Where the first was written."""

    def report(self) -> BisectionReport:
        """Return what to show of it."""
        faults = [self._fault(cut.fault, cut) for cut in self.local]
        faults = faults or [self._fault(fault) for fault in self.findings.faults]
        first: dict[str, Any] = vars(faults[0]) if faults else {"modules": ()}
        return BisectionReport(
            **first,
            faults=tuple(faults),
            tensors_aligned=self.findings.known,
            tensors=self.findings.of,
            message=self.message,
            folder=str(self.folder) if self.folder else None,
            files=tuple(sorted(path.name for path in self.folder.iterdir())) if self.folder else (),
        )

    @property
    def message(self) -> str:
        """What to say where nothing was written; else what more there is to say of the fault."""
        if not self.findings.faults:
            return _NOTHING
        if not self.local:
            return self.refusal or _ELSEWHERE
        many = [_MANY] if len(self.findings.faults) == MOST_FAULTS else []
        return " ".join([*explain(self.islands, self.local[0]), *many])

    def _fault(self, fault: Fault, cut: Reproduction | None = None) -> FaultReport:
        seen = self.islands.candidate
        return FaultReport(
            modules=tuple(fault.modules),
            steps=tuple(fault.steps),
            ops=tuple(seen.ops[place].kind for place in fault.island.ops),
            inputs=tuple(seen.name(tensor) for tensor in fault.island.borders),
            output=seen.name(fault.tensor),
            relative_l2=fault.error,
            limit=fault.limit,
            alone=ErrorAlone(cut.error, cut.limit) if cut else None,
            certain=fault.is_anchored,
            counts_labels=is_label(seen.values[fault.tensor]),
            missing=fault.is_missing,
        )


def bisect_to(folder: Path, pair: Pair, progress: Progress = lambda _message: None) -> Bisection:
    """Find where a candidate departs from its reference, and write the first fault that shows by itself to a folder.

    Args:
        folder: The folder to make; it appears whole or not at all, and not where no fault is found.
        pair: Reference and candidate.
        progress: Is told what goes on.

    Raises:
        UsageError: The folder exists and is not empty.
        ToolError: The candidate cannot be run op by op.
    """
    check_free(folder)
    islands, findings = find_faults(pair, progress)
    progress("cutting out the fault")
    local, refusal = [], ""
    for fault in findings.faults:
        try:
            cut = reproduce(islands, fault, pair.path)
        except ToolError as error:
            refusal = refusal or error.what
            continue
        if cut.is_local:
            local.append(cut)
    found = Bisection(pair, islands, findings, tuple(local), refusal)
    if not local:
        return found
    if folder.exists():
        folder.rmdir()
    with whole_folder(folder) as scratch:
        write_reproduction(scratch, local[0], _title(pair, local[0].fault), _text(found))
    return replace(found, folder=folder)


def check_free(folder: Path) -> None:
    """Check that a folder can be made.

    Raises:
        UsageError: Something is there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; it is kept.", "Give --bisect another folder.")


def explain(islands: Islands, shown: Reproduction) -> list[str]:
    """Return what else is known of a fault: where it shows, and what an integer tensor's range has to do with it."""
    fault, said = shown.fault, []
    step = islands.candidate.steps.get(fault.tensor)
    if step and shown.expected.shape == shown.got.shape:
        span = max(float(shown.expected.max()), 0.0) - min(float(shown.expected.min()), 0.0)
        if span > _INT8_STEPS * step:
            said.append(f"Its integers span {_INT8_STEPS * step:.3g}, and the values that it should hold {span:.3g}.")
        elif span < FEWEST_STEPS * step:
            said.append(f"Its steps are {step:.3g}, and the values that it should hold span {span:.3g}.")
    if not fault.is_anchored:
        said.append("Nothing after it agrees with the reference again, so the fault may reach further.")
    if shown.without_delegate:
        said.append("It shows in LiteRT's own kernels, and not with the XNNPACK delegate.")
    return said


def _title(pair: Pair, fault: Fault) -> str:
    what = " and ".join(fault.modules).replace('"', "'").replace("\\", "/")
    return f"{what} of {pair.name} is something else in {pair.path.name}.".replace('"', "'").replace("\\", "/")


def _text(found: Bisection) -> str:
    """Return the description for a bug report."""
    pair, shown, seen = found.pair, found.local[0], found.islands.candidate
    fault = shown.fault
    measure = "share of labels that differ" if is_label(shown.expected) else "relative L2 error"
    shapes = " and ".join("x".join(map(str, array.shape)) for array in shown.inputs)
    runtime = "ONNX Runtime, its graph optimization off," if shown.file.endswith(".onnx") else "LiteRT"
    lines = [
        f"# {_title(pair, fault)}",
        "",
        f"`python reproduce.py` shows it with {runtime} alone, and ends with exit code 1 while the fault is there.",
        "",
        f"- at fault in the reference: {', '.join(f'`{one}`' for one in fault.modules)} "
        f"(steps {', '.join(f'`{step}`' for step in fault.steps)})",
        f"- in the candidate: {found._fault(fault).in_candidate}, which makes `{seen.name(fault.tensor)}`",
        f"- {shown.file} holds these ops alone; it takes {shapes} (inputs.npz, the reference's own values there) and "
        f"should give expected.npy, {'x'.join(map(str, shown.expected.shape))}",
        f"- {measure} {shown.error:.3g}; rounding in {pair.precision} explains {shown.limit:.3g}",
        f"- {found.findings.known} of {found.findings.of} tensors of {pair.path.name} follow the reference",
    ]
    others = ["; ".join(cut.fault.modules) for cut in found.local[1:]]
    lines += [f"- more faults, not shown here: {', '.join(others)}"] if others else []
    lines += [f"- {said}" for said in explain(found.islands, shown)]
    lines.append(f"- versions: {', '.join(f'{name} {version}' for name, version in tool_versions().items())}")
    return "\n".join(lines) + "\n"
