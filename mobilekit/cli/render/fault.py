"""A bisection on the terminal."""

from __future__ import annotations

from mobilekit.cli.render.format import figure
from mobilekit.parity.bisect.result import BisectionReport, FaultReport


def fault_lines(report: BisectionReport) -> list[str]:
    """Return a bisection in lines."""
    aligned = f"{report.tensors_aligned} of {report.tensors} tensors follow the reference."
    if not report.faults:
        return [aligned, report.message]
    first = report.faults[0]
    lines = [
        f"At fault: {' and '.join(first.modules)}",
        f"  in the candidate: {first.in_candidate}, which makes {first.output}",
        f"  {_error(first, first.relative_l2)} on the values before it; rounding explains {_figure(first.limit)}",
    ]
    if first.alone:
        lines.append(f"  cut out, on the reference's values: {_error(first, first.alone.relative_l2)}")
    lines += [f"  {report.message}"] if report.message else []
    lines += [f"Also: {' and '.join(one.modules)} ({one.in_candidate})" for one in report.faults[1:]]
    lines.append(aligned)
    if report.folder:
        lines += [
            f"{report.folder} is written: {', '.join(report.files)}",
            f"See it with: python {report.folder}/reproduce.py",
        ]
    return lines


def _error(fault: FaultReport, value: float) -> str:
    return f"{'share of labels that differ' if fault.counts_labels else 'relative L2'} {_figure(value)}"


def _figure(value: float) -> str:
    return figure(value, ".2g", "without bound")
