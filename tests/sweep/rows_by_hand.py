"""Rows of sweeps, written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.rows import COLUMNS

DEVICE = {
    "name": "local", "model": "Tensor", "abi": "arm64-v8a", "soc": None, "os": "Linux", "fingerprint": None,
    "cores": [], "governor": None, "emulated": False,
}  # fmt: skip


def row(model: str = "a", precision: str = "float32", raw_ms: Sequence[float] = (), **more: Any) -> dict[str, Any]:
    """Return a row of a good file; one that was timed where there are figures, whose interval is their range."""
    return {
        **dict.fromkeys(column.name for column in COLUMNS),
        "cell": model,
        "status": "ok",
        "model": model,
        "model_options": "{}",
        "input_size": "224x224",
        "precision": precision,
        "device": "local" if raw_ms else None,
        "threads": 1,
        "file": f"model.{precision}.tflite",
        "sha256": "0" * 64,
        "size_bytes": 1000,
        "parity": "pass",
        "relative_l2": 0.1,
        "targets": [],
        "device_model": "Tensor" if raw_ms else None,
        "ended": datetime(2026, 1, 1, tzinfo=UTC),
        **_timed(raw_ms, precision),
        **more,
    }


def _timed(raw_ms: Sequence[float], precision: str) -> dict[str, Any]:
    if not raw_ms:
        return {}
    entry = {"file": "f", "precision": precision, "threads": 1, "engine": "LiteRT", "statistic": "median",
             "sha256": "0" * 64, "raw_ms": list(raw_ms)}  # fmt: skip
    baseline = {"format": 1, "date": "2026-01-01T00:00:00Z", "device": DEVICE, "tools": {}, "entries": [entry]}
    middle = sorted(raw_ms)[len(raw_ms) // 2]
    return {
        "latency_ms": middle,
        "latency_low_ms": min(raw_ms),
        "latency_high_ms": max(raw_ms),
        "raw_ms": list(raw_ms),
        "baseline": json.dumps(baseline),
    }


def sweep_of(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write a sweep that holds these rows, and return its folder."""
    pytest.importorskip("pyarrow")
    from mobilekit.sweep.rows import write_rows

    made = SweepFolder(folder)
    made.begin({}, resume=False)
    for number, one in enumerate(rows):
        write_rows(made.rows / f"{number}.parquet", [one])
    return folder
