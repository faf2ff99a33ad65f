"""The ledger blames the stage that broke, on runtimes whose faults are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.cli.findings import findings_of
from mobilekit.cli.render.diff import diff_report
from mobilekit.cli.render.ledger_junit import diff_junit
from mobilekit.cli.render.ledger_markdown import diff_markdown
from mobilekit.cli.render.terminal import loosened
from mobilekit.cli.results import result_of
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.ledger import check_labels, measure
from mobilekit.parity.ledger.result import Ledger, Row
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.schema import Limit, Recipe
from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.report import StepReport
from mobilekit.store.stages import Stage
from tests.snapshots import on_terminal

Array = NDArray[np.float32]
Fault = Callable[[Array], Array]
REAL, RANDOM = 6, 4
MAP = {"input": torch.zeros(1, 3, 8, 8)}
MADE = [stage for stage in Stage if stage.predecessor and not stage.is_on_device]
CONTRACT = "stage against max_abs mean_abs relative_l2 cosine psnr_db top1_agreement verdict".split()  # noqa: SIM905


def _model() -> GraphModule:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    return trace(layers, MAP)


def logits_of(runtime: Runtime, images: Array) -> Array:
    """Run a model of one input and one output."""
    (output,) = runtime.run({"input": images}).values()
    return output


class Faulty(Runtime):
    """The model, with a fault in its outputs or, where `swap` is set, in the order of its input's channels."""

    def __init__(self, fault: Fault = lambda outputs: outputs, swap: bool = False) -> None:
        self.inner, self.fault, self.swap = TorchRuntime(_model()), fault, swap

    def _run(self, inputs: Arrays) -> Arrays:
        array = inputs["input"][:, ::-1].copy() if self.swap else inputs["input"]
        return {"logits": self.fault(logits_of(self.inner, array))}


def _inputs(count: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8), dtype=np.float32)


def _measure(
    faults: dict[str, Runtime] | None = None,
    recipe: Recipe | None = None,
    steps: tuple[StepReport, ...] = (),
    models: tuple[GraphModule, GraphModule] | None = None,
    left_out: tuple[str, ...] = (),
) -> Ledger:
    reference, rewritten = models or (_model(), _model())
    absent = (Stage.REFERENCE, Stage.REWRITTEN, *left_out)
    runtimes: dict[Stage, Runtime] = {
        stage: (faults or {}).get(stage) or Faulty() for stage in MADE if stage not in absent
    }
    openers = {stage: lambda runtime=runtime: runtime for stage, runtime in runtimes.items()}
    truth = logits_of(TorchRuntime(reference), _inputs(REAL, 1))
    labels = np.append(truth.argmax(1)[:-1], (truth.argmax(1)[-1] + 1) % 5)
    evaluation = Evaluation("six made-up pictures", {"input": _inputs(REAL, 1)}, labels)
    random = {"input": _inputs(RANDOM, 2)}
    return measure(reference, rewritten, openers, recipe or Recipe(), evaluation, random, steps)


def _failed(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row.stage, row.against) for row in ledger.rows if row.verdict == "fail"]


def _larger_by(share: float, on: int | None = None) -> Faulty:
    """A relative L2 error of `share`, on all inputs or on those that come `on` at a time."""
    return Faulty(lambda outputs: outputs * np.float32(1 + share) if on in (None, len(outputs)) else outputs)


