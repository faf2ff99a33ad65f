"""The tables, as Markdown: shares first, then everything that is not right, with its reason."""

from __future__ import annotations

import datetime
import os
import sys
from collections import Counter
from collections.abc import Sequence

from benchmarks.coverage.families import SMALL, TIMM
from benchmarks.coverage.judge import LARGEST_ERROR, LEAST_COSINE
from benchmarks.coverage.networks import GROUPS, MODELS
from benchmarks.coverage.outcomes import FOLDERS, OUTCOMES, Row
from benchmarks.coverage.ways import LITERT_TORCH, PACKAGES, WAYS, Way
from benchmarks.export_cost import processor
from benchmarks.processes import PYTHON, versions
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest

_FORMATS = {"onnx": "ONNX", "float32": "TFLite float32", "int8": "TFLite int8"}


def document(rows: Sequence[Row], litert_torch: str | None, limit: float) -> str:
    """Return the document.

    Args:
        rows: One for each network and way.
        litert_torch: The interpreter that has litert-torch, if it was named.
        limit: Seconds of processor time after which a conversion is stopped.
    """
    counts = Counter(GROUPS.values())
    groups = ", ".join(f"{count} of {group}" for group, count in counts.items())
    return "\n".join(
        [
            "# Which share of models comes out right",
            "",
            f"{len(MODELS)} architectures: {groups}. Of each module of",
            "timm the smallest one, and a second of those that hold several families, at",
            f"{SMALL} pixels or at the size that is theirs; some have fewer of their equal blocks. Weights are drawn",
            "so that no branch is zero. Judged by LiteRT and ONNX Runtime against PyTorch, by nothing of mobilekit's:",
            f"float32 and ONNX are right at {LARGEST_ERROR:g} of the largest output or less, on two random inputs,",
            f"int8 at a mean cosine of {LEAST_COSINE:g} or more, on eight pictures that were not calibrated on.",
            "",
            *(f"- **{outcome}**: {meaning}." for outcome, meaning in OUTCOMES.items()),
            "",
            f"A conversion is stopped after {limit:.0f} s of processor time. mobilekit is given the factory or the",
            "folder and `--input-size`, and nothing else; onnx2tf the ONNX file of `torch.onnx.export`, with its own",
            "defaults, for int8 `-oiqt` with 32 photos, through TensorFlow (`-tb tf_converter`), as its default writer",
            "makes no such files; litert-torch the module, for int8 ai-edge-quantizer with the",
            "same photos.",
            "",
            "## Shares",
            "",
            f"| way | format | networks | share right | files right | {' | '.join(OUTCOMES)} |",
            f"|---|---|---|---|---|{'---|' * len(OUTCOMES)}",
            *(line for way in WAYS for line in _shares(way, rows)),
            "",
            *_unmeasured(rows),
            *_beside(rows),
            "## mobilekit's right float32 files by where the networks are from",
            "",
            "| networks | right |",
            "|---|---|",
            *_by_group(rows),
            "",
            "## What is not right",
            "",
            *(line for way in WAYS for line in _not_right(way, rows)),
            *_footer(rows, litert_torch),
            "",
        ]
    )


def _shares(way: Way, rows: Sequence[Row]) -> list[str]:
    lines = []
    for precision in way.files:
        found = [row["outcomes"][precision]["outcome"] for row in rows if row["way"] == way.name]
        if found:
            right = found.count("right")  # and beside these, files that the tool itself doubts
            shares = [f"{100 * count / len(found):.1f} %" for count in (right, right + found.count("doubted"))]
            counts = " | ".join(str(found.count(outcome)) for outcome in OUTCOMES)
            lines.append(f"| {way.tool} | {_FORMATS[precision]} | {len(found)} | {' | '.join(shares)} | {counts} |")
    return lines


