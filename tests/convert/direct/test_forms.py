"""Ops in other forms give the same values to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from mobilekit.artifacts.tflite import constant, unpack
from mobilekit.convert.direct.forms import with_known_forms
from mobilekit.convert.direct.transposes import with_fewer_transposes
from tests.tflite_net import TO_NCHW, TO_NHWC, Net, counts, normal, results

IMAGE = normal(1, 4, 5, 6)


@pytest.mark.parametrize(("value", "kind"), [(0.0, "PAD"), (-2.5, "PADV2")])
def test_padding(value: float, kind: str) -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 6])
    rows = net.constant(np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32))
    padded = net.op(
        "PADV2", [x, rows, net.constant(np.full(1, value, np.float32))], net.tensor("y", [1, 5, 7, 6]), "PadV2Options"
    )
    before = net.content(x, padded)
    after = with_known_forms(before)
    assert counts(after) == {kind: 1}
    model = unpack(after)
    for number in model.subgraphs[0].operators[0].inputs[2:]:
        held = constant(model, model.subgraphs[0].tensors[int(number)])
        assert held is not None and held.shape == ()
    np.testing.assert_array_equal(results(after, IMAGE)[0], results(before, IMAGE)[0])


@pytest.mark.parametrize("shape", [(1, 1, 1, 6), (1, 1, 6)])
def test_slopes_have_no_axis_for_the_batch(shape: tuple[int, ...]) -> None:
    net = Net()
    x, slopes = net.tensor("x", [1, 4, 5, 6]), normal(*shape)
    before = net.content(x, net.op("PRELU", [x, net.constant(slopes)], net.tensor("y", [1, 4, 5, 6])))
    after = with_known_forms(before)
    model = unpack(after)
    [op] = model.subgraphs[0].operators
    held = constant(model, model.subgraphs[0].tensors[int(op.inputs[1])])
    assert held is not None and held.shape == (1, 1, 6)
    np.testing.assert_array_equal(results(after, IMAGE)[0], results(before, IMAGE)[0])
    np.testing.assert_allclose(results(after, IMAGE)[0], np.where(IMAGE < 0, IMAGE * slopes, IMAGE), rtol=1e-6)


@pytest.mark.parametrize(
    ("order", "is_shuffle"), [([0, 3, 1, 4, 2, 5], True), ([0, 2, 4, 1, 3, 5], True), ([0, 3, 1, 4, 5, 2], False)]
)
def test_a_shuffle_of_channels(order: list[int], is_shuffle: bool) -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 6])
    y = net.transposed(x, TO_NCHW, [1, 6, 4, 5], "y")
    gathered = net.tensor("gathered", [1, 6, 4, 5])
    net.op("GATHER", [y, net.constant(np.array(order, np.int32))], gathered, "GatherOptions", axis=1)
    before = net.content(x, net.transposed(gathered, TO_NHWC, [1, 4, 5, 6], "out"))
    turned = with_fewer_transposes(before)
    after = with_known_forms(turned)
    assert counts(turned) == {"GATHER": 1}
    assert counts(after) == ({"RESHAPE": 2, "TRANSPOSE": 1} if is_shuffle else {"GATHER": 1})
    for content in (before, turned, after):
        np.testing.assert_array_equal(results(content, IMAGE)[0], IMAGE[..., order])


@pytest.mark.parametrize("keeps_axes", [False, True])
def test_rows_that_are_flattened_for_a_product(keeps_axes: bool) -> None:
    net = Net()
    x = net.tensor("x", [1, 1, 1, 6])
    flat = net.tensor("flat", [1, 6])
    net.op("RESHAPE", [x, net.constant(np.array([1, 6], np.int32))], flat, "ReshapeOptions", newShape=[1, 6])
    taken = [flat, net.constant(normal(3, 6)), net.constant(normal(3))]
    options = {"keepNumDims": keeps_axes}
    made = net.op("FULLY_CONNECTED", taken, net.tensor("y", [1, 3]), "FullyConnectedOptions", **options)
    before = net.content(x, made)
    after = with_known_forms(before)
    assert counts(after)["RESHAPE"] == keeps_axes
    row = normal(1, 1, 1, 6)
    np.testing.assert_array_equal(results(after, row)[0], results(before, row)[0])
