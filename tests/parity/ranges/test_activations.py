"""What is recorded of steps is the same however the calibration inputs are split into batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.artifacts import pytorch
from mobilekit.parity.ranges.activations import Activation, Recording, record
from mobilekit.parity.ranges.float16 import Norm, Quotient, probes
from mobilekit.rewrites.fx.graph import trace

INPUTS = np.random.default_rng(0).standard_normal((11, 3, 4, 5), dtype=np.float32)
SIZE = INPUTS[0].size
BATCHES = pytest.mark.parametrize("batch", [1, 2, 4, 11])


class Net(nn.Module):
    """Every kind of step that is looked at closer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(5, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moved = x * 3 - 1
        ratio = moved / (x.abs() + 0.01)
        return self.norm(x) + ratio + F.hardswish(x * 4)


@pytest.fixture
def graph() -> GraphModule:
    return trace(Net().eval(), {"input": torch.from_numpy(INPUTS[:1])})


@pytest.fixture(autouse=True)
def few_at_once(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "_VALUES_A_BATCH", batch * SIZE)


def made_by(recording: Recording, name: str) -> Activation:
    (found,) = [seen for node, seen in recording.activations.items() if node.name == name]
    return found


def ends(array: NDArray[np.float32], *axes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return array.min(axes), array.max(axes)


@BATCHES
def test_ends_are_those_of_each_input_and_of_each_channel(graph: GraphModule) -> None:
    recording = record(graph, {"input": INPUTS})
    seen, values = made_by(recording, "sub"), INPUTS * np.float32(3) - np.float32(1)
    assert (recording.count, seen.shape[1:]) == (11, (3, 4, 5))
    for got, wanted in zip((seen.lows, seen.highs), ends(values, 1, 2, 3), strict=True):
        np.testing.assert_array_equal(torch.cat(got).numpy(), wanted)
    assert seen.channel_low is not None
    assert seen.channel_high is not None
    for one, wanted in zip((seen.channel_low, seen.channel_high), ends(values, 0, 2, 3), strict=True):
        np.testing.assert_array_equal(one.numpy(), wanted)
    assert (seen.low, seen.high) == (values.min(), values.max())
    assert seen.largest == np.abs(values).max()
    np.testing.assert_array_equal(np.sort(seen.sample.numpy()), np.sort(values.ravel()))  # all: they are few


@BATCHES
def test_ranges_hold_zero_and_begin_at_minus_3_before_a_hard_swish(graph: GraphModule) -> None:
    ranges = record(graph, {"input": INPUTS}).ranges
    assert ranges["sub"] == (INPUTS.min() * np.float32(3) - 1, INPUTS.max() * np.float32(3) - 1)
    assert ranges["add"] == (0.0, np.abs(INPUTS).max() + np.float32(0.01))
    swish = torch.ops.aten.hardswish.default
    (swished,) = [node.all_input_nodes[0].name for node in graph.graph.nodes if node.target is swish]
    assert INPUTS.min() * 4 < -3
    assert ranges[swished] == (-3.0, INPUTS.max() * 4)


@BATCHES
def test_probes_keep_the_worst_of_all_batches(graph: GraphModule) -> None:
    looking = probes(graph)
    record(graph, {"input": INPUTS}, looking)
    (quotient,) = [probe for probe in looking if isinstance(probe, Quotient)]
    assert (quotient.count, quotient.least) == (INPUTS.size, np.abs(INPUTS).min() + np.float32(0.01))
    (norm,) = [probe for probe in looking if isinstance(probe, Norm)]
    variances = INPUTS.astype(np.float64).var(-1)
    assert norm.least == pytest.approx(variances.min(), rel=1e-5)
    assert norm.largest_sum == pytest.approx(variances.max() * 5, rel=1e-5)


@BATCHES
def test_a_step_between_inputs_is_recorded_in_batches_that_do_not_come_out_even(batch: int) -> None:
    """A product of all inputs with all: the last batch has another number of columns than those before."""

    class Between(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = x.flatten(1)
            return (flat @ flat.T).softmax(-1) @ flat

    recording = record(trace(Between().eval(), {"input": torch.from_numpy(INPUTS[:1])}), {"input": INPUTS})
    product = next(each for node, each in recording.activations.items() if "matmul" in node.name)
    assert len(torch.cat(product.lows)) == len(INPUTS)
    assert product.high == pytest.approx(max(float(np.square(each).sum()) for each in INPUTS), rel=1e-5)