def _unmeasured(rows: Sequence[Row]) -> list[str]:
    """Say which networks have no row of mobilekit's float32; other ways have those of their counts."""
    known = {row["model"] for row in rows if row["way"] == WAYS[0].name}
    missing = [model for model in MODELS if model not in known]
    return [f"No row yet: {', '.join(missing)}; of other ways and int8, also of others.", ""] if missing else []


def _beside(rows: Sequence[Row]) -> list[str]:
    """Compare mobilekit with each peer on the networks that both have rows of."""
    outcomes = {
        (row["way"], precision, row["model"]): each["outcome"]
        for row in rows
        for precision, each in row["outcomes"].items()
    }
    ours = {precision: way for way in WAYS if way.is_ours for precision in way.files}
    lines = []
    for way in WAYS:
        for precision in () if way.is_ours else way.files:
            own = ours[precision].name
            both = [
                model for model in MODELS if {(own, precision, model), (way.name, precision, model)} <= outcomes.keys()
            ]
            right = [sum(outcomes[name, precision, model] == "right" for model in both) for name in (own, way.name)]
            if both:
                lines.append(f"| {_FORMATS[precision]} | {way.tool} | {len(both)} | {right[0]} | {right[1]} |")
    if not lines:
        return []
    head = "| format | beside | networks | mobilekit right | it right |"
    return ["On the networks that both were tried on:", "", head, "|---|---|---|---|---|", *lines, ""]


def _by_group(rows: Sequence[Row]) -> list[str]:
    lines = []
    for group in dict.fromkeys(GROUPS.values()):
        found = [
            row["outcomes"]["float32"]["outcome"]
            for row in rows
            if row["way"] == "mobilekit-float32" and GROUPS[row["model"]] == group
        ]
        lines.append(f"| {group} | {found.count('right')} of {len(found)} |")
    return lines


def _not_right(way: Way, rows: Sequence[Row]) -> list[str]:
    """Return the lines of one way; a file whose reason is that of the one before it shares its line."""
    lines = []
    for row in rows:
        reasons: dict[tuple[str, str], list[str]] = {}
        for precision, each in row["outcomes"].items() if row["way"] == way.name else ():
            if each["outcome"] != "right":
                reasons.setdefault((each["outcome"], each["reason"]), []).append(_FORMATS[precision])
        for (outcome, reason), formats in reasons.items():
            told = FOLDERS.sub("", reason).replace("|", "/").replace("<", "&lt;")
            lines.append(f"| {row['model']} | {', '.join(formats)} | {outcome} | {told} |")
    if not lines:
        return []
    return [
        f"### {way.tool}, {way.precision}",
        "",
        "| network | format | outcome | reason |",
        "|---|---|---|---|",
        *lines,
        "",
    ]


def _footer(rows: Sequence[Row], litert_torch: str | None) -> list[str]:
    own = versions(sys.executable, (PYTHON, *PACKAGES, "tensorflow", "tensorflow-cpu"))
    known = ", ".join(f"{name} {version}" for name, version in own.items())
    others = versions(litert_torch, (PYTHON, *PACKAGES, "ai-edge-quantizer")) if litert_torch else {}
    peer = ", ".join(f"{name} {version}" for name, version in others.items() if own.get(name) != version)
    current = source_digest(BUNDLE_ROOMS)
    ours = [row for row in rows if row["sources"]]
    older = sum(row["sources"] != current for row in ours)
    dates = sorted({row["date"] for row in rows})
    fewer = sum(bool(options) for _size, options in TIMM.values())
    return [
        f"{fewer} of timm's have options of their own here (`benchmarks/coverage/families.py`).",
        f"{older} of mobilekit's {len(ours)} rows are older than its sources of that day: `--again outdated` measures",
        "them anew.",
        "",
        f"By `python -m benchmarks.coverage`, rows from {dates[0] if dates else '-'} on, written on",
        f"{datetime.date.today()}: {processor()}, {os.cpu_count()} cores, one thread;",
        f"{known}." + (f" {LITERT_TORCH}'s own: {peer}." if peer else ""),
    ]
