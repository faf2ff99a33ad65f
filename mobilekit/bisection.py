"""The job of `mobilekit diff --bisect`: find the fault, cut it out, and write it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekit.candidate import Pair, find_faults
from mobilekit.errors import UsageError
from mobilekit.files import whole_folder
from mobilekit.parity.bisect import Fault, Findings
from mobilekit.parity.islands import Islands
from mobilekit.parity.metrics import plain_figures
from mobilekit.parity.yardstick import FEWEST_STEPS
from mobilekit.reproduction import Reproduction, reproduce, write_reproduction
from mobilekit.versions import tool_versions

Progress = Callable[[str], None]
_INT8_STEPS = 255

_NOTHING = (
    "Every op gives what the reference gives on the same values, within what its number format rounds: the error adds "
    "up over all of them, and no part of the file is at fault. If it is too large, the format is."
)
_ELSEWHERE = (
    "On right inputs the ops that were cut out are right by themselves, so the fault needs the values of the whole file: "
    "nothing is written."
)


@dataclass(frozen=True)
class Bisection:
    """What was found, and the folder that shows it."""

    pair: Pair
    islands: Islands
    findings: Findings
    shown: Reproduction | None
    """The first fault that shows by itself."""
    folder: Path | None
    """Where it was written."""

    def to_json(self) -> dict[str, Any]:
        """Return the bisection as JSON data; `modules` are those at fault, in the order in which they run."""
        faults = [self._fault_json(fault) for fault in self.findings.faults]
        first = self._fault_json(self.shown.fault) if self.shown else (faults[0] if faults else {"modules": []})
        alone = {"relative_l2": self.shown.error, "limit": self.shown.limit} if self.shown else None
        return {
            **first,
            "alone": alone and plain_figures(alone),
            "folder": str(self.folder) if self.folder else None,
            "files": sorted(path.name for path in self.folder.iterdir()) if self.folder else [],
            "faults": faults,
            "tensors_aligned": self.findings.known,
            "tensors": self.findings.of,
            "message": self.message,
        }

    @property
    def message(self) -> str:
        """What to say where nothing was written; else what more there is to say of the fault."""
        if not self.findings.faults:
            return _NOTHING
        return explain(self.islands, self.shown) if self.shown else _ELSEWHERE

    def _fault_json(self, fault: Fault) -> dict[str, Any]:
        seen = self.islands.candidate
        figures = plain_figures({"relative_l2": fault.error, "limit": fault.limit})
        return {
            "modules": list(fault.modules),
            "steps": list(fault.steps),
            "ops": [seen.ops[place].kind for place in fault.island.ops],
            "inputs": [seen.name(tensor) for tensor in fault.island.borders],
            "output": seen.name(fault.tensor),
            **figures,
            "certain": fault.is_anchored,
        }


def bisect_to(folder: Path, pair: Pair, progress: Progress = lambda _message: None) -> Bisection:
    """Find where a candidate departs from its reference, and write the first fault that shows by itself to a folder.

    Args:
        folder: The folder to make; it appears whole or not at all, and not where no fault is found.
        pair: Reference and candidate.
        progress: Is told what goes on.

    Raises:
        UsageError: The folder exists and is not empty.
        ToolError: The candidate cannot be run op by op, or a part of it not by itself.
    """
    check_free(folder)
    islands, findings = find_faults(pair, progress)
    progress("cutting out the fault")
    cuts = (reproduce(islands, fault, pair.path) for fault in findings.faults)
    shown = next((cut for cut in cuts if cut.is_local), None)
    if shown is None:
        return Bisection(pair, islands, findings, None, None)
    if folder.exists():
        folder.rmdir()
    with whole_folder(folder) as scratch:
        write_reproduction(scratch, shown, _title(pair, shown.fault), _text(pair, islands, findings, shown))
    return Bisection(pair, islands, findings, shown, folder)


def check_free(folder: Path) -> None:
    """Check that a folder can be made.

    Raises:
        UsageError: Something is there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; it is kept.", "Give --bisect another folder.")


def explain(islands: Islands, shown: Reproduction) -> str:
    """Return what else is known of a fault: where it shows, and what an integer tensor's range has to do with it."""
    fault, said = shown.fault, []
    step = islands.candidate.steps.get(fault.tensor)
    if step and shown.expected.shape == shown.got.shape:
        span = float(max(shown.expected.max(), 0) - min(shown.expected.min(), 0))
        if span > _INT8_STEPS * step:
            said.append(f"Its integers span {_INT8_STEPS * step:.3g}, and the values that it should hold {span:.3g}.")
        elif span < FEWEST_STEPS * step:
            said.append(f"Its steps are {step:.3g}, and the values that it should hold span {span:.3g}.")
    if not fault.is_anchored:
        said.append("Nothing after it agrees with the reference again, so the fault may reach further.")
    if shown.without_delegate:
        said.append("It shows in LiteRT's own kernels, and not with the XNNPACK delegate.")
    return " ".join(said)


def _title(pair: Pair, fault: Fault) -> str:
    what = " and ".join(fault.modules).replace('"', "'").replace("\\", "/")
    return f"{what} of {pair.name} is something else in {pair.path.name}.".replace('"', "'").replace("\\", "/")


def _text(pair: Pair, islands: Islands, findings: Findings, shown: Reproduction) -> str:
    """Return the description for a bug report."""
    fault, seen = shown.fault, islands.candidate
    ops = ", ".join(seen.ops[place].kind for place in fault.island.ops)
    shapes = " and ".join("x".join(map(str, array.shape)) for array in shown.inputs)
    others = [other for other in findings.faults if other is not fault]
    lines = [
        f"# {_title(pair, fault)}",
        "",
        f"`python reproduce.py` shows it with {'ONNX Runtime' if shown.file.endswith('.onnx') else 'LiteRT'} alone, and "
        "ends with exit code 1 while the fault is there.",
        "",
        f"- at fault in the reference: {', '.join(f'`{one}`' for one in fault.modules)} "
        f"(steps {', '.join(f'`{step}`' for step in fault.steps)})",
        f"- in the candidate: {ops}, which makes `{seen.name(fault.tensor)}`",
        f"- {shown.file} holds these ops alone; it takes {shapes} (inputs.npz, the reference's own values there) and "
        f"should give expected.npy, {'x'.join(map(str, shown.expected.shape))}",
        f"- relative L2 error {shown.error:.3g}; rounding in {pair.precision} explains {shown.limit:.3g}",
        f"- {findings.known} of {findings.of} tensors of {pair.path.name} follow the reference",
    ]
    if others:
        lines.append(f"- more faults: {'; '.join(' and '.join(one.modules) for one in others)}")
    more = explain(islands, shown)
    lines += [f"- {more}"] if more else []
    lines.append(f"- versions: {', '.join(f'{name} {version}' for name, version in tool_versions().items())}")
    return "\n".join(lines) + "\n"
