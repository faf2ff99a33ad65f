"""Versions of ops, as TensorFlow Lite's converter writes them."""

from __future__ import annotations

from typing import Any

import pytest

from mobilekit.artifacts.tflite import kinds, unpack
from mobilekit.convert.direct.versions import set_versions
from tests.tflite_net import Net, normal

Shapes = list[list[int]]
MAP, KERNELS, DEPTHWISE, NONE = [1, 8, 8, 4], [4, 3, 3, 4], [1, 3, 3, 4], [4]
CUBE = [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "shapes", "options", "version"),
    [
        ("CONV_2D", [MAP, KERNELS, NONE], {"dilationWFactor": 2, "dilationHFactor": 2}, 1),
        ("CONV_2D", [MAP, [4, 3, 3, 2], NONE], {}, 6),
        ("DEPTHWISE_CONV_2D", [MAP, DEPTHWISE, NONE], {}, 1),
        ("DEPTHWISE_CONV_2D", [MAP, DEPTHWISE, NONE], {"dilationHFactor": 2}, 2),
        ("FULLY_CONNECTED", [[1, 4], [4, 4], NONE], {}, 1),
        ("FULLY_CONNECTED", [[1, 3, 4], [4, 4], NONE], {"keepNumDims": True}, 5),
        ("FULLY_CONNECTED", [[1, 4], [4, 4]], {}, 6),
        ("RESIZE_BILINEAR", [MAP, [2]], {"alignCorners": True}, 1),
        ("RESIZE_BILINEAR", [MAP, [2]], {"halfPixelCenters": True}, 3),
        ("TRANSPOSE_CONV", [[4], KERNELS, MAP], {}, 1),
        ("TRANSPOSE_CONV", [[4], KERNELS, MAP, NONE], {}, 3),
        ("TRANSPOSE_CONV", [[4], KERNELS, MAP, NONE], {"fusedActivationFunction": 1}, 4),
        ("BATCH_MATMUL", [MAP, MAP], {}, 1),
        ("SUB", [CUBE, CUBE], {}, 1),
        ("SUB", [CUBE, [5]], {}, 3),
        ("DIV", [[5], CUBE], {}, 2),
        ("ADD", [CUBE, [5]], {}, 1),
        ("TRANSPOSE", [CUBE, [5]], {}, 4),
        ("TRANSPOSE", [[1, *CUBE], [6]], {}, 6),
        ("BROADCAST_TO", [MAP, [4]], {}, 2),
        ("RELU", [MAP], {}, 1),
    ],
)
def test_the_version_is_that_of_the_converter(kind: str, shapes: Shapes, options: dict[str, Any], version: int) -> None:
    assert versions_of((kind, shapes, options)) == {kind: version}


def test_of_two_ops_of_a_kind_the_later_version_counts() -> None:
    old, new = (("FULLY_CONNECTED", [[1, 3, 4], [4, 4], NONE], {"keepNumDims": one}) for one in (False, True))
    assert versions_of(new, old) == {"FULLY_CONNECTED": 5}


_OPTIONS = {
    "BROADCAST_TO": "BroadcastToOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
}


def versions_of(*ops: tuple[str, Shapes, dict[str, Any]]) -> dict[str, int]:
    net = Net()
    x = net.tensor("x", [1])
    for number, (kind, shapes, options) in enumerate(ops):
        taken = [net.constant(normal(*shape)) for shape in shapes]
        net.op(kind, taken, net.tensor(f"made{number}", [1]), _OPTIONS.get(kind, ""), **options)
    model = unpack(net.content(x, x))
    for op in model.subgraphs[0].operators:
        op.opcodeIndex = 0
    model.operatorCodes = model.operatorCodes[:1]
    set_versions(model)
    return dict(zip(kinds(model), (code.version for code in model.operatorCodes), strict=True))
