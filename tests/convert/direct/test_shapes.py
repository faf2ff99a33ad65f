"""Shapes that are said to be unknown."""

from __future__ import annotations

import numpy as np

from mobilekit.artifacts.tflite import constant, pack, unpack
from mobilekit.convert.direct.shapes import with_known_shapes
from tests.tflite_net import Net, normal, results


def test_a_slice_has_its_sizes_and_no_tensor_an_unknown_batch() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    numbers = [net.constant(np.array(each, np.int32)) for each in ([0, 1, 0, 1], [-1, 2, -1, -1])]
    model = unpack(net.content(x, net.op("SLICE", [x, *numbers], net.tensor("out", [1, 2, 5, 2]), "SliceOptions")))
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    before = pack(model)
    after = with_known_shapes(before)
    graph = unpack(after).subgraphs[0]
    assert all(tensor.shapeSignature is None or not len(tensor.shapeSignature) for tensor in graph.tensors)
    sizes = constant(unpack(after), graph.tensors[int(graph.operators[0].inputs[2])])
    assert sizes is not None and sizes.tolist() == [1, 2, 5, 2]
    image = normal(1, 4, 5, 3)
    np.testing.assert_array_equal(results(after, image)[0], image[:, 1:3, :, 1:])
    np.testing.assert_array_equal(results(after, image)[0], results(before, image)[0])
