"""Maps that a TFLite graph gives: NHWC, as it takes them.

onnx2tf's direct writer turns its maps for some outputs, to ONNX's order of axes. Files by Keras give maps as they are;
the layout of each output is told beside the files.
"""

from __future__ import annotations

import numpy as np

from mobilekit.artifacts.tflite import constant, kinds, pack, unpack

_TO_NCHW = [0, 3, 1, 2]


def with_maps_as_they_are(content: bytes) -> bytes:
    """Return a file whose outputs are the maps before the TRANSPOSEs from NHWC to NCHW that made its outputs.

    An output stays NCHW where its map is an input or another output.

    Args:
        content: The file, with one graph and at most one signature.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    found = kinds(model)
    makers = {int(made): op for op in graph.operators for made in op.outputs}
    outputs = list(map(int, graph.outputs))
    for place, made in enumerate(outputs):
        op = makers.get(made)
        if op is None or found[op.opcodeIndex] != "TRANSPOSE":
            continue
        order, source = constant(model, graph.tensors[int(op.inputs[1])]), int(op.inputs[0])
        if order is None or order.tolist() != _TO_NCHW or source not in makers or source in outputs:
            continue
        outputs[place] = source
        for signature in model.signatureDefs or []:
            for one in signature.outputs:
                one.tensorIndex = source if one.tensorIndex == made else one.tensorIndex
        if not any(made in each.inputs for each in graph.operators):
            graph.operators.remove(op)
    graph.outputs = np.array(outputs, np.int32)
    return pack(model)
