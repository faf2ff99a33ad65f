"""A file that agrees with the reference does not fail for the runtime of the one that it was made from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mobilekit.parity.ledger.blame import with_blame
from mobilekit.parity.ledger.result import Bound, Metrics, Row, verdict_of
from mobilekit.store.stages import Stage


def row(stage: Stage, against: Stage, error: float, limit: float = 1e-5) -> Row:
    figures = Metrics(error, error, error, 1.0, None, 1.0)
    judged = (Bound("max_abs", limit, "derived", "own advice").judge(figures),)
    return Row(
        **{name: getattr(figures, name) for name in ("max_abs", "mean_abs", "relative_l2", "cosine", "psnr_db")},
        top1_agreement=1.0,
        stage=stage,
        against=against,
        output="logits",
        verdict=verdict_of(judged),
        limits=judged,
        random=figures,
        random_limits=judged,
    )


def rows(onnx: float, tflite: float, step: float) -> list[Row]:
    return [
        row(Stage.ONNX, Stage.REFERENCE, onnx),
        row(Stage.ONNX_SIMPLIFIED, Stage.REFERENCE, onnx),
        row(Stage.ONNX_SIMPLIFIED, Stage.ONNX, 0.0),
        row(Stage.TFLITE_FLOAT32, Stage.REFERENCE, tflite),
        row(Stage.TFLITE_FLOAT32, Stage.ONNX_SIMPLIFIED, step),
        row(Stage.TFLITE_INT8, Stage.REFERENCE, 0.1, limit=0.5),
    ]


def test_the_runtime_of_a_stage_is_blamed_where_what_is_made_of_it_is_right() -> None:
    judged = with_blame(rows(onnx=3.0, tflite=1e-6, step=3.0))
    assert [each.verdict for each in judged] == ["fail", "fail", "pass", "pass", "pass", "pass"]
    assert all("ONNX Runtime is off" in limit.advice for limit in (*judged[0].limits, *judged[1].random_limits))
    assert judged[4].limits == judged[4].random_limits == ()
    assert judged[4].max_abs == 3.0, "what was measured stays"


@pytest.mark.parametrize(
    ("onnx", "tflite", "step"),
    [(1e-6, 1e-6, 1e-6), (3.0, 3.0, 1e-6), (1e-6, 3.0, 3.0), (1e-6, 1e-6, 3.0)],
    ids=["right", "torch.onnx's fault", "onnx2tf's fault", "another limit"],
)
def test_all_else_is_as_it_was_judged(onnx: float, tflite: float, step: float) -> None:
    before = rows(onnx, tflite, step)
    assert with_blame(before) == before
    assert with_blame([replace(each, output="boxes") for each in before[:3]]) == [
        replace(each, output="boxes") for each in before[:3]
    ]
