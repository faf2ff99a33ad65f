"""Equal constants are one."""

from __future__ import annotations

import numpy as np

from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.convert.direct.constants import share_constants
from mobilekit.convert.unread import drop_unread
from tests.tflite_net import Net, normal, results


def test_equal_constants_are_one_and_those_of_another_shape_stay() -> None:
    net = Net()
    x, values = net.tensor("x", [1, 512]), normal(1, 512)
    made = x
    for place, constant in enumerate((values, values.copy(), values.reshape(512), values + 1)):
        made = net.op("ADD", [made, net.constant(constant)], net.tensor(f"sum{place}", [1, 512]), "AddOptions")
    before = net.content(x, made)
    model = unpack(before)
    share_constants(model)
    drop_unread(model)
    after = pack(model)
    taken = [int(op.inputs[1]) for op in unpack(after).subgraphs[0].operators]
    assert taken[0] == taken[1]
    assert len(set(taken)) == 3
    assert len(before) - len(after) > values.nbytes - 100
    np.testing.assert_array_equal(results(after, normal(1, 512))[0], results(before, normal(1, 512))[0])


def test_weights_are_not_shared_with_what_is_added() -> None:
    net = Net()
    x, zeros = net.tensor("x", [1, 4]), np.zeros(4, np.float32)
    inputs = [x, net.constant(normal(4, 4)), net.constant(zeros)]
    product = net.op("FULLY_CONNECTED", inputs, net.tensor("product", [1, 4]), "FullyConnectedOptions")
    added = net.op("ADD", [product, net.constant(zeros)], net.tensor("out", [1, 4]), "AddOptions")
    model = unpack(net.content(x, added))
    share_constants(model)
    first, second = model.subgraphs[0].operators
    assert int(first.inputs[2]) != int(second.inputs[1])
