"""The tables of docs/consumers.md, made of the rows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.consumers.catalogue import CONSUMERS
from benchmarks.tables import markdown

Row = dict[str, Any]
FILES = {
    "model.onnx": "ONNX",
    "model.int8.onnx": "ONNX int8",
    "model.int16x8.onnx": "ONNX int16x8",
    "model.float32.tflite": "TFLite float32",
    "model.float16.tflite": "TFLite float16",
    "model.dynamic.tflite": "TFLite dynamic",
    "model.int8.tflite": "TFLite int8",
    "model.float32.pte": "ExecuTorch float32",
    "rewritten.pt2": "PyTorch program, rewritten",
    "reference.pt2": "PyTorch program, as it is",
}
OFF = 0.98
"""Of cosine: below it a file is of no use there, and stands in bold."""
_FOLDERS = re.compile(r"(?:[\w.+-]*/)+(?=[\w.+-])")


def document(rows: Sequence[Row]) -> str:
    """Return one table for each kind of file, and below them what refusals say."""
    models = sorted({row["model"] for row in rows})
    reasons: dict[str, int] = {}
    parts = [f"Measured {_span([row['date'] for row in rows])}."]
    for file, title in FILES.items():
        here = {(row["consumer"], row["model"]): row for row in rows if row["file"] == file}
        names = [each.name for each in CONSUMERS if any(consumer == each.name for consumer, _model in here)]
        cells = [[name, *(_cell(here.get((name, model)), reasons) for model in models)] for name in names]
        if cells:
            parts.append(f"### {title}\n\n{markdown([f'{title}: cosine, max abs', *models], cells)}")
    if reasons:
        parts.append("\n".join(f"- **{number}**: {reason}" for reason, number in reasons.items()))
    own = {(each.name, each.own.partition("==")[0]) for each in CONSUMERS}
    packages = {one for row in rows for one in row["packages"] if (row["consumer"], one.partition("==")[0]) in own}
    return "\n\n".join([*parts, f"Versions: {', '.join(sorted(packages, key=str.lower))}."])


def _cell(row: Row | None, reasons: dict[str, int]) -> str:
    """Return what a table says of a row; a reason gets a number of its own."""
    if row is None:
        return "-"
    if "refused" in row:
        reason = _FOLDERS.sub("", row["refused"]).replace("|", "/")
        return f"refused ({reasons.setdefault(reason, len(reasons) + 1)})"
    told = f"; {row['told']}" if "told" in row else ""
    if "cosine" not in row:
        return f"compiles{told}"
    if not math.isfinite(row["max_abs"]):
        return "**not finite**"
    figures = f"{row['cosine']:.6f}, {row['max_abs']:.1e}{told}"
    return figures if row["cosine"] >= OFF else f"**{figures}**"


def _span(dates: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys((min(dates), max(dates))))
