"""From what the steps of a cell found to its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mobilekit.bench.statistics import CONFIDENCE
from mobilekit.errors import MobilekitError
from mobilekit.store.bundle import Bundle, open_bundle
from mobilekit.store.stages import FORM_STAGES, Form, Stage
from mobilekit.sweep.cell import BENCH, DIFF, EXPORT, INSPECT, Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.steps import Ended

_METRICS = ("max_abs", "relative_l2", "cosine", "top1_agreement", "top1")


def rows_of(cell: Cell, folder: SweepFolder, last: Ended) -> list[dict[str, Any]]:
    """Return the rows of a cell that ended, one for each file that it was to make.

    Args:
        cell: The cell.
        folder: Its sweep's, with what its steps found.
        last: How its last step ended, or the step that failed.
    """
    done = {step: found for step in cell.steps if (found := folder.place_of(cell, step).read()) is not None}
    bundle = _bundle(cell, folder)
    ledger: dict[str, Any] = {}
    if bundle is not None:
        ledger = done[DIFF]["found"] if DIFF in done else bundle.ledger
    shared = {**_asked(cell, folder, bundle), **_ended(done, last)}
    return [{**shared, **_row_of_file(form, done, bundle, ledger, shared)} for form in cell.precisions]


def without_result(cell: Cell, folder: SweepFolder) -> Ended | None:
    """Return how a cell failed whose steps ended well, where what one of them found is not there all the same.

    Args:
        cell: The cell, with its bundle brought here.
        folder: Its sweep's.

    Returns:
        The first such step; None where all is there.
    """
    step = next((each for each in cell.steps if folder.place_of(cell, each).read() is None), None)
    if step is not None:
        why = "it ended, and what it found is not in the sweep's folder"
    elif _bundle(cell, folder) is None:
        step, why = EXPORT, "it ended, and its bundle is not in the sweep's folder, or is damaged"
    else:
        return None
    hint = "Run it with --resume --failed, with a folder or a --store that all workers see."
    return Ended(step, why, hint)


def _bundle(cell: Cell, folder: SweepFolder) -> Bundle | None:
    try:
        return open_bundle(folder.bundle_of(cell))
    except MobilekitError:
        return None


def _asked(cell: Cell, folder: SweepFolder, bundle: Bundle | None) -> dict[str, Any]:
    """Return what of a row was asked for."""
    place = folder.bundle_of(cell).relative_to(folder.path)
    return {
        "cell": cell.key,
        "model": cell.model,
        "model_options": json.dumps(cell.model_options, sort_keys=True),
        "input_size": _sides(cell, bundle),
        "recipe": cell.recipe,
        "device": cell.device,
        "threads": cell.threads,
        "bundle": place.as_posix() if bundle else None,
        "trained": bundle.manifest["model"]["weights"].get("trained") if bundle else None,
    }


def _sides(cell: Cell, bundle: Bundle | None) -> str | None:
    """Return the size of the pictures: the recipe's, where the sweep does not say it, is in the bundle."""
    size = cell.input_size
    if size is None and bundle is not None:
        size = bundle.manifest["recipe"]["content"]["input"]["size"]
    if size is None:
        return None
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return f"{height}x{width}"


def _ended(done: Mapping[str, Any], last: Ended) -> dict[str, Any]:
    """Return how a cell ended, and what its steps took."""
    seconds = {name: 0.0 for step in done for name in [step.partition(":")[0]]}
    for step, found in done.items():
        seconds[step.partition(":")[0]] += found["seconds"]
    failed = last.why_not is not None
    return {
        "status": "failed" if failed else "ok",
        "failed_step": last.step if failed else None,
        "reason": last.why_not,
        "hint": last.hint or None,
        "host": next((found["host"] for found in reversed([*done.values()])), None),
        **{f"{step}_seconds": seconds.get(step) for step in (EXPORT, DIFF, INSPECT, BENCH)},
        "ended": datetime.now(UTC),
    }


