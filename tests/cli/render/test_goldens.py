"""What came of golden cases, on the terminal."""

from __future__ import annotations

import math

from rich.console import Console

from mobilekit.cli.render.goldens import replay_table, skipped_lines
from mobilekit.jobs.goldens.result import GoldenRow, Replayed
from tests.snapshots import check_snapshot

ROWS = (
    GoldenRow("case-0", "model.float32.tflite", "logits", 1.2e-7, "max_abs", 1.2e-7, 5.7e-7),
    GoldenRow("case-0", "model.int8.tflite", "logits", 0.25, "relative_l2", 0.031, 0.0048),
    GoldenRow("case-0", "model.int8.tflite", "mask[0]", 1, "equal_labels", 0.98, 0.95),
    GoldenRow(
        "case-1", "model.int8.tflite", "logits", math.nan, "relative_l2", math.nan, 0.0048, "3 values, and not 4"
    ),
)
FOUND = Replayed("./phone.sh", "gpu", ROWS, {"model.dynamic.tflite": "it is too large"})
RIGHT = Replayed("litert", "cpu", ROWS[:1], {})


def test_snapshot() -> None:
    console = Console(width=120, record=True, markup=False, emoji=False)
    for found in (FOUND, RIGHT):
        console.print(replay_table(found))
        for line in skipped_lines(found):
            console.print(line)
    check_snapshot("goldens.txt", console.export_text())
