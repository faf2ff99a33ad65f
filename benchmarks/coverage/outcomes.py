"""What became of a conversion, told from how it ended, what it said, and what its files compute."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.coverage.ways import Way
from benchmarks.processes import Cost

Row = dict[str, Any]
OUTCOMES = {
    "right": "the file is right, and the tool ended well",
    "doubted": "the file is right, and the tool says that it is not",
    "refused": "no right file, and a message that says so: of mobilekit with exit code 2 or 4, what to do with it",
    "failed": "a wrong file or none, and the tool says so",
    "wrong": "a wrong file, and not a word",
    "crashed": "a traceback, or a process that died",
    "too slow": "stopped at the limit of processor time",
}
_TRACEBACK = "Traceback (most recent call last)"
_REFUSALS = (2, 4)
_STAGES = {"onnx": "onnx-simplified", "float32": "tflite-float32", "int8": "tflite-int8"}
_WIDTH = 220
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
FOLDERS = re.compile(r"(?:/[\w.+-]+)+/(?=[\w.+-])")
"""Of absolute paths, which differ from machine to machine."""


def outcomes(
    way: Way, cost: Cost, said: str, judged: Mapping[str, Any], before: Collection[str], limit: float
) -> dict[str, Row]:
    """Return outcome, figure and reason for each format of a way.

    Args:
        way: The way.
        cost: Of the last of its commands.
        said: All that they printed.
        judged: What `judge` found of the files that are there.
        before: The formats that were there before a command failed, or of which it says that they are well.
        limit: Seconds of processor time.
    """
    well = replace(cost, code=0, is_over=False)
    return {
        precision: _outcome(way, well if precision in before else cost, said, judged.get(precision), limit)
        for precision in way.files
    }


def passed(ledger: Mapping[str, Any]) -> set[str]:
    """Return the formats of which a ledger of mobilekit says that they are within their limits."""
    verdicts: dict[str, set[str]] = {}
    for stage in ledger["stages"]:
        verdicts.setdefault(stage["stage"], set()).add(stage["verdict"])
    return {precision for precision, stage in _STAGES.items() if "fail" not in verdicts.get(stage, {"fail"})}


def _outcome(way: Way, cost: Cost, said: str, judged: dict[str, Any] | None, limit: float) -> Row:
    figures = {name: value for name, value in (judged or {}).items() if name in ("error", "cosine")}
    is_right = judged is not None and judged["right"]
    if cost.is_over:
        return {"outcome": "too slow", "reason": f"more than {limit:.0f} s of processor time", **figures}
    if cost.code == 0 and is_right:
        return {"outcome": "right", "reason": "", **figures}
    if cost.code == 0:
        return {"outcome": "wrong", "reason": _of_file(judged), **figures}
    reason = "; ".join([last_words(said, cost.code), *([_of_file(judged)] if figures and not is_right else [])])
    return {"outcome": _of_failure(way, cost.code, said, is_right), "reason": reason, **figures}


def _of_failure(way: Way, code: int, said: str, is_right: bool) -> str:
    if code < 0 or _TRACEBACK in said:
        return "crashed"
    if is_right:
        return "doubted"
    return "failed" if way.is_ours and code not in _REFUSALS else "refused"


def _of_file(judged: dict[str, Any] | None) -> str:
    if judged is None:
        return "ends well and leaves no file"
    if "cosine" in judged:
        return f"cosine {judged['cosine']:.3f}"
    if "error" in judged:
        return f"off by {judged['error']:.1e} of the largest output"
    return str(judged["why_not"])


def last_words(said: str, code: int) -> str:
    """Return the line that says why a command failed."""
    lines = [FOLDERS.sub("", _COLORS.sub("", line)).strip() for line in said.splitlines()]
    lines = [line for line in lines if line]
    told = [line for line in lines if re.match(r"(?i)(error|fail)", line)] or [
        line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)\b", line)
    ]
    end = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{end}: {(told or lines or ['nothing said'])[-1][:_WIDTH]}"
