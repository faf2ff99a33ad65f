"""The range of each tensor of a float TFLite file, which int8 is made with.

TensorFlow Lite's calibrator reads what an op takes after the op has run. An op that works in place has put its result
there by then: in a residual network the branch gets the range of the sum, several times its own. So the file is run
here, by LiteRT, with every tensor kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph

HARD_SWISH_ZERO = -3.0


def with_ranges(content: bytes, calibration: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return a float32 TFLite file with the range of each computed tensor on calibration inputs in it.

    What only Hard-Swishes read begins at -3: they are 0 below it, so that nothing is lost.

    Args:
        content: The file, with one graph and a signature.
        calibration: float32 (N, ...) by the signature's names of the inputs, in the layouts of the file.
    """
    graph = TFLiteGraph(content)
    for index, (low, high) in _measure(content, graph, calibration).items():
        if graph.is_read_by_hard_swishes_alone(index):
            low = max(low, HARD_SWISH_ZERO)
        graph.set_range(index, low, high)
    return graph.content()


def _measure(
    content: bytes, graph: TFLiteGraph, calibration: Mapping[str, NDArray[np.float32]]
) -> dict[int, tuple[float, float]]:
    """Return the lowest and highest value of each float tensor that the graph takes or makes, by its number."""
    interpreter = _open(content)
    places = graph.signature_inputs()
    floats = [index for index in graph.computed() if graph.is_float32(index)]
    ranges = dict.fromkeys(floats, (np.inf, -np.inf))
    for i in range(len(next(iter(calibration.values())))):
        for name, array in calibration.items():
            interpreter.set_tensor(places[name], np.ascontiguousarray(array[i : i + 1]))
        interpreter.invoke()
        for index, (low, high) in ranges.items():
            value = np.nan_to_num(interpreter.get_tensor(index))
            ranges[index] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges


def _open(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=content,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,  # a delegate keeps its tensors
    )
    interpreter.allocate_tensors()
    return interpreter
