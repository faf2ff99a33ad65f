"""Known faults of runtimes that touch a file, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.artifacts.analysis.runtime_faults import FileFault
from mobilekit.cli.render.format import count


def runtime_fault_lines(faults: Sequence[FileFault]) -> list[str]:
    """Return two lines for each fault: the runtime and the ops with what is wrong, and what to do."""
    return [line for each in faults for line in (f"{_place(each)}: {each.text}.", f"  {each.advice}.")]


def _place(fault: FileFault) -> str:
    ops = f"{count(fault.ops, fault.op)} ({fault.form}), first {fault.first}"
    whose = f"{fault.runtime} {fault.version}" if fault.version else f"{fault.runtime}{fault.versions}"
    return f"known fault of {whose}{' on a GPU' if fault.on_gpu else ''} in {fault.file}: {ops}"
