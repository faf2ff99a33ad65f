"""Tables for notebooks: what stands in them is text."""

from __future__ import annotations

from mobilekit.store.notebook import ledger_line, ledger_table, markdown_table


def test_a_cell_is_no_markup() -> None:
    table = markdown_table(("a", "b"), [("x|y", "<script>\nz")])
    assert table == "| a | b |\n| --- | --- |\n| x&#124;y | &lt;script&gt; z |"


def test_a_ledger_is_a_line_and_a_row_a_stage() -> None:
    figures = {"max_abs": 0.5, "relative_l2": None, "cosine": 1.0, "verdict": "pass", "output": "p"}
    rows = [{"stage": "onnx", "against": against, **figures} for against in ("reference", "rewritten")]
    ledger = {"stages": rows, "verdict": "fail", "failed_stages": [{"stage": "tflite-int8"}]}
    assert ledger_line(ledger) == "fail, 1 stage"
    assert ledger_table(ledger).splitlines()[2:] == [
        "| onnx | p | 5.0e-01 |  | 1.000000 | pass |",
        "| tflite-int8 |  |  |  |  | fail |",
    ]
