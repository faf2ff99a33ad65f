"""The task that makes an int8 or int16x8 TFLite file of a float32 one, with TensorFlow Lite's quantizer."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.float_regions import leading_to, tensors_to_keep
from mobilekit.artifacts.tflite import TFLiteGraph, ordered
from mobilekit.convert.byte_inputs import with_bytes, without_bytes
from mobilekit.convert.installed import writes_directly
from mobilekit.convert.int8.calibration import Observed, observe, with_corrected_biases, with_ranges
from mobilekit.convert.int8.float_outputs import kept_outputs, unlike_outputs, with_float_outputs
from mobilekit.convert.int8.int16 import in_int16, without_int16
from mobilekit.convert.int8.joined_sums import with_joined_sums
from mobilekit.convert.int8.narrow import wide_enough
from mobilekit.convert.int8.own_scales import with_copies
from mobilekit.convert.int8.ranges import WHOLE, with_headroom
from mobilekit.convert.int8.roundings import without_roundings
from mobilekit.convert.int8.trial import CHOSEN, Ranges, ranges_of
from mobilekit.convert.opening import open_once
from mobilekit.convert.outer_ends import with_outer_ends
from mobilekit.store.worker_loop import named

_CONVERTER, _MODULE = "tensorflow.compiler.mlir.lite.python", "_pywrap_converter_api"
_FLOAT32, _INT8 = 1, 9
"""FLOAT and QUANTIZED_INT8 of tensorflow/compiler/mlir/lite/types.proto."""

Arrays = dict[str, NDArray[np.float32]]


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Quantize `float32` into a file.

    Args:
        request: `float32` and `file` (absolute paths), `precision` (int8 or int16x8), `calibration` (absolute path of
            an .npz with float32 arrays (N, ...) by the names of the inputs), `float_tensors` (names of tensors that
            stay in float), `settings` (the recipe's of int8).

    Returns:
        `ranges`: what tells for the ranges of int8, as `int8.trial` has it, and which outputs stay in float.
    """
    content, pixels = without_bytes(Path(request["float32"]).read_bytes())
    calibration = load_calibration(request["calibration"])
    quantizer = Quantizer(content, calibration, request["float_tensors"], pixels, request["settings"])
    made, ranges = quantizer.file(request["precision"])
    made = with_bytes(made, pixels)
    open_once(made, request["precision"])
    Path(request["file"]).write_bytes(made)
    return {"ranges": ranges}


class Quantizer:
    """Makes files that compute with integers of a float32 one, which it calibrates once.

    Args:
        content: The float32 file.
        calibration: float32 (N, ...) by the names of the inputs, in the layouts of the file.
        float_tensors: Names of tensors that stay in float.
        pixels: Names of the inputs that are a picture's bytes.
        settings: The recipe's of int8: `keep_float` leaves more in float, `ranges` and `correct_bias` are how it is
            calibrated, and `io` is what the file takes and gives.
    """

    def __init__(
        self,
        content: bytes,
        calibration: Arrays,
        float_tensors: Collection[str],
        pixels: Collection[str],
        settings: Mapping[str, Any],
    ) -> None:
        self.content, self.pixels, self.settings = content, pixels, settings
        self.graph = TFLiteGraph(content)
        self.kept = tensors_to_keep(content, settings["keep_float"]) | set(float_tensors)
        self.observed = observe(content, calibration, self.kept)

    def file(self, precision: str) -> tuple[bytes, dict[str, Any]]:
        """Return the file of a precision, int8 or int16x8, and what tells for int8's ranges: nothing of the other."""
        return self.int8() if precision == "int8" else (self.int16x8(), {})

    def int8(self) -> tuple[bytes, dict[str, Any]]:
        """Return the int8 file, and what tells for its ranges."""
        asked, unlike = kept_outputs(self.graph, self.kept), unlike_outputs(self.graph, self.observed)
        kept = self.kept | leading_to(self.graph, [self.graph.makers[number] for number in unlike.values()])
        content, observed = with_joined_sums(self.content, self.observed, kept)
        network, graph = self._network(content, observed, kept), TFLiteGraph(content)

        def quantized(ranges: Ranges) -> bytes:
            return with_float_outputs(self._quantized(network, ranges, kept), {*asked, *unlike})

        if self.settings["ranges"] == CHOSEN:
            ranges, told = ranges_of(observed, graph, quantized)
        else:
            ranges, told = observed.whole_ranges(), {"ranges": WHOLE}
        made, io = quantized(ranges), self.settings["io"]
        made = made if io == "int8" else with_outer_ends(made, io, self.pixels)
        return made, {**told, "float_outputs": list(unlike), "kept_outputs": asked}

    def int16x8(self) -> bytes:
        """Return the file with int16 values and int8 weights.

        Its ranges are twice the whole ones, as 65,536 levels are enough for what few pictures make, and for others.
        """
        kept = self.kept | without_int16(self.graph)
        network = self._network(self.content, self.observed, kept)
        ranges = with_headroom(self.observed.whole_ranges())
        made = in_int16(self._quantized(network, ranges, kept), TFLiteGraph(network))
        made = with_float_outputs(made, kept_outputs(self.graph, self.kept))
        return made if self.settings["io"] == "int8" else with_outer_ends(made, "float32", self.pixels)

    def _network(self, content: bytes, observed: Observed[int], kept: Collection[str]) -> bytes:
        """Return the float32 file that is quantized."""
        return with_corrected_biases(content, observed, kept) if self.settings["correct_bias"] else content

    def _quantized(self, network: bytes, ranges: Ranges, kept: Collection[str]) -> bytes:
        ranges = wide_enough(TFLiteGraph(network), ranges)
        with named("the TensorFlow Lite converter"):
            copied, in_float = with_copies(with_ranges(network, ranges, self.pixels), ranges)
            made = quantize(copied, {*kept, *in_float})
        return ordered(without_roundings(made), *self.graph.names())


def quantize(content: bytes, kept: Collection[str]) -> bytes:
    """Make a float32 file with ranges int8, inputs and outputs too, but for the tensors that are to stay in float."""
    quantized: bytes = _converter().ExperimentalMlirQuantizeModel(
        content,
        fully_quantize=True,
        inference_type=_INT8,
        input_data_type=_FLOAT32,
        output_data_type=_FLOAT32,
        node_blocklist=sorted(kept) or None,
        debug_options_proto_txt_raw="",
    )
    return quantized


def _converter() -> Any:
    """Return TensorFlow's converter, which is compiled and needs nothing of TensorFlow's Python.

    By itself it is there in 0.3 s, with 280 MB; all of TensorFlow takes 3 s and 560 MB. Keras has all of it imported,
    and an interpreter that loads both ends with an error where that is on Python 3.11.
    """
    if not writes_directly() or "tensorflow" in sys.modules:
        return import_module(f"{_CONVERTER}.{_MODULE}")
    package = find_spec("tensorflow")
    assert package and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0], *_CONVERTER.split(".")[1:])
    spec = PathFinder.find_spec(_MODULE, [str(folder)])
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_calibration(path: str) -> Arrays:
    """Return calibration inputs by name, those of four axes seen as NHWC."""
    with np.load(path) as content:
        return {name: array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for name, array in content.items()}
