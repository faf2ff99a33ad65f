"""The range of each tensor of a float TFLite file, which int8 is made with.

TensorFlow Lite's calibrator reads what an op takes after the op has run. An op that works in place has put its result
there by then: in a residual network the branch gets the range of the sum, several times its own. So the file is run
here, by LiteRT, with every tensor kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.convert.graph import TFLiteGraph
from mobilekit.convert.ranges import Histogram

HARD_SWISH_ZERO = -3.0


def with_ranges(content: bytes, calibration: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return a float32 TFLite file with the range for each computed tensor in it that is best on calibration inputs.

    What only Hard-Swishes read begins at -3: they are 0 below it, so that nothing is lost. Inputs and outputs have
    their full range: outputs that are clipped would be equal where they differed.

    Args:
        content: The file, with one graph and a signature.
        calibration: float32 (N, ...) by the signature's names of the inputs, in the layouts of the file.
    """
    full = full_ranges(content, calibration)
    histograms = histograms_within(content, calibration, full)
    graph = TFLiteGraph(content)
    for index, (low, high) in (full | {index: one.best_range() for index, one in histograms.items()}).items():
        graph.set_range(index, low, high)
    return graph.content()


def full_ranges(content: bytes, calibration: Mapping[str, NDArray[np.float32]]) -> dict[int, tuple[float, float]]:
    """Return the lowest and highest value of each computed float tensor, by its number; see `with_ranges`."""
    graph = TFLiteGraph(content)
    floats = [index for index in graph.computed() if graph.is_float32(index)]
    extremes = _Extremes(graph, floats)
    _run(content, graph, calibration, floats, extremes.add)
    return extremes.ranges


def histograms_within(
    content: bytes, calibration: Mapping[str, NDArray[np.float32]], full: Mapping[int, tuple[float, float]]
) -> dict[int, Histogram]:
    """Return the values of each tensor between its lowest and highest, inputs and outputs left out."""
    graph = TFLiteGraph(content)
    histograms = {index: Histogram(*ends) for index, ends in full.items() if not graph.is_border(index)}
    _run(content, graph, calibration, list(histograms), lambda index, value: histograms[index].add(value))
    return histograms


class _Extremes:
    """The lowest and highest value of each tensor."""

    def __init__(self, graph: TFLiteGraph, tensors: Collection[int]) -> None:
        swished = {index for index in tensors if graph.is_read_by_hard_swishes_alone(index)}
        self.lowest = {index: HARD_SWISH_ZERO if index in swished else -np.inf for index in tensors}
        self.ranges = dict.fromkeys(tensors, (np.inf, -np.inf))

    def add(self, index: int, value: NDArray[np.float32]) -> None:
        low, high = self.ranges[index]
        value = np.nan_to_num(value)
        self.ranges[index] = (min(low, max(float(value.min()), self.lowest[index])), max(high, float(value.max())))


def _run(
    content: bytes,
    graph: TFLiteGraph,
    calibration: Mapping[str, NDArray[np.float32]],
    tensors: Collection[int],
    see: Callable[[int, NDArray[np.float32]], None],
) -> None:
    """Run the file on each input, and show the value of each of the tensors."""
    interpreter = _open(content)
    places = graph.signature_inputs()
    for i in range(len(next(iter(calibration.values())))):
        for name, array in calibration.items():
            interpreter.set_tensor(places[name], np.ascontiguousarray(array[i : i + 1]))
        interpreter.invoke()
        for index in tensors:
            see(index, interpreter.get_tensor(index))


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
