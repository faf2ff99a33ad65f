"""The table of all ways and networks, as Markdown."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.converters.networks import MODELS, TRAINED
from benchmarks.export_cost import processor
from benchmarks.processes import PYTHON, versions

Row = Mapping[str, Any]
KINDS = {
    "keras": "onnx2tf's graph in Keras, TensorFlow's converter and its quantizer: an export's, of onnx2tf 1",
    "direct-litert": "onnx2tf's direct writer, our float16, and litert-quantizer for dynamic and int8: no TensorFlow",
    "direct-tensorflow": "the same writer, our float16 and dynamic, TensorFlow's quantizer for int8: an export's",
}
_WRONG = 1e-4
"""Relative L2 of float32 above which a file is another function: rounding makes about 1e-6."""
_TOOLS = (PYTHON, "onnx2tf", "tensorflow", "tensorflow-cpu", "litert-quantizer", "ai-edge-litert", "onnx", "numpy")
FORMATS = ("float32", "float16", "dynamic", "int8")
_HEAD = "| network | way | float32 | float16 | dynamic | int8 cosine, class | partitions | ops | TRANSPOSEs | s | MB |"


def table(rows: Sequence[Row], ways: Mapping[str, tuple[str, str]], litert: str) -> str:
    """Return the document.

    Args:
        rows: One for each network and way.
        ways: The kind of each way and its Python, by its name.
        litert: The Python that opened the files.
    """
    known = {(row["model"], row["way"]): row for row in rows}
    lines = [_line(model, way, known[model, way]) for model in MODELS for way in ways if (model, way) in known]
    return "\n".join(
        [
            "# Ways of converting, compared",
            "",
            "One ONNX file of each network, rewritten by its recipe, converted in each way to all four formats:",
            "",
            *_legend(ways),
            "",
            "What the direct writer leaves is mended in its file, without a change of values but for rounding: changes",
            "of the order of axes that meet, activations behind them, tensors that nothing makes, products without",
            "bias, shapes that are said to be unknown, versions of ops, and constants that stand there twice. An",
            "export compares the file with ONNX Runtime by value, and goes by Keras where it is wrong, where there is",
            "none, or where the quantizer refuses it. Depthwise convolutions stay float32 in its dynamic files; an",
            "export makes those so in every way, and a and b here have TensorFlow Lite's.",
            "",
            "float32, float16 and dynamic are relative L2 to ONNX Runtime: float32 on two random inputs, the others on",
            "photos. int8 is made with the ranges of all calibration pictures in every way, and without what an export",
            "does beside (ranges chosen by trial, biases); TensorFlow's quantizer gets sums of two layers as one.",
            "Partitions are XNNPACK's, of float32, float16, dynamic and int8; 1 is mostly all of a file. Ops and",
            "TRANSPOSEs are float32's. Seconds are of processor time, children included; memory is the largest sum of",
            "resident sizes.",
            "",
            _HEAD,
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            "## Trained networks",
            "",
            *_trained(known, list(ways)),
            "",
            "## Cost",
            "",
            *_costs(known, list(ways)),
            "",
            *_unmeasured(known),
            f"By `python -m benchmarks.converters` on {datetime.date.today()}: {processor()}, {os.cpu_count()} cores;",
            f"files opened by LiteRT {versions(litert, _TOOLS)['ai-edge-litert']}.",
            "",
        ]
    )


def _unmeasured(known: Mapping[tuple[str, str], Row]) -> list[str]:
    """Say which networks have no row."""
    missing = [model for model in MODELS if not any(each == model for each, _way in known)]
    return [f"Not measured: {', '.join(missing)}.", ""] if missing else []


def _legend(ways: Mapping[str, tuple[str, str]]) -> list[str]:
    lines = []
    for way, (kind, python) in ways.items():
        known = ", ".join(f"{name} {version}" for name, version in versions(python, _TOOLS).items())
        lines.append(f"- **{way}**: {KINDS[kind]}. {known}.")
    return lines


def _line(model: str, way: str, row: Row) -> str:
    files = {name: row["files"].get(name, {}) for name in FORMATS}
    partitions = " ".join(str(one.get("partitions", "-")) for one in files.values())
    float32, int8 = files["float32"], files["int8"]
    cells = [
        _l2(float32, "random"),
        _l2(files["float16"], "photos"),
        _l2(files["dynamic"], "photos"),
        _int8(int8),
        partitions,
        str(float32.get("ops", "-")),
        str(float32.get("transposes", "-")),
        f"{row['cpu']:.1f}",
        f"{row['mb']:.0f}",
    ]
    return f"| {model} | {way} | {' | '.join(cells)} |"


def _l2(file: Row, inputs: str) -> str:
    return f"{file[inputs]['l2']:.1e}" if inputs in file else "**none**"


def _int8(file: Row) -> str:
    if "photos" not in file:
        return "**none**"
    photos = file["photos"]
    agreeing = sum(photos["same_class"])
    return f"{statistics.mean(photos['cosines']):.4f}, {agreeing} of {len(photos['same_class'])}"


def _trained(known: Mapping[tuple[str, str], Row], ways: Sequence[str]) -> list[str]:
    """Return each way's int8 beside the first's, on the same photos: differences with their standard errors."""
    lines = ["| network | way | cosine | difference | same class, % | difference |", "|---|---|---|---|---|---|"]
    for model in TRAINED:
        photos = {
            way: known[model, way]["files"]["int8"]["photos"]
            for way in ways
            if "photos" in known.get((model, way), {"files": {}})["files"].get("int8", {})
        }
        first = next(iter(photos), None)
        for way, one in photos.items():
            assert first is not None
            cosines = [a - b for a, b in zip(one["cosines"], photos[first]["cosines"], strict=True)]
            classes = [100 * (a - b) for a, b in zip(one["same_class"], photos[first]["same_class"], strict=True)]
            lines.append(
                f"| {model} | {way} | {statistics.mean(one['cosines']):.4f} | {_difference(cosines, 5)} "
                f"| {100 * statistics.mean(one['same_class']):.1f} | {_difference(classes, 1)} |"
            )
    return lines


def _difference(values: Sequence[float], digits: int) -> str:
    """Return a mean with its standard error; nothing of what is compared with itself."""
    if not any(values):
        return "-"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.{digits}f} ± {error:.{digits}f}"


def _costs(known: Mapping[tuple[str, str], Row], ways: Sequence[str]) -> list[str]:
    lines = [
        "| way | right float32 | processor time of the first way's | memory of the first way's |",
        "|---|---|---|---|",
    ]
    for way in ways:
        pairs = [
            (known[model, way], known[model, ways[0]])
            for model in MODELS
            if (model, way) in known and (model, ways[0]) in known
        ]
        made = [known[model, way] for model in MODELS if (model, way) in known]
        right = sum(row["files"].get("float32", {}).get("random", {"l2": 1})["l2"] < _WRONG for row in made)
        shares = [statistics.median(a[what] / b[what] for a, b in pairs) if pairs else 1.0 for what in ("cpu", "mb")]
        lines.append(f"| {way} | {right} of {len(made)} | {shares[0]:.2f} | {shares[1]:.2f} |")
    return lines