def test_every_stage_is_held_against_its_origin_and_the_reference() -> None:
    ledger = _measure()
    assert [(row.stage, row.against) for row in ledger.rows] == [
        ("rewritten", "reference"),
        ("onnx", "reference"),
        ("onnx", "rewritten"),
        ("onnx-simplified", "reference"),
        ("onnx-simplified", "onnx"),
        ("tflite-float32", "reference"),
        ("tflite-float32", "onnx-simplified"),
        ("tflite-float16", "reference"),
        ("tflite-float16", "tflite-float32"),
        ("tflite-dynamic", "reference"),
        ("tflite-dynamic", "tflite-float32"),
        ("tflite-int8", "reference"),
        ("tflite-int8", "tflite-float32"),
        ("tflite-int16x8", "reference"),
        ("tflite-int16x8", "tflite-float32"),
        ("onnx-int8", "reference"),
        ("onnx-int8", "onnx-simplified"),
        ("onnx-int16x8", "reference"),
        ("onnx-int16x8", "onnx-simplified"),
        ("pte-float32", "reference"),
        ("pte-float32", "rewritten"),
        ("pte-float16", "reference"),
        ("pte-float16", "pte-float32"),
        ("pte-int8", "reference"),
        ("pte-int8", "pte-float32"),
        ("mlpackage", "reference"),
        ("mlpackage", "rewritten"),
    ]
    assert ledger.verdict == "pass"
    assert {row.max_abs for row in ledger.rows} == {0.0}
    assert (ledger.inputs.real, ledger.inputs.count) == ("six made-up pictures", REAL)
    assert ledger.reference_top1 == pytest.approx(5 / 6)


def test_a_fault_is_blamed_on_the_stage_that_made_it() -> None:
    faults = {stage: _larger_by(0.1) for stage in ("onnx", "onnx-simplified", "tflite-float32")}
    ledger = _measure(faults, left_out=("onnx-int8", "onnx-int16x8"))  # which would be made of what is faulty
    assert [pair for pair in _failed(ledger) if pair[1] != "reference" and "float32" not in pair[1]] == [
        ("onnx", "rewritten")
    ]
    totals = [stage for stage, against in _failed(ledger) if against == "reference"]
    assert totals == ["onnx", "onnx-simplified", "tflite-float32"]
    row = next(row for row in ledger.rows if (row.stage, row.against) == ("onnx", "rewritten"))
    assert row.relative_l2 == pytest.approx(0.1, rel=1e-5)
    assert ledger.verdict == "fail"


@pytest.mark.parametrize("stage", [stage for stage in MADE if stage != "rewritten"])
def test_swapped_channels_fail_in_every_format(stage: str) -> None:
    failed = _failed(_measure({stage: Faulty(swap=True)}))
    assert {(stage, "reference"), (stage, Stage(stage).predecessor)} <= set(failed)
    assert {each for each, against in failed if against == "reference"} == {stage}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("stage", ["onnx", "tflite-float16", "tflite-int8"])
@pytest.mark.parametrize("on", [REAL, RANDOM])
def test_a_single_nan_fails_on_any_inputs(stage: str, on: int) -> None:
    def fault(outputs: Array) -> Array:
        if len(outputs) == on:
            outputs[-1, 2] = np.nan
        return outputs

    ledger = _measure({stage: Faulty(fault)})
    assert {(stage, "reference"), (stage, Stage(stage).predecessor)} <= set(_failed(ledger))
    row = next(row for row in ledger.rows if row.stage == stage)
    assert (row.finite, row.random.finite) == (on != REAL, on != RANDOM)
    assert f"{stage} against reference ({row.output}): some outputs are not finite numbers" in _shown(ledger)


@pytest.mark.parametrize(
    ("stage", "noise"),
    [
        ("tflite-float16", "float16_relative_l2"),
        ("tflite-dynamic", "dynamic_relative_l2"),
        ("tflite-int8", "int8_relative_l2"),
    ],
)
def test_each_format_may_have_twice_its_own_noise(stage: str, noise: str) -> None:
    (measured,) = _measure().format_errors.values()
    limit = 2 * getattr(measured, noise)
    assert _failed(_measure({stage: _larger_by(0.9 * limit, on=REAL)})) == []
    failed = _failed(_measure({stage: _larger_by(1.1 * limit, on=REAL)}))
    assert failed == [(stage, "reference"), (stage, Stage(stage).predecessor)]


