"""A bisection on the terminal."""

from __future__ import annotations

from typing import Any


def fault_lines(bisection: dict[str, Any]) -> list[str]:
    """Return a bisection, as `Bisection.to_json` gives it, in lines."""
    aligned = f"{bisection['tensors_aligned']} of {bisection['tensors']} tensors follow the reference."
    if not bisection["faults"]:
        return [aligned, bisection["message"]]
    alone = bisection["alone"]
    lines = [
        f"At fault: {' and '.join(bisection['modules'])}",
        f"  in the candidate: {', '.join(bisection['ops'])}, which makes {bisection['output']}",
        f"  relative L2 {_figure(bisection['relative_l2'])} on the values before it; rounding explains "
        f"{_figure(bisection['limit'])}",
    ]
    if alone:
        lines.append(f"  cut out, on the reference's values: relative L2 {_figure(alone['relative_l2'])}")
    lines += [f"  {bisection['message']}"] if bisection["message"] else []
    lines += [f"Also: {' and '.join(one['modules'])} ({', '.join(one['ops'])})" for one in bisection["faults"][1:]]
    lines.append(aligned)
    if bisection["folder"]:
        folder = bisection["folder"]
        lines += [f"{folder} is written: {', '.join(bisection['files'])}", f"See it with: python {folder}/reproduce.py"]
    return lines


def _figure(value: float | None) -> str:
    return "without bound" if value is None else f"{value:.2g}"
