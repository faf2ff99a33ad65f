"""The metrics are their formulas, the noise is each format's own rounding, and limits follow from it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn
from torch.fx import symbolic_trace

import mobilekit.parity.ledger.format_error as noise_module
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.float_nodes import fused_nodes
from mobilekit.parity.ledger.format_error import (
    EveryTensorRounded,
    Noise,
    measure_noise,
    round_layer_inputs,
    round_to_256_steps,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.parity.ledger.limits import Bound, bounds_for
from mobilekit.parity.ledger.metrics import Metrics, compare
from mobilekit.parity.ledger.task import Certain, certain, k_for, topk_agreement
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.schema import Limit

NOISE = Noise(1e-6, 1e-7, 20.0, 3e-4, 0.02, 0.06, 0.05)
VALUES = st.floats(-1000, 1000, width=32)
OUTPUTS = hnp.array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float32, shape, elements=VALUES)] * 2)
)


@settings(max_examples=200, deadline=None)
@given(OUTPUTS)
def test_metrics_are_their_formulas(pair: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    a, b = (array.astype(np.float64).reshape(len(array), -1) for array in pair)
    got = compare(*pair)
    assert got.max_abs == max(abs(x - y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    assert got.mean_abs == pytest.approx(np.sum(np.abs(a - b)) / a.size)
    assert got.top1_agreement == sum(np.argmax(x) == np.argmax(y) for x, y in zip(a, b, strict=True)) / len(a)
    assert got.finite
    assert got.top1 is None
    if np.any(a):
        assert got.relative_l2 == pytest.approx(math.sqrt(((a - b) ** 2).sum()) / math.sqrt((a**2).sum()))
    rows = list(zip(a, b, strict=True))
    cosines = [x @ y / (math.sqrt(x @ x) * math.sqrt(y @ y)) if x.any() and y.any() else -1.0 for x, y in rows]
    assert got.cosine == pytest.approx(min(cosines), abs=1e-9)
    error = math.sqrt(((a - b) ** 2).mean())
    if error > 0 and np.any(a):
        assert got.psnr_db == pytest.approx(20 * math.log10(np.abs(a).max() / error))
    else:
        assert got.psnr_db is None


def test_metrics_by_hand() -> None:
    got = compare(np.float32([[3, 4], [0, 2]]), np.float32([[3, 4], [2, 0]]), np.array([1, 1]))
    wanted = Metrics(2.0, 1.0, math.sqrt(8 / 29), 0.0, 20 * math.log10(4 / math.sqrt(2)), 0.5, 0.5, True)
    assert {name: value for name, value in got.to_json().items() if value is not None} == pytest.approx(
        {name: value for name, value in wanted.to_json().items() if value is not None}, rel=1e-12
    )


def test_identical_outputs() -> None:
    array = np.float32([[1, -2, 3]])
    got = compare(array, array.copy())
    assert (got.max_abs, got.mean_abs, got.relative_l2, got.psnr_db, got.top1_agreement) == (0, 0, 0, None, 1)
    assert got.cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_candidate_that_is_not_finite_holds_no_limit(bad: float) -> None:
    got = compare(np.float32([[1, 2], [3, 4]]), np.float32([[1, 2], [3, bad]]))
    assert not got.finite
    for metric, limit in (("max_abs", 1e30), ("relative_l2", 1e30), ("cosine", 0.0)):
        assert not Bound(metric, limit, "").holds(got)
    assert (got.psnr_db, got.to_json()["max_abs"], got.to_json()["finite"]) == (None, None, False)


def test_a_reference_of_zeros() -> None:
    zeros = np.zeros((2, 3), np.float32)
    got = compare(zeros, zeros + 1)
    assert (got.max_abs, got.relative_l2, got.cosine, got.psnr_db) == (1, math.inf, -1, None)
    assert got.to_json()["relative_l2"] is None
    assert not Bound("relative_l2", 1e30, "").holds(got)
    assert compare(zeros, zeros).max_abs == 0


def test_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        compare(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))


def test_labels_give_top1_of_the_candidate() -> None:
    reference = np.eye(4, dtype=np.float32)
    got = compare(reference, reference[[0, 1, 3, 2]], np.array([0, 1, 3, 3]))
    assert (got.top1_agreement, got.top1) == (0.5, 0.75)


HELD = {"max_abs": (0.5, 0.6, math.nan), "relative_l2": (0.4, 0.51, math.inf), "cosine": (0.5, 0.4, -1.0)}


@pytest.mark.parametrize("metric", [*HELD, "top1_agreement", "topk_agreement", "top1"])
def test_bounds_hold_on_the_right_side(metric: str) -> None:
    fine = Metrics(0.0, 0.0, 0.0, 1.0, None, 1.0)
    inside, outside, worse = HELD.get(metric, (0.9, 0.4, math.nan))
    bound = Bound(metric, 0.5, "")
    assert [bound.holds(replace(fine, **{metric: value})) for value in (inside, outside, worse)] == [True, False, False]


@pytest.mark.parametrize("stage", ["rewritten", "onnx", "onnx-simplified", "tflite-float32"])
def test_float32_limits(stage: str) -> None:
    bound, ulps = bounds_for(stage, NOISE, 0.0, None)
    assert (ulps.metric, ulps.limit) == ("float64_ulps", pytest.approx(6 * 1e-6 / (20 / 2**24)))
    floor = 4 * 20.0 / 2**24
    assert floor < 8e-6
    assert (bound.metric, bound.limit) == ("max_abs", pytest.approx(8e-6))
    bound, ulps = bounds_for(stage, Noise(1e-7, 0, 20.0, 0, 0, 0, 0), 0.0, None)
    assert bound.limit == pytest.approx(floor)
    assert ulps.limit == 4, "6 x 0.084 is below it"
    _bound, ulps = bounds_for(stage, replace(NOISE, float32_max_abs=20 * 7 / 2**24), 0.0, None)
    assert ulps.limit == pytest.approx(6 * 7)
    assert "6 x 7, the reference's own distance from its float64 run" in ulps.derivation
    (bound,) = bounds_for(stage, NOISE, 0.3, None)
    assert (bound.metric, bound.limit) == ("relative_l2", 0.3)


def test_limits_of_the_smaller_formats() -> None:
    relative, cosine = bounds_for("tflite-float16", NOISE, 0.0, None)
    assert (relative.metric, relative.limit) == ("relative_l2", pytest.approx(6e-4))
    assert (cosine.metric, cosine.limit) == ("cosine", 0.9999)
    (relative,) = bounds_for("tflite-float16", NOISE, 0.1, None)
    assert relative.limit == pytest.approx(0.1006)
    assert "0.1 of the approximate rewrites" in relative.derivation
    for stage, own in (("tflite-dynamic", 0.04), ("tflite-int8", 0.12)):
        bound, cosine = bounds_for(stage, NOISE, 0.0, None)
        assert (bound.metric, bound.limit) == ("relative_l2", pytest.approx(own))
        assert (cosine.metric, cosine.limit) == ("cosine", 0.95)
        (bound,) = bounds_for(stage, NOISE, 0.2, None)
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
    relative, cosine = bounds_for("tflite-int8", noise, 0.0, None)
    assert words in cosine.advice
    assert "keep_float" in relative.advice


def test_random_weights_are_promised_nothing_but_what_the_recipe_says() -> None:
    for stage in ("tflite-dynamic", "tflite-int8"):
        assert [bound.metric for bound in bounds_for(stage, NOISE, 0.0, None, is_trained=False)] == ["relative_l2"]
    bounds = bounds_for("tflite-int8", NOISE, 0.0, Limit(cosine=0.9), is_trained=False)
    assert [(bound.metric, bound.limit) for bound in bounds][1:] == [("cosine", 0.9)]
    assert "keep_float" in bounds[1].advice
    assert len(bounds_for("tflite-float16", NOISE, 0.0, None, is_trained=False)) == 2


def test_the_promised_cosine_is_an_error_of_a_third_of_the_output() -> None:
    truth = np.float32([[3, 0]])
    (_, cosine) = bounds_for("tflite-int8", NOISE, 0.0, None)
    assert cosine.holds(compare(truth, np.float32([[3, 0.98]])))
    assert not cosine.holds(compare(truth, np.float32([[3, 1]])))


def test_a_format_that_changes_nothing_may_differ_as_float32_does() -> None:
    bound, _cosine = bounds_for("tflite-dynamic", replace(NOISE, dynamic_relative_l2=0.0), 0.0, None)
    assert bound.limit == pytest.approx(8e-7)
    assert "distance from float64" in bound.derivation


def test_a_recipe_tightens_limits_metric_by_metric() -> None:
    bounds = {bound.metric: bound for bound in bounds_for("tflite-float16", NOISE, 0.0, Limit(cosine=0.99999))}
    assert bounds["cosine"].limit == 0.99999
    assert bounds["cosine"].derivation == "set by the recipe"
    assert bounds["relative_l2"].limit == pytest.approx(6e-4)
    bounds = {bound.metric: bound for bound in bounds_for("onnx", NOISE, 0.0, Limit(max_abs=0, top1_agreement=1))}
    assert {metric: bound.limit for metric, bound in bounds.items()} == {
        "max_abs": 0,
        "float64_ulps": pytest.approx(5.033, rel=1e-3),
        "top1_agreement": 1,
    }


@pytest.mark.parametrize(("metric", "looser"), [("cosine", 0.5), ("relative_l2", 0.1), ("top1_agreement", 0.6)])
def test_a_recipe_loosens_a_limit_with_a_reason_alone(metric: str, looser: float) -> None:
    noise = replace(NOISE, certain={"float16": Certain(0.75, None, None)})
    derived = {bound.metric: bound for bound in bounds_for("tflite-float16", noise, 0.0, None)}[metric]
    given = Limit(**{metric: looser})
    with pytest.raises(UsageError, match=f"loosens the limit of tflite-float16 on {metric} to {looser:g}") as caught:
        bounds_for("tflite-float16", noise, 0.0, given, asks_why=True)
    assert "reason: " in caught.value.hint
    kept = {bound.metric: bound for bound in bounds_for("tflite-float16", noise, 0.0, given)}
    assert kept[metric] == derived, "on others' inputs, what is derived counts"
    why = Limit(**{metric: looser}, reason=" it is a demo ")
    bound = {one.metric: one for one in bounds_for("tflite-float16", noise, 0.0, why, asks_why=True)}[metric]
    assert (bound.limit, bound.reason) == (looser, "it is a demo")
    assert bound.derivation.startswith(f"loosened by the recipe (it is a demo); derived is {derived.limit:.3g}: ")


def test_a_reason_says_something() -> None:
    with pytest.raises(ValidationError):
        Limit(cosine=0.5, reason="  ")


def test_what_cannot_be_overtaken_is_certain() -> None:
    outputs = np.float32([[9, 5, 0, 0], [5, 4, 0, 0], [3, 2, 1, 0]])
    change = np.float32([[1, -1, 0, 0], [0, 0, 0, 0], [0.5, -0.5, 0, 0]])  # differences change by up to 2, 0 and 1
    got = certain(outputs, [(1, outputs, outputs + change)], 2, np.array([0, 0, 0]))
    # The second input is taken to change as the mean one: by 1, which is all of its lead. So is the third's.
    assert got == Certain(top1=1 / 3, topk=5 / 6, right=1 / 3)
    twice = certain(outputs, [(1, outputs, outputs), (2, outputs, outputs + change)], 2, np.array([1, 0, 0]))
    assert twice == Certain(top1=0.0, topk=4 / 6, right=0.0)
    assert certain(outputs, [(1, outputs, outputs)], None, None) == Certain(1.0, None, None)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.01, 3))
def test_a_change_within_reach_keeps_what_is_certain(seed: int, classes: int, size: float) -> None:
    random = np.random.default_rng(seed)
    outputs, change = (random.standard_normal((20, classes)).astype(np.float32) for _ in range(2))
    after = outputs + np.float32(size) * change
    k = 2 if classes > 2 else None
    kept = certain(outputs, [(1.001, outputs, after)], k, outputs.argmax(1))
    got = compare(outputs, after, outputs.argmax(1), k)
    assert got.top1_agreement >= kept.top1
    assert got.top1 is not None and kept.right is not None and got.top1 >= kept.right
    if k:
        assert got.topk_agreement is not None and kept.topk is not None and got.topk_agreement >= kept.topk


def test_top_k_by_hand() -> None:
    reference, candidate = np.float64([[4, 3, 2, 1], [1, 2, 3, 4]]), np.float64([[3, 4, 0, 1], [1, 4, 0, 0]])
    assert topk_agreement(reference, candidate, 2) == 0.5
    assert topk_agreement(reference, candidate, 1) == 0.0
    assert [k_for(*each) for each in ((9, None), (10, None), (1000, None), (3, 2), (3, 3), (1000, 1))] == [
        None,
        5,
        5,
        2,
        None,
        1,
    ]


def _layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Hardswish(), nn.Flatten(), nn.Linear(96, 5)
    ).eval()


def test_int8_weights_have_255_levels_a_channel() -> None:
    model, before = _layers(), _layers()
    with torch.no_grad():
        for layers in (model, before):
            layers[0].weight[3] = 0.0
            layers[0].weight[1] *= 1000
    round_weights_to_int8(model)
    for name, parameter in model.named_parameters():
        old = before.get_parameter(name)
        if name.endswith("bias"):
            assert torch.equal(parameter, old)
            continue
        for channel, exact in zip(parameter, old, strict=True):
            scale = exact.abs().max() / 127
            steps = channel / scale if scale > 0 else channel
            assert (channel - exact).abs().max() <= scale * 0.5001
            assert (steps - steps.round()).abs().max() < 1e-4
            assert steps.abs().max() <= 127.0001
            assert len(channel.unique()) <= 255
    assert not torch.equal(model[0].weight, before[0].weight)


def test_float16_weights_are_numpys() -> None:
    model = nn.Linear(4, 2)
    weight = np.float32([[1 / 3, -1e-9, 70000, 0.1], [-70000, 65504, 6e-8, 1e-5]])
    model.weight.data = torch.from_numpy(weight.copy())
    round_weights_to_float16(model)
    wanted = np.clip(weight, -65504, 65504).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(model.weight.detach().numpy(), wanted)
    assert model.weight.dtype == torch.float32


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 400), elements=VALUES))
def test_rounded_tensors_have_256_levels(values: NDArray[np.float32]) -> None:
    rounded = round_to_256_steps(torch.from_numpy(values)).numpy()
    scale = (max(values.max(), 0) - min(values.min(), 0)) / 255
    # Half a step, and half a one more at the ends, which move with 0 onto the grid.
    assert np.abs(rounded - values).max() <= scale * 1.001 + 1e-30
    assert np.median(np.abs(rounded - values)) <= scale * 0.501 + 1e-30
    assert len(np.unique(rounded)) <= 256
    assert not rounded[values == 0].any()


def test_rounding_in_a_given_range_saturates() -> None:
    x = torch.tensor([-9.0, -1.0, -0.004, 0.0, 0.3, 1.55, 40.0])
    got = round_to_256_steps(x, -1.0, 1.55)
    torch.testing.assert_close(got, torch.tensor([-1.0, -1.0, 0.0, 0.0, 0.3, 1.55, 1.55]), rtol=0, atol=1e-6)
    assert round_to_256_steps(x, 0.5, 1.0).min() == 0, "the range has zero in it"
    assert round_to_256_steps(torch.tensor([1.0, math.inf])).isnan().all()


def test_ranges_are_those_of_all_inputs_and_begin_at_minus_3_before_hard_swishes_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.swish, self.identity = nn.Hardswish(), nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            twice = x * 2
            return self.swish(self.identity(twice)) + self.swish(x)

    inputs = {"input": np.float32([[-8, 1], [2, 3]])}
    net, one = (record(symbolic_trace(module), inputs).ranges for module in (Net(), nn.Identity()))
    assert one["input_1"] == (-8.0, 3.0)
    assert net["x"] == (-8.0, 3.0), "the product reads it too"
    assert net["mul"] == net["identity"] == (-3.0, 6.0)
    assert net["swish"] == (pytest.approx(-1 / 3, abs=0.05), 6.0) or net["swish"][0] == 0.0
    assert net["add"][1] == 9.0


def test_int8_is_imitated_in_the_ranges_of_the_calibration() -> None:
    graph = symbolic_trace(_layers())
    small, large = (torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * size for size in (1, 9))
    ranges = record(graph, {"input": small.numpy()}).ranges
    with torch.no_grad():
        own, same = EveryTensorRounded(graph)(small), EveryTensorRounded(graph, (), ranges)(small)
        fitted, beyond = EveryTensorRounded(graph)(large), EveryTensorRounded(graph, (), ranges)(large)
        exact = graph(large)
    torch.testing.assert_close(own, same, rtol=0, atol=0.05)
    error = [float((values - exact).norm() / exact.norm()) for values in (fitted, beyond)]
    assert error[0] < 0.03
    assert error[1] > 0.3, "what lies outside the ranges is lost"


@pytest.mark.parametrize("form", ["module", "function", "method"])
def test_a_relu_is_one_op_with_the_layer_or_sum_before_it(form: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.between, self.relu = nn.Conv2d(2, 2, 1), nn.Identity(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            def relu(y: torch.Tensor) -> torch.Tensor:
                return self.relu(y) if form == "module" else torch.relu(y) if form == "function" else y.relu()

            first = relu(self.between(self.conv(x)))
            pooled = relu(nn.functional.max_pool2d(x, 1))
            return relu(first + pooled)

    assert {node.name for node in fused_nodes(symbolic_trace(Net()))} == {"conv", "between", "add"}


def test_dynamic_rounds_the_inputs_of_dense_layers_image_by_image() -> None:
    model, x = _layers(), torch.randn(3, 2, 8, 8) * torch.tensor([1.0, 100.0, 0.01]).reshape(3, 1, 1, 1)
    seen: dict[int, torch.Tensor] = {}
    round_layer_inputs(model)
    for index in (0, 2, 5):
        model[index].register_forward_hook(lambda _m, inputs, _o, index=index: seen.__setitem__(index, inputs[0]))
    with torch.no_grad():
        model(x)
    for image, exact in zip(seen[0], x, strict=True):
        assert len(image.unique()) <= 128, "256 steps for 128 values, of its own range"
        assert (image - exact).abs().max() <= (exact.max() - exact.min()) / 255 * 0.501
        assert not torch.equal(image, exact)
    assert all(len(row.unique()) <= 256 for row in seen[5])
    assert torch.equal(seen[2], model[1](model[0](x))), "depthwise kernels keep float inputs"


def test_dynamic_rounds_the_inputs_of_grouped_convolutions_and_not_of_depthwise_ones() -> None:
    convs = nn.ModuleList([nn.Conv2d(6, 6, 3, groups=2), nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(1, 6, 3)])
    round_layer_inputs(convs)
    assert [bool(conv._forward_pre_hooks) for conv in convs] == [True, False, True]


def test_dynamic_leaves_layers_with_few_weights_in_float() -> None:
    x = torch.randn(2, 2, 8, 8)
    model, other = _layers(), _layers()
    round_weights_to_int8(model, least=109)  # weights of 2 x 6 x 9 = 108, 54, and 480 values
    round_layer_inputs(model, least=109)
    assert [torch.equal(model[i].weight, other[i].weight) for i in (0, 2, 5)] == [True, True, False]
    assert [bool(model[i]._forward_pre_hooks) for i in (0, 2, 5)] == [False, False, True]
    with torch.no_grad():
        assert not torch.equal(model(x), other(x))


def test_int8_rounds_every_tensor_but_one_that_is_fused_with_its_relu() -> None:
    model, x = _layers(), torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        got = EveryTensorRounded(symbolic_trace(model))(x)
        y = round_to_256_steps(model[1](model[0](round_to_256_steps(x))))
        y = round_to_256_steps(model[3](round_to_256_steps(model[2](y))))
        wanted = round_to_256_steps(model[5](round_to_256_steps(y.flatten(1))))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(got, model(x), rtol=0, atol=1e-4)


def test_noise_is_measured_on_each_format_and_leaves_the_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _layers()
    graph = symbolic_trace(_layers())
    monkeypatch.setattr(noise_module, "DYNAMIC_LEAST", 1)  # these layers are small
    inputs = np.random.default_rng(0).standard_normal((4, 2, 8, 8), dtype=np.float32)
    with torch.no_grad():
        outputs = model(torch.from_numpy(inputs)).numpy()
        exact = _layers().double()(torch.from_numpy(inputs).double()).numpy()
        halved = _layers()
        round_weights_to_float16(halved)
        half = halved(torch.from_numpy(inputs)).numpy()
    name = "logits" if outputs.ndim == 2 else "output"
    noise = measure_noise(model, graph, {"input": inputs}, {name: outputs}, {name: outputs})[name]
    assert noise.scale == pytest.approx(np.abs(exact).max(), rel=1e-6)
    assert 0 < noise.float32_max_abs < 1e-5
    assert noise.float32_max_abs == pytest.approx(np.abs(exact.astype(np.float32) - outputs).max(), abs=1e-12)
    assert noise.float16_relative_l2 == pytest.approx(np.linalg.norm(half - outputs) / np.linalg.norm(outputs))
    assert noise.float16_relative_l2 < noise.dynamic_relative_l2 < noise.int8_relative_l2 < 0.1
    for name, parameter in graph.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))
    assert model[0].weight.dtype == torch.float32
    assert not model[0]._forward_pre_hooks
