"""The task that makes quantized ONNX files, in QDQ form, of a float32 one, with ONNX Runtime's quantizer."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mobilekit.artifacts.float_regions import reach
from mobilekit.artifacts.onnx import open_session
from mobilekit.convert.byte_inputs import LARGEST, give_onnx_bytes, take_onnx_bytes
from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.float_outputs import is_unlike
from mobilekit.convert.int8.onnx_qdq import (
    OnnxGraph,
    choose_rules,
    correct_biases,
    nodes_to_keep,
    observe,
    quantized,
)
from mobilekit.convert.int8.ranges import WHOLE, Range, with_headroom
from mobilekit.convert.int8.trial import CHOSEN, Error, best_ranges, error_of
from mobilekit.store.worker_loop import named, told


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Quantize `onnx` into the files.

    Args:
        request: `onnx` (absolute path), `files` (int8 or int16x8 to absolute path), `calibration` (absolute path of an
            .npz with float32 arrays (N, ...) by the names of the inputs), `settings` (the recipe's of int8).

    Returns:
        `failed`: what was said of each file that could not be made, as a reply; the others are made nevertheless.
        `ranges`: what tells for those of int8, as `int8.trial` has it.
    """
    source = Path("quantized.onnx")
    source.write_bytes(Path(request["onnx"]).read_bytes())
    pixels = take_onnx_bytes(source)
    with np.load(request["calibration"]) as content:
        quantizer = OnnxQuantizer(onnx.load(source), dict(content), pixels, request["settings"])
    failed, ranges = {}, dict[str, Any]()
    for precision, path in request["files"].items():
        try:
            model, told_of = quantizer.model(precision)
            ranges = told_of or ranges
            onnx.save(model, source)
            give_onnx_bytes(source, pixels)
            onnx.checker.check_model(source)
            Path(path).write_bytes(source.read_bytes())
        except Exception as error:
            traceback.print_exc()
            failed[precision] = told(error)
    return {"failed": failed, "ranges": ranges}


class OnnxQuantizer:
    """Makes models in QDQ form of a float32 one, which it calibrates once.

    Args:
        model: An `onnx.ModelProto`.
        calibration: float32 (N, ...) by the names of the inputs.
        pixels: Names of the inputs that are a picture's bytes.
        settings: The recipe's of int8.
    """

    def __init__(
        self,
        model: Any,
        calibration: Mapping[str, NDArray[np.float32]],
        pixels: list[str],
        settings: Mapping[str, Any],
    ) -> None:
        self.graph, self.pixels, self.settings = OnnxGraph(model), pixels, settings
        self.kept = nodes_to_keep(self.graph, settings["keep_float"], settings["float_modules"])
        self.observed = observe(self.graph, calibration)

    def model(self, precision: str) -> tuple[Any, dict[str, Any]]:
        """Return the model of a precision, int8 or int16x8, and what tells for int8's ranges: nothing of the other."""
        graph, observed = self.graph, self.observed
        kept = self.kept | (self._leading_to_unlike_outputs() if precision == "int8" else set())
        names = {graph.nodes[number].name for number in kept}
        network = correct_biases(graph, observed.means, kept) if self.settings["correct_bias"] else graph.model

        def made(ranges: Mapping[str, Range]) -> Any:
            with named("ONNX Runtime's quantizer"):
                return quantized(network, {**ranges, **dict.fromkeys(self.pixels, (0.0, LARGEST))}, names, precision)

        def error(ranges: Mapping[str, Range]) -> Error:
            return _error(observed, made(ranges))

        if precision != "int8":
            return made(with_headroom(observed.whole_ranges())), {}
        if self.settings["ranges"] != CHOSEN:
            return made(observed.whole_ranges()), {"ranges": WHOLE}
        ranges, told_of = best_ranges(observed, partial(choose_rules, graph, observed.seen), error)
        return made(ranges), told_of

    def _leading_to_unlike_outputs(self) -> set[int]:
        """Return the nodes that lead to outputs of which a part would have too few of int8's levels."""
        graph, runs = self.graph, self.observed.outputs
        names = [name for name in (runs[0] if runs else ()) if graph.nodes[graph.makers[name]].op_type != "Softmax"]
        unlike = [name for name in names if is_unlike(np.concatenate([run[name] for run in runs]))]
        return reach(graph, [graph.makers[name] for name in unlike])


def _error(observed: Observed[str], model: Any) -> Error:
    session = open_session(model.SerializeToString())
    names = list(observed.outputs[0])
    return error_of(observed, lambda inputs: session.run(names, dict(inputs)))
