"""What the tensors of a float TFLite file hold on calibration inputs, and the file that int8 is made of with it.

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
from mobilekit.convert.bias import correct_biases, inputs_of_layers
from mobilekit.convert.byte_inputs import LARGEST
from mobilekit.convert.int8_ranges import Seen, choose_rules

HARD_SWISH_ZERO = -3.0

Arrays = Mapping[str, NDArray[np.float32]]


def calibrated(
    content: bytes,
    calibration: Arrays,
    pixels: Collection[str] = (),
    kept: Collection[str] = (),
    *,
    chooses_ranges: bool = True,
    corrects_biases: bool = True,
) -> bytes:
    """Return a float32 TFLite file that is ready for the quantizer: with a range for each tensor, and biases corrected.

    What only Hard-Swishes read begins at -3: they are 0 below it, so that nothing is lost. Pixels have a step for each
    of the 256 values of a byte.

    Args:
        content: The file, with one graph and a signature.
        calibration: float32 (N, ...) by the signature's names of the inputs, in the layouts of the file.
        pixels: Names of the inputs that are a picture's bytes.
        kept: Names of tensors that stay in float.
        chooses_ranges: By unseen pictures (`int8_ranges`); else from the lowest to the highest value.
        corrects_biases: By what rounding the weights takes from them (`bias`).
    """
    graph = TFLiteGraph(content)
    places = graph.signature_inputs()
    layers = inputs_of_layers(graph, kept) if corrects_biases else set[int]()
    seen, means = _observe(content, graph, calibration, layers)
    rules = choose_rules(graph, seen) if chooses_ranges else dict.fromkeys(seen, "min-max")
    whole = {places[name]: (0.0, float(LARGEST)) for name in pixels}
    for index, (low, high) in ({index: one.fitted(rules[index]) for index, one in seen.items()} | whole).items():
        if graph.is_read_by_hard_swishes_alone(index):
            low = max(low, HARD_SWISH_ZERO)
        graph.set_range(index, low, high)
    if corrects_biases:
        correct_biases(graph, means, kept)
    return graph.content()


def _observe(
    content: bytes, graph: TFLiteGraph, calibration: Arrays, wanted: Collection[int]
) -> tuple[dict[int, Seen], dict[int, NDArray[np.float64]]]:
    """Return what each float tensor that the graph takes or makes held, and the mean of those wanted, by number."""
    places = graph.signature_inputs()
    seen = {index: Seen() for index in graph.computed() if graph.is_float32(index)}
    sums = {index: np.zeros(graph.shape(index)) for index in seen.keys() & wanted}
    interpreter = _open(content, [index for index in seen if index not in places.values()])
    size, runs = len(interpreter.get_tensor(next(iter(places.values())))), 0
    for parts in zip(*(batches(array, size) for array in calibration.values()), strict=True):
        values = {places[name]: np.ascontiguousarray(part) for name, part in zip(calibration, parts, strict=True)}
        for index, value in values.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        runs += 1
        for index, one in seen.items():
            # A view of the interpreter's memory, which is let go before the next run.
            value = values[index] if index in values else interpreter.tensor(index)()
            one.add(value)
            if index in sums:
                sums[index] += value
        del value
    return seen, {index: total / runs for index, total in sums.items()}


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
