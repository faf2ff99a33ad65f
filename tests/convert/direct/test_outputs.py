"""Maps arrive as NHWC, under the same name and with the same values to the bit."""

from __future__ import annotations

import numpy as np

from mobilekit.artifacts.tflite import TFLiteGraph, pack, schema, unpack
from mobilekit.convert.direct.outputs import with_maps_as_they_are
from tests.tflite_net import TO_NCHW, Net, counts, normal, results


def with_signature(content: bytes, outputs: list[str]) -> bytes:
    model = unpack(content)
    signature, graph = schema().SignatureDefT(), model.subgraphs[0]
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = ([_entry("x", int(graph.inputs[0]))], [])
    signature.outputs = [_entry(name, int(number)) for name, number in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    return pack(model)


def _entry(name: str, number: int) -> object:
    entry = schema().TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), number
    return entry


def test_a_map_is_given_before_its_transpose_which_goes_where_nothing_reads_it() -> None:
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    lone, read = (net.op(kind, [x], net.tensor(kind, [1, 4, 5, 3])) for kind in ("RELU", "TANH"))
    first, second = (net.transposed(each, TO_NCHW, [1, 3, 4, 5], f"of {each}") for each in (lone, read))
    exp = net.op("EXP", [second], net.tensor("exp", [1, 3, 4, 5]))
    before = with_signature(net.content(x, first, second, exp), ["first", "second", "exp"])
    after = with_maps_as_they_are(before)
    assert (counts(before)["TRANSPOSE"], counts(after)["TRANSPOSE"]) == (2, 1)
    assert TFLiteGraph(after).names() == (["x"], ["first", "second", "exp"])
    image = normal(1, 4, 5, 3)
    right, made = results(before, image), results(after, image)
    for old, new in zip(right[:2], made[:2], strict=True):
        np.testing.assert_array_equal(new, old.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(made[2], right[2])


def test_what_has_a_name_of_its_own_stays_under_it() -> None:
    """The map before a TRANSPOSE is an output, or the input, or the order is another."""
    net = Net()
    x = net.tensor("x", [1, 4, 5, 3])
    relu, other = (net.op(kind, [x], net.tensor(kind, [1, 4, 5, 3])) for kind in ("RELU", "TANH"))
    turned = [net.transposed(each, TO_NCHW, [1, 3, 4, 5], f"of {each}") for each in (relu, x)]
    turned.append(net.transposed(other, [0, 1, 3, 2], [1, 4, 3, 5], "rows"))
    before = with_signature(net.content(x, relu, *turned), ["map", "moved", "input", "rows"])
    assert [list(one.shape) for one in results(with_maps_as_they_are(before), normal(1, 4, 5, 3))] == [
        [1, 4, 5, 3],
        [1, 3, 4, 5],
        [1, 3, 4, 5],
        [1, 4, 3, 5],
    ]
    assert counts(with_maps_as_they_are(before)) == counts(before)