def _row_of_file(
    form: Form, done: Mapping[str, Any], bundle: Bundle | None, ledger: Mapping[str, Any], shared: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is known of one file."""
    stage = FORM_STAGES[form]
    row: dict[str, Any] = {"precision": form}
    if bundle is None or stage.file not in bundle.manifest["files"]:
        why = next((each for each in bundle.failed_stages if each.stage is stage), None) if bundle else None
        if why is not None:
            row |= {"status": "failed", "failed_step": EXPORT, "reason": why.reason, "hint": why.advice or None}
        elif shared["status"] == "ok":
            row |= {"status": "failed", "failed_step": EXPORT, "reason": "the bundle has no such file"}
        return row
    row |= {"file": stage.file, "sha256": bundle.manifest["files"][stage.file]}
    row |= {"size_bytes": (bundle.path / stage.file).stat().st_size}
    row |= _parity(stage, ledger)
    row["targets"] = [json.dumps(answer) for answer in _answers(stage, done)]
    if BENCH in done:
        row |= _latency(stage, done[BENCH]["found"], shared)
    return row


def _parity(stage: Stage, ledger: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a stage is from the reference, by the worst of its outputs, and whether it keeps its limits."""
    rows = [row for row in ledger.get("stages", ()) if row["stage"] == stage]
    whole = [row for row in rows if row["against"] == Stage.REFERENCE]
    if not whole:
        return {}
    worst = max(whole, key=lambda row: row["relative_l2"] if row["relative_l2"] is not None else float("inf"))
    verdicts = {row["verdict"] for row in rows} | _gates(stage, ledger)
    parity = next((verdict for verdict in ("fail", "inconclusive") if verdict in verdicts), "pass")
    artifact = ledger.get("artifacts", {}).get(stage.file, {})
    return {"parity": parity, "partitions": artifact.get("partitions"), **{name: worst.get(name) for name in _METRICS}}


def _gates(stage: Stage, ledger: Mapping[str, Any]) -> set[str]:
    return {gate["verdict"] for gate in ledger.get("gates", ()) if gate["artifact"] == stage.file}


def _answers(stage: Stage, done: Mapping[str, Any]) -> Iterator[Any]:
    for step, found in done.items():
        if step.startswith(f"{INSPECT}:"):
            yield from (answer for answer in found["found"]["answers"] if answer["file"] == stage.file)


def _latency(stage: Stage, found: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bench found of one file."""
    bench, baseline = found["bench"], found["baseline"]
    result = next((each for each in bench["results"] if each["file"].rpartition("/")[2] == stage.file), None)
    if result is None:  # as of an ONNX file, which benchmark_model does not run
        if stage.file_format != "tflite" or shared["status"] != "ok":
            return {}
        reason = bench.get("partial") or "the bench has no such file"
        return {"status": "failed", "failed_step": BENCH, "reason": reason}
    entries: Sequence[Any] = [each for each in baseline["entries"] if each["file"] == result["file"]]
    latency, engine = result["latency_ms"] or {}, bench["engine"]
    has_interval = bool(latency) and latency["confidence"] >= CONFIDENCE
    why_not = None if result["accepted"] else result["why_not"] or "no round counts"
    why_not = why_not or bench.get("partial")
    refused = {}
    if shared["status"] == "ok" and why_not:
        refused = {"status": "failed", "failed_step": BENCH, "reason": why_not, "hint": None}
    return {
        "latency_ms": latency.get("median"),
        "latency_low_ms": latency["low"] if has_interval else None,
        "latency_high_ms": latency["high"] if has_interval else None,
        "raw_ms": result["raw_ms"],
        "statistic": result["statistic"],
        "memory_mb": result["memory_mb"],
        "delegates": result["delegates"],
        "rounds": json.dumps([_round_of(each, result["file"]) for each in bench["rounds"]]),
        "baseline": json.dumps({**baseline, "entries": entries}) if entries else None,
        "device_model": bench["device"]["model"],
        "engine": " ".join(filter(None, [engine["name"], engine["version"]])),
        **refused,
    }


def _round_of(each: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return one round with the run of one file."""
    return {**each, "runs": {name: run for name, run in each["runs"].items() if name == file}}
