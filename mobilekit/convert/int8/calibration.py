"""What the tensors of a float TFLite file hold on calibration inputs, and the file that int8 is made of with it.

TensorFlow Lite's calibrator reads what an op takes after the op has run. An op that works in place has put its result
there by then: in a residual network the branch gets the range of the sum, several times its own. So the file is run
here, by LiteRT, with every tensor read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import batches
from mobilekit.artifacts.tflite import TFLiteGraph, pack, unpack
from mobilekit.convert.byte_inputs import LARGEST
from mobilekit.convert.int8.bias import correct_biases, inputs_of_layers
from mobilekit.convert.int8.ranges import WHOLE, K, Range, Seen, is_kept_back

HARD_SWISH_ZERO = -3.0

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Observed(Generic[K]):
    """What a float32 file did on calibration inputs; tensors by their numbers in TFLite, and by their names in ONNX."""

    seen: dict[K, Seen]
    """Each float32 tensor that the graph takes or makes."""
    means: dict[K, NDArray[np.float64]]
    """Of what the layers take whose biases are to be corrected, over all runs, in the tensor's shape."""
    runs: int = 0
    inputs: list[dict[K, NDArray[np.float32]]] = field(default_factory=list)
    """Of the runs that are kept back."""
    outputs: list[dict[K, NDArray[np.float32]]] = field(default_factory=list)
    """Likewise, those of float32 that are the model's own."""
    places: tuple[int, ...] = ()
    """Where these are among the file's outputs."""

    def whole_ranges(self) -> dict[K, Range]:
        """Return the range of each tensor from the lowest to the highest value."""
        return {index: one.fitted(WHOLE) for index, one in self.seen.items()}


def observe(content: bytes, calibration: Arrays, kept: Collection[str] = ()) -> Observed[int]:
    """Run a float32 TFLite file on calibration inputs.

    Args:
        content: The file, with one graph and a signature.
        calibration: float32 (N, ...) by the signature's names of the inputs, in the layouts of the file.
        kept: Names of tensors that stay in float.
    """
    graph = TFLiteGraph(content)
    places, layers = graph.signature_inputs(), inputs_of_layers(graph, kept)
    seen = {index: Seen() for index in graph.computed() if graph.is_float32(index)}
    sums = {index: np.zeros(graph.shape(index)) for index in seen.keys() & layers}
    # Values inside, in a copy that shows them, are no outputs to judge by: the copy would get other ranges.
    own = {index: place for place, index in graph.own_outputs().items() if index in seen}
    interpreter = _open(content, [index for index in seen if index not in places.values()])
    size = len(interpreter.get_tensor(next(iter(places.values()))))
    inputs: list[dict[int, NDArray[np.float32]]] = []
    answers: list[dict[int, NDArray[np.float32]]] = []
    run = 0
    for parts in zip(*(batches(array, size) for array in calibration.values()), strict=True):
        values = {places[name]: np.ascontiguousarray(part) for name, part in zip(calibration, parts, strict=True)}
        for index, value in values.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for index, one in seen.items():
            # A view of the interpreter's memory, which is let go before the next run.
            value = values[index] if index in values else interpreter.tensor(index)()
            one.add(value)
            if index in sums:
                sums[index] += value
        del value
        if is_kept_back(run):
            inputs.append(values)
            answers.append({index: np.atleast_1d(interpreter.get_tensor(index)) for index in own})
        run += 1
    return Observed(
        seen, {index: total / run for index, total in sums.items()}, run, inputs, answers, tuple(own.values())
    )


def with_ranges(content: bytes, ranges: Mapping[int, Range], pixels: Collection[str] = ()) -> bytes:
    """Return a float32 TFLite file with the range that int8 is to have of each of these tensors, by their numbers.

    What only Hard-Swishes read begins at -3: they are 0 below it, so that nothing is lost. Pixels have a step for each
    of the 256 values of a byte.

    Args:
        content: The file, with one graph and a signature.
        ranges: The lowest and the highest value.
        pixels: Names of the inputs that are a picture's bytes.
    """
    graph = TFLiteGraph(content)
    places = graph.signature_inputs()
    for index, (low, high) in {**ranges, **{places[name]: (0.0, float(LARGEST)) for name in pixels}}.items():
        if graph.is_read_by_hard_swishes_alone(index):
            low = max(low, HARD_SWISH_ZERO)
        graph.set_range(index, low, high)
    return graph.content()


def with_corrected_biases(content: bytes, observed: Observed[int], kept: Collection[str] = ()) -> bytes:
    """Return a float32 TFLite file whose biases make up for what rounding the weights takes; see `bias`."""
    graph = TFLiteGraph(content)
    correct_biases(graph, observed.means, kept)
    return graph.content()


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