def test_random_inputs_gate_float_stages_and_not_quantized_ones() -> None:
    for stage in ("onnx-simplified", "tflite-float32", "tflite-float16"):
        assert (stage, "reference") in _failed(_measure({stage: _larger_by(0.5, on=RANDOM)}))
    for stage in ("tflite-dynamic", "tflite-int8"):
        ledger = _measure({stage: _larger_by(0.5, on=RANDOM)})
        assert _failed(ledger) == []
        row = next(row for row in ledger.rows if row.stage == stage)
        assert row.random.relative_l2 == pytest.approx(0.5, rel=1e-5), "it is measured all the same"


@pytest.mark.parametrize("stage", ["onnx", "tflite-float16"])
def test_what_fails_on_random_inputs_is_told_with_its_metric_and_figure(stage: str) -> None:
    ledger = _measure({stage: _larger_by(0.5, on=RANDOM)})
    row = _row(ledger, stage)
    assert row.verdict == "fail" and all(limit.holds for limit in row.limits)
    missed = [limit for limit in row.random_limits if not limit.holds]
    metric = "max_abs" if stage == "onnx" else "relative_l2"
    assert missed[0].metric == metric and missed[0].value == getattr(row.random, metric) > missed[0].limit
    first = next(each for each in findings_of(ledger) if each.metric == metric)
    assert (first.stage, first.inputs, first.measured, first.limit) == (
        stage,
        "random",
        missed[0].value,
        missed[0].limit,
    )
    words = {"max_abs": "max abs is ", "relative_l2": "relative L2 is 5.0e-01, and relative L2 <= "}[metric]
    assert first.text.startswith(words) and first.text.endswith(" is the limit on random inputs")
    assert f"{row.place}: {first.text}" in _shown(ledger)


def test_a_recipe_sets_its_own_limits() -> None:
    drifted = {"tflite-int8": _larger_by(0.3)}
    assert _failed(_measure(drifted)) != []
    loose = Limit(relative_l2=0.31, cosine=0.0, top1_agreement=0.0, topk_agreement=0.0, top1=0.0, reason="a demo")
    ledger = _measure(drifted, Recipe(limits={"tflite-int8": loose}))
    assert _failed(ledger) == []
    assert "relative L2 <= 3.1e-01: loosened by the recipe (a demo); derived is" in _shown(ledger)
    assert next(text[:37] for text in loosened(ledger)) == "tflite-int8: relative L2 <= 3.1e-01, "
    with pytest.raises(UsageError, match=r"loosens the limit of tflite-int8 on relative_l2 to 0\.31"):
        _measure(drifted, Recipe(limits={"tflite-int8": Limit(relative_l2=0.31)}))
    strict = Recipe(limits={"onnx": Limit(max_abs=1e-9)})
    near = {"onnx": Faulty(lambda outputs: outputs + np.float32(1e-7))}
    assert _failed(_measure(near)) == []
    assert _failed(_measure(near, strict)) == [("onnx", "reference"), ("onnx", "rewritten")]


def test_an_approximate_rewrite_widens_totals_and_not_steps() -> None:
    changed = _model()
    with torch.no_grad():
        changed.get_submodule("3").weight *= 1.05
        changed.get_submodule("3").bias *= 1.05
    models = (_model(), changed)
    same = {stage: _larger_by(0.05) for stage in MADE if stage != "rewritten"}
    step = StepReport("dfc-dense", Exactness.APPROXIMATE, ("a",), (), drift=0.05, max_drift=0.06)
    assert _measure(same, models=models).verdict == "fail"
    ledger = _measure(same, models=models, steps=(step,))
    assert ledger.verdict == "pass"
    assert {row.limits[0].limit for row in ledger.rows if row.stage == "onnx" and row.against == "reference"} == {0.06}
    worse = _measure({**same, "onnx": _larger_by(0.055)}, models=models, steps=(step,))
    assert ("onnx", "rewritten") in _failed(worse)
    assert ("onnx", "reference") not in _failed(worse)


