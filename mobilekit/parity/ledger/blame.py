"""Which runtime is off, where a stage is right though the one that it was made from is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mobilekit.parity.ledger.result import Row
from mobilekit.store.stages import Stage

_ADVICE = (
    "tflite-float32, which is made of this file, agrees with the reference: ONNX Runtime is off, and not the file. Run "
    "it in another runtime, or write the step that `mobilekit diff ... --bisect DIR` finds in another way."
)
_ONNX = (Stage.ONNX, Stage.ONNX_SIMPLIFIED)


def with_blame(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the blame where it belongs.

    A TFLite file is made of the ONNX file. Where it agrees with the reference, and the ONNX file as ONNX Runtime runs
    it does not, that file says what it should and ONNX Runtime computes something else. The comparison of the two is
    then held to nothing.
    """
    totals = {(row.stage, row.output): row.verdict for row in rows if row.is_total}
    blamed = []
    for row in rows:
        is_right = totals.get((Stage.TFLITE_FLOAT32, row.output)) == "pass"
        if is_right and row.stage in _ONNX and row.is_total and row.verdict == "fail":
            row = _with_advice(row)
        elif is_right and row.against in _ONNX and row.stage is Stage.TFLITE_FLOAT32:
            is_off = totals.get((row.against, row.output)) == "fail"
            row = replace(row, limits=(), random_limits=(), verdict="pass") if is_off else row
        blamed.append(row)
    return blamed


def _with_advice(row: Row) -> Row:
    limits, random_limits = (
        tuple(limit if limit.holds else replace(limit, advice=_ADVICE) for limit in judged)
        for judged in (row.limits, row.random_limits)
    )
    return replace(row, limits=limits, random_limits=random_limits)
