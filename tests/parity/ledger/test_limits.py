"""Limits follow from the noise of each format, and a recipe loosens them with a reason alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from mobilekit.errors import UsageError
from mobilekit.parity.ledger.limits import bounds_for
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import Bound, FormatError, Metrics, StableShare, verdict_of, worst
from mobilekit.recipes.schema import Limit
from mobilekit.store.stages import Stage

NOISE = FormatError(1e-6, 1e-7, 20.0, 3e-4, 0.02, 0.06, 0.05, int16x8_relative_l2=0.01)


HELD = {"max_abs": (0.5, 0.6, math.nan), "relative_l2": (0.4, 0.51, math.inf), "cosine": (0.5, 0.4, -1.0)}


@pytest.mark.parametrize("metric", [*HELD, "top1_agreement", "topk_agreement", "top1"])
def test_bounds_hold_on_the_right_side(metric: str) -> None:
    fine = Metrics(0.0, 0.0, 0.0, 1.0, None, 1.0)
    inside, outside, worse = HELD.get(metric, (0.9, 0.4, math.nan))
    bound = Bound(metric, 0.5, "")
    found = [bound.judge(replace(fine, **{metric: value})).holds for value in (inside, outside, worse)]
    assert found == [True, False, False]


@pytest.mark.parametrize("stage", ["rewritten", "onnx", "onnx-simplified", "tflite-float32"])
def test_float32_limits(stage: str) -> None:
    bound, ulps = bounds_for(Stage(stage), NOISE, 0.0, None)
    assert (ulps.metric, ulps.limit) == ("max_error_eps", pytest.approx(6 * 1e-6 / (20 / 2**24)))
    floor = 4 * 20.0 / 2**24
    assert floor < 8e-6
    assert (bound.metric, bound.limit) == ("max_abs", pytest.approx(8e-6))
    bound, ulps = bounds_for(Stage(stage), FormatError(1e-7, 0, 20.0, 0, 0, 0, 0), 0.0, None)
    assert bound.limit == pytest.approx(floor)
    assert ulps.limit == 4, "6 x 0.084 is below it"
    _bound, ulps = bounds_for(Stage(stage), replace(NOISE, float32_max_abs=20 * 7 / 2**24), 0.0, None)
    assert ulps.limit == pytest.approx(6 * 7)
    assert "6 x 7, the reference's own distance from its float64 run" in ulps.derivation
    (bound,) = bounds_for(Stage(stage), NOISE, 0.3, None)
    assert (bound.metric, bound.limit) == ("relative_l2", 0.3)


def test_sums_in_other_orders_widen_float32_limits() -> None:
    noise = replace(NOISE, float32_orders_max_abs=2e-5, float32_orders_relative_l2=1e-4)
    bound, eps = bounds_for(Stage.ONNX, noise, 0.0, None)
    assert bound.limit == pytest.approx(4 * 2e-5)
    assert eps.limit == pytest.approx(3 * 2e-5 / (20 / 2**24))
    half, _cosine = bounds_for(Stage.TFLITE_FLOAT16, noise, 0.0, None)
    assert half.limit == pytest.approx(2 * 3e-4 + 4 * 1e-4)
    assert "4.00e-04 for sums in other orders" in half.derivation


@pytest.mark.parametrize(
    ("limit", "error", "verdict"),
    [(0.5, 0.4, "pass"), (0.51, 0.4, "inconclusive"), (math.inf, 0.4, "inconclusive"), (1.2, 1.3, "fail")],
)
def test_a_limit_above_a_half_is_none(limit: float, error: float, verdict: str) -> None:
    metrics = replace(Metrics(0.0, 0.0, 0.0, 1.0, None, 1.0), relative_l2=error)
    judged = [Bound("relative_l2", limit, "").judge(metrics), Bound("cosine", 0.9, "").judge(metrics)]
    assert verdict_of(judged) == verdict


def test_the_worst_verdict_is_that_of_all() -> None:
    assert worst(()) == "pass"
    assert worst(("pass", "inconclusive", "pass")) == "inconclusive"
    assert worst(("inconclusive", "fail", "pass")) == "fail"


def test_limits_of_the_smaller_formats() -> None:
    relative, cosine = bounds_for(Stage("tflite-float16"), NOISE, 0.0, None)
    assert (relative.metric, relative.limit) == ("relative_l2", pytest.approx(6e-4))
    assert (cosine.metric, cosine.limit) == ("cosine", 0.9999)
    (relative,) = bounds_for(Stage("tflite-float16"), NOISE, 0.1, None)
    assert relative.limit == pytest.approx(0.1006)
    assert "0.1 of the approximate rewrites" in relative.derivation
    for stage, own in (("tflite-dynamic", 0.04), ("tflite-int8", 0.12), ("tflite-int16x8", 0.02)):
        bound, cosine = bounds_for(Stage(stage), NOISE, 0.0, None)
        assert (bound.metric, bound.limit) == ("relative_l2", pytest.approx(own))
        assert (cosine.metric, cosine.limit) == ("cosine", 0.95)
        (bound,) = bounds_for(Stage(stage), NOISE, 0.2, None)
        assert bound.limit == pytest.approx(own + 0.2)


@pytest.mark.parametrize(
    ("calibrated", "fitted", "words"),
    [
        (0.06, 0.05, "loses more than rounding to 8 bits must"),
        (0.6, 0.05, "outside the ranges of the calibration; with ranges of their own they would lose 0.05, not 0.6"),
        (0.6, 0.5, "Rounding to 8 bits itself loses this much"),
    ],
)
def test_int8_that_is_of_no_use_comes_with_what_to_do(calibrated: float, fitted: float, words: str) -> None:
    noise = replace(NOISE, int8_relative_l2=calibrated, int8_fitted_relative_l2=fitted)
    relative, cosine = bounds_for(Stage("tflite-int8"), noise, 0.0, None)
    assert words in cosine.advice
    assert "keep_float" in relative.advice


def test_random_weights_are_promised_nothing_but_what_the_recipe_says() -> None:
    for stage in ("tflite-dynamic", "tflite-int8"):
        assert [bound.metric for bound in bounds_for(Stage(stage), NOISE, 0.0, None, is_trained=False)] == [
            "relative_l2"
        ]
    bounds = bounds_for(Stage("tflite-int8"), NOISE, 0.0, Limit(cosine=0.9), is_trained=False)
    assert [(bound.metric, bound.limit) for bound in bounds][1:] == [("cosine", 0.9)]
    assert "keep_float" in bounds[1].advice
    assert len(bounds_for(Stage("tflite-float16"), NOISE, 0.0, None, is_trained=False)) == 2


def test_the_promised_cosine_is_an_error_of_a_third_of_the_output() -> None:
    truth = np.float32([[3, 0]])
    (_, cosine) = bounds_for(Stage("tflite-int8"), NOISE, 0.0, None)
    assert cosine.judge(compare(truth, np.float32([[3, 0.98]]))).holds
    assert not cosine.judge(compare(truth, np.float32([[3, 1]]))).holds


def test_a_format_that_changes_nothing_may_differ_as_float32_does() -> None:
    bound, _cosine = bounds_for(Stage("tflite-dynamic"), replace(NOISE, dynamic_relative_l2=0.0), 0.0, None)
    assert bound.limit == pytest.approx(8e-7)
    assert "distance from float64" in bound.derivation


def test_a_recipe_tightens_limits_metric_by_metric() -> None:
    bounds = {bound.metric: bound for bound in bounds_for(Stage("tflite-float16"), NOISE, 0.0, Limit(cosine=0.99999))}
    assert bounds["cosine"].limit == 0.99999
    assert bounds["cosine"].derivation == "set by the recipe"
    assert bounds["relative_l2"].limit == pytest.approx(6e-4)
    bounds = {
        bound.metric: bound for bound in bounds_for(Stage("onnx"), NOISE, 0.0, Limit(max_abs=0, top1_agreement=1))
    }
    assert {metric: bound.limit for metric, bound in bounds.items()} == {
        "max_abs": 0,
        "max_error_eps": pytest.approx(5.033, rel=1e-3),
        "top1_agreement": 1,
    }


@pytest.mark.parametrize(("metric", "looser"), [("cosine", 0.5), ("relative_l2", 0.1), ("top1_agreement", 0.6)])
def test_a_recipe_loosens_a_limit_with_a_reason_alone(metric: str, looser: float) -> None:
    noise = replace(NOISE, stable={"float16": StableShare(0.75, None, None)})
    derived = {bound.metric: bound for bound in bounds_for(Stage("tflite-float16"), noise, 0.0, None)}[metric]
    given = Limit(**{metric: looser})
    with pytest.raises(UsageError, match=f"loosens the limit of tflite-float16 on {metric} to {looser:g}") as caught:
        bounds_for(Stage("tflite-float16"), noise, 0.0, given, asks_why=True)
    assert "reason: " in caught.value.hint
    kept = {bound.metric: bound for bound in bounds_for(Stage("tflite-float16"), noise, 0.0, given)}
    assert kept[metric] == derived, "on others' inputs, what is derived counts"
    why = Limit(**{metric: looser}, reason=" it is a demo ")
    bound = {one.metric: one for one in bounds_for(Stage("tflite-float16"), noise, 0.0, why, asks_why=True)}[metric]
    assert (bound.limit, bound.reason) == (looser, "it is a demo")
    assert bound.derivation.startswith(f"loosened by the recipe (it is a demo); derived is {derived.limit:.3g}: ")


def test_a_reason_says_something() -> None:
    with pytest.raises(ValidationError):
        Limit(cosine=0.5, reason="  ")