def test_a_stage_whose_origin_was_not_exported_is_held_against_the_one_before_that() -> None:
    ledger = _measure(left_out=("tflite-float32", "tflite-float16", "tflite-dynamic"))
    assert [row.against for row in ledger.rows if row.stage == "tflite-int8"] == ["reference", "onnx-simplified"]


def _shown(ledger: Ledger) -> str:
    return on_terminal(*diff_report(result_of(ledger), "net", verbose=True), width=200)


def _row(ledger: Ledger, stage: str, against: str = "reference") -> Row:
    return next(row for row in ledger.rows if (row.stage, row.against) == (stage, against))


@pytest.mark.parametrize("stage", ["onnx", "tflite-float16", "tflite-int8"])
def test_a_broken_invariant_fails_the_stage_that_broke_it_in_every_report(stage: str) -> None:
    def kill(outputs: Array) -> Array:
        outputs[:, 3] = 0.25
        return outputs

    loose = Limit(
        relative_l2=0.02 if stage != "onnx" else None,
        cosine=-1,
        max_abs=1e-3,
        max_error_eps=1e9,
        top1_agreement=0,
        top1=0,
        topk_agreement=0,
        reason="to see the invariant alone",
    )
    ledger = _measure({stage: Faulty(kill)}, Recipe(limits={stage: loose}))
    assert {(stage, "reference"), (stage, Stage(stage).predecessor)} <= set(_failed(ledger))
    assert {row.stage for row in ledger.rows if row.findings} == {stage}
    sentence = _row(ledger, stage).findings[0].text
    assert sentence.startswith("1 of 5 outputs are dead: output 3 is 0.25 for every input")
    content = ledger.to_json()
    row = next(row for row in content["stages"] if row["findings"])
    assert row["findings"][0]["invariant"] == "dead"
    result = result_of(ledger)
    for text in (_shown(ledger), diff_junit(result, "net"), diff_markdown(result, "net")):
        assert sentence in text
    assert "(to see the invariant alone)" in diff_markdown(result, "net")


def test_probabilities_that_no_longer_sum_to_one_fail() -> None:
    def model() -> GraphModule:
        return trace(nn.Sequential(_model(), nn.Softmax(1)), MAP)

    double = Faulty(lambda outputs: outputs * 2)
    double.inner = TorchRuntime(model())
    whole = {stage: Faulty() for stage in MADE}
    for runtime in whole.values():
        runtime.inner = TorchRuntime(model())
    assert _measure(dict(whole), models=(model(), model())).verdict == "pass"
    ledger = _measure({**whole, "tflite-dynamic": double}, models=(model(), model()))
    (found,) = _row(ledger, "tflite-dynamic").findings
    assert "sum to 2, not to 1" in found.text


def test_float32_is_held_to_an_ulp_budget_against_float64() -> None:
    ledger = _measure()
    (noise,) = ledger.format_errors.values()
    exact = logits_of(TorchRuntime(_model().double()), _inputs(REAL, 1))
    got = logits_of(TorchRuntime(_model()), _inputs(REAL, 1))
    ulps = float(np.abs(got.astype(np.float64) - exact).max() / (np.abs(exact).max() * 2.0**-24))
    for row in ledger.rows:
        floats = ("rewritten", "onnx", "onnx-simplified", "tflite-float32", "pte-float32")
        is_held = row.against == "reference" and row.stage in floats
        assert (row.max_error_eps is not None) == is_held
        budget = [bound.limit for bound in row.limits if bound.metric == "max_error_eps"]
        assert budget == ([pytest.approx(max(6 * ulps, 4))] if is_held else [])
        if is_held:
            assert row.max_error_eps == pytest.approx(ulps)
    off = np.float32(1.3 * max(6 * ulps, 4) * noise.scale / 2**24)
    worse = _measure({"onnx": Faulty(lambda outputs: outputs + off)})
    assert ("onnx", "reference") in _failed(worse)


