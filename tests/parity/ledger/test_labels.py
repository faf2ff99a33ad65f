"""Labels are counted, and held to what rounding may change of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.parity.ledger.device_limits import device_bounds
from mobilekit.parity.ledger.format_error import measure_format_errors
from mobilekit.parity.ledger.limits import bounds_for
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import FormatError, Metrics
from mobilekit.recipes.schema import Limit
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.stages import Stage

TRUTH = np.array([[1, 7, 3, 0], [2, 2, 2, 2]])


def test_labels_are_counted_and_not_subtracted() -> None:
    near, far = TRUTH.copy(), TRUTH.copy()
    near[0, 1], far[0, 1] = 6, -100
    for other in (near, far):
        found = compare(TRUTH, other)
        assert found.equal_labels == 7 / 8
        assert (found.mean_abs, found.relative_l2, found.max_abs, found.top1_agreement) == (1 / 8, 1 / 8, 1, 7 / 8)
        assert found.cosine == 3 / 4
        assert found.finite
    assert compare(TRUTH, TRUTH).equal_labels == 1
    assert compare(TRUTH, near.astype(np.float32)).equal_labels == 7 / 8, "a file that holds them as floats"
    assert compare(TRUTH.astype(np.float32), near).equal_labels is None, "quantities"


def test_classes_that_a_net_gives_itself_are_held_to_those_that_are_known() -> None:
    assert compare(TRUTH[:, :1], TRUTH[:, :1], np.array([1, 0])).top1 == 0.5
    assert compare(TRUTH, TRUTH, np.array([1, 0])).top1 is None


def test_zeros_are_equal_to_zeros() -> None:
    nothing = np.zeros((2, 3), np.float32)
    found = compare(nothing, nothing)
    assert (found.relative_l2, found.cosine, found.max_abs) == (0, 1, 0)
    other = compare(nothing, nothing + 1)
    assert (other.relative_l2, other.cosine) == (math.inf, -1)


def error(float32: float, float16: float, dynamic: float, int8: float, labels: int | None = 100) -> FormatError:
    return FormatError(1.0, float32, 4.0, float16, dynamic, int8, int8, labels=labels)


@pytest.mark.parametrize(
    ("stage", "changed", "least"),
    [
        (Stage.ONNX, (0.0, 0.0, 0.5, 0.5), 1.0),
        (Stage.ONNX, (0.01, 0.02, 0.5, 0.5), 0.92),  # 8 x .01
        (Stage.ONNX, (0.001, 0.02, 0.5, 0.5), 0.98),  # what float16 changes
        (Stage.TFLITE_FLOAT16, (0.0, 0.02, 0.01, 0.5), 0.96),  # 2 x .02
        (Stage.TFLITE_FLOAT16, (0.0, 0.0, 0.01, 0.5), 0.99),  # what 8-bit weights change
        (Stage.TFLITE_DYNAMIC, (0.0, 0.0, 0.0, 0.5), 0.9),  # 1/sqrt(100)
        (Stage.TFLITE_INT8, (0.0, 0.0, 0.0, 0.1), 0.7),  # 2 x .1 + 1/sqrt(100)
        (Stage.TFLITE_INT8, (0.0, 0.0, 0.0, 0.9), 0.0),
    ],
)
def test_limits(stage: Stage, changed: tuple[float, float, float, float], least: float) -> None:
    (bound,) = bounds_for(stage, error(*changed), 0.0, None)
    assert bound.metric == "equal_labels"
    assert bound.limit == pytest.approx(least)
    assert bound.is_lax is (least < 0.5)
    assert bounds_for(stage, error(*changed), None, None) == (), "a rewrite needs retraining: nothing to derive"


def test_drift_is_allowed_and_a_recipe_may_say_more() -> None:
    ours = error(0.0, 0.0, 0.0, 0.1)
    (bound,) = bounds_for(Stage.ONNX, ours, 0.03, None)
    assert bound.limit == pytest.approx(0.97)
    (bound,) = bounds_for(Stage.TFLITE_INT8, ours, 0.0, Limit(equal_labels=0.9, relative_l2=1e-9))
    assert (bound.metric, bound.limit) == ("equal_labels", 0.9), "limits of quantities are none of labels"
    quantities = bounds_for(Stage.TFLITE_INT8, error(0.0, 0.0, 0.0, 0.1, None), 0.0, Limit(equal_labels=0.9))
    assert "equal_labels" not in [bound.metric for bound in quantities]


def test_a_device_may_round_half_as_many_the_other_way() -> None:
    (bound,) = device_bounds(Stage.TFLITE_INT8, error(0.0, 0.0, 0.0, 0.1))
    assert bound.limit == pytest.approx(1 - 0.1 - 0.1)
    (bound,) = device_bounds(Stage.TFLITE_FLOAT32, error(0.0, 0.02, 0.0, 0.1))
    assert bound.limit == pytest.approx(0.98)


class Threshold(nn.Module):
    """Which of 3 x 64 x 64 values are above 0, next to the values."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.conv(x)
        return {"mask": y > 0, "best": y.argmax(1), "values": y}


def test_formats_are_measured_by_the_share_that_they_change() -> None:
    """The oracle rounds the weights, and counts."""
    model = Threshold().eval()
    inputs = {"input": np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)}
    graph = trace(model, {"input": torch.from_numpy(inputs["input"][:1])})
    before = TorchRuntime(model).run(inputs)
    assert {name: array.dtype.name for name, array in before.items()} == {
        "mask": "int64",
        "best": "int64",
        "values": "float32",
    }
    errors = measure_format_errors(model, graph, inputs, before, TorchRuntime(graph).run(inputs))
    assert [errors[name].labels for name in ("mask", "best", "values")] == [65536, 8192, None]
    with torch.no_grad():
        model.conv.weight.copy_(model.conv.weight.half().float())
        assert model.conv.bias is not None
        model.conv.bias.copy_(model.conv.bias.half().float())
        rounded = model(torch.from_numpy(inputs["input"]))
    for name in ("mask", "best"):
        share = float((rounded[name].numpy() != before[name]).mean())
        assert 0 < share < 0.01
        assert errors[name].float16_relative_l2 == share
        assert errors[name].stable == {}
        assert share < errors[name].int8_relative_l2 < 0.1


def test_ledgers_without_labels_are_read() -> None:
    content = Metrics(0.0, 0.0, 0.0, 1.0, None, 1.0).to_json()
    del content["equal_labels"]
    assert Metrics.from_json(content).equal_labels is None
