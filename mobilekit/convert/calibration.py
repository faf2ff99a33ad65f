"""The range of each tensor of a float TFLite file, which int8 is made with.

TensorFlow Lite's calibrator reads what an op takes after the op has run. An op that works in place has put its result
there by then: in a residual network the branch gets the range of the sum, several times its own. So the file is run
here, by LiteRT, with every tensor read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import batches
from mobilekit.artifacts.tflite import TFLiteGraph, pack, unpack
from mobilekit.convert.byte_inputs import LARGEST

HARD_SWISH_ZERO = -3.0


def with_ranges(content: bytes, calibration: Mapping[str, NDArray[np.float32]], pixels: Collection[str] = ()) -> bytes:
    """Return a float32 TFLite file with the range of each computed tensor on calibration inputs in it.

    What only Hard-Swishes read begins at -3: they are 0 below it, so that nothing is lost. Pixels have a step for each
    of the 256 values of a byte.

    Args:
        content: The file, with one graph and a signature.
        calibration: float32 (N, ...) by the signature's names of the inputs, in the layouts of the file.
        pixels: Names of the inputs that are a picture's bytes.
    """
    graph = TFLiteGraph(content)
    places = graph.signature_inputs()
    whole = {places[name]: (0.0, float(LARGEST)) for name in pixels}
    for index, (low, high) in (_measure(content, graph, calibration) | whole).items():
        if graph.is_read_by_hard_swishes_alone(index):
            low = max(low, HARD_SWISH_ZERO)
        graph.set_range(index, low, high)
    return graph.content()


def _measure(
    content: bytes, graph: TFLiteGraph, calibration: Mapping[str, NDArray[np.float32]]
) -> dict[int, tuple[float, float]]:
    """Return the lowest and highest value of each float tensor that the graph takes or makes, by its number."""
    places = graph.signature_inputs()
    floats = [index for index in graph.computed() if graph.is_float32(index)]
    made = [index for index in floats if index not in places.values()]
    interpreter = _open(content, made)
    ranges = dict.fromkeys(floats, (np.inf, -np.inf))
    size = len(interpreter.get_tensor(next(iter(places.values()))))
    for parts in zip(*(batches(array, size) for array in calibration.values()), strict=True):
        values = {places[name]: np.ascontiguousarray(part) for name, part in zip(calibration, parts, strict=True)}
        for index, value in values.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for index in floats:
            # A view of the interpreter's memory, which is let go before the next run.
            lowest, highest = _ends(values[index] if index in values else interpreter.tensor(index)())
            low, high = ranges[index]
            ranges[index] = (min(low, lowest), max(high, highest))
    return ranges


def _ends(value: NDArray[np.float32]) -> tuple[float, float]:
    """Return the lowest and highest value; infinite ones count as float32's largest, and what is no number as 0."""
    low, high = float(value.min()), float(value.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    finite = np.nan_to_num(value)
    return float(finite.min()), float(finite.max())


def _open(content: bytes, wanted: Sequence[int]) -> Any:
    """Open a file so that these tensors can be read after a run.

    A delegate keeps to itself what is no output: where XNNPACK, which takes a third of the time, computes a file with
    all of them as outputs, it does; else TFLite's own kernels do.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = {
        "model_content": content,
        "experimental_preserve_all_tensors": True,
        "experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }
    for options in ({"model_content": _with_outputs(content, wanted)}, plain):
        try:
            interpreter = Interpreter(num_threads=1, **options)
            interpreter.allocate_tensors()
            break
        except (RuntimeError, ValueError):
            if options is plain:
                raise
    return interpreter


def _with_outputs(content: bytes, wanted: Sequence[int]) -> bytes:
    """Return a file that gives these tensors as well."""
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.outputs = np.array([*graph.outputs, *(index for index in wanted if index not in graph.outputs)], np.int32)
    return pack(model)