def test_a_classifier_must_keep_what_its_format_cannot_change() -> None:
    def swap(outputs: Array) -> Array:
        """Exchange the first and the second class of one input, by as little as can be."""
        first, second = np.argsort(-outputs[0])[:2]
        outputs[0, [first, second]] = outputs[0, [second, first]]
        return outputs

    loose = Limit(relative_l2=1, cosine=-1, reason="to see the task's limits alone")
    ledger = _measure({"tflite-float16": Faulty(swap)}, Recipe(limits={"tflite-float16": loose}, top_k=2))
    row = _row(ledger, "tflite-float16")
    missed = [limit.metric for limit in row.limits if not limit.holds]
    assert missed == ["top1_agreement", "top1"]
    assert (row.top1_agreement, row.topk_agreement) == (pytest.approx(5 / 6), 1.0)
    assert row.top_k == 2
    assert "top-1 agreement is 0.8333, and top-1 agreement >= 1 is the limit" in _shown(ledger)


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        ([0, 5], None, "has labels from 0 to 5, and the model has the classes 0 to 4"),
        ([-1, 2], None, "labels from -1 to 2"),
        ([0, 1], 2, "has folders of 2 classes, and the model has 5"),
    ],
)
def test_labels_number_the_models_classes(labels: list[int], classes: int | None, says: str) -> None:
    evaluation = Evaluation("mine", {"input": _inputs(2, 1)}, np.array(labels), classes)
    with pytest.raises(UsageError, match=says):
        check_labels(evaluation, np.zeros((2, 5), np.float32))
    check_labels(replace(evaluation, labels=np.array([0, 4]), classes=5), np.zeros((2, 5), np.float32))


def test_json_has_the_keys_of_the_contract() -> None:
    content = json.loads(json.dumps(_measure({"tflite-int8": _larger_by(0.01)}).to_json(), allow_nan=False))
    assert content["verdict"] == "pass"
    assert content["inputs"] == {"real": "six made-up pictures", "count": REAL, "is_own": False, "labels": []}
    for row in content["stages"]:
        assert set(CONTRACT) <= set(row)
        assert {"metric", "limit", "derivation", "advice", "reason", "value", "holds"} == set(row["limits"][0])
    int8 = next(row for row in content["stages"] if row["stage"] == "tflite-int8")
    assert int8["relative_l2"] == pytest.approx(0.01, rel=1e-4)
    assert int8["psnr_db"] > 20
    assert content["stages"][0]["psnr_db"] is None


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("weight", [0.0, math.nan])
def test_a_reference_of_zeros_or_nan_is_told_in_plain_json(weight: float) -> None:
    broken = _model()
    with torch.no_grad():
        for parameter in broken.get_submodule("3").parameters():
            parameter.fill_(weight)
    ledger = _measure(models=(broken, broken))
    assert ledger.verdict == "fail"
    json.dumps(ledger.to_json(), allow_nan=False)
    assert _shown(ledger).startswith("fail: net: ")


def test_the_old_name_of_the_largest_error_is_read_and_written_beside_the_new_one() -> None:
    content = json.loads(json.dumps(_measure().to_json()))
    row = next(row for row in content["stages"] if row["max_error_eps"] is not None)
    assert row["float64_ulps"] == row["max_error_eps"]
    old = {**content, "stages": [{**row, "limits": [dict(limit) for limit in row["limits"]]}]}
    del old["stages"][0]["max_error_eps"]
    for limit in old["stages"][0]["limits"]:
        if limit["metric"] == "max_error_eps":
            limit["metric"] = "float64_ulps"
    read = Ledger.from_json(old).rows[0]
    assert read.max_error_eps == row["max_error_eps"]
    assert [limit.metric for limit in read.limits] == [limit["metric"] for limit in row["limits"]]
