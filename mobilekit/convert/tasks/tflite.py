"""The task that makes TFLite files of an ONNX file: by onnx2tf's direct writer, or by Keras where that is wrong.

Files of one request are made one way: where the quantizer refuses the writer's graph, all are made by Keras.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from mobilekit.artifacts.float_regions import tensors_to_keep
from mobilekit.artifacts.tflite import TFLiteGraph, ordered
from mobilekit.convert.by_keras import by_keras
from mobilekit.convert.calibration import with_ranges
from mobilekit.convert.direct.network import by_writer
from mobilekit.convert.network import Network
from mobilekit.convert.process import ANOTHER_WAY
from mobilekit.convert.tasks.quantize import load_calibration, quantize
from mobilekit.convert.weights import dynamic
from mobilekit.store import memory
from mobilekit.store.worker_loop import named, told


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Convert `onnx` into one file for each precision.

    Args:
        request: `onnx` (absolute path), `direct` (whether onnx2tf's direct writer is tried first), `saved_model`
            (absolute path of a folder to make, for what Keras makes of it), `begun` (absolute path of a file that is
            written once the network is made), `files` (precision to absolute path), `calibration` (absolute path of an
            .npz with float32 arrays (N, ...) by the names of the inputs, or None without int8), `keep_float` (what int8
            leaves in float).

    Returns:
        `output_layouts`: NHWC or NCHW for each output of four axes in the TFLite files, by its name. `failed`: what was
        said of each precision that could not be made, as a reply; the others are made nevertheless.
    """
    path = Path(request["onnx"])
    original = path.read_bytes()
    reply: dict[str, Any] | None = None
    if request["direct"]:
        try:
            reply = _files(by_writer(path), request)
        except (Exception, SystemExit):  # onnx2tf leaves through sys.exit, too
            traceback.print_exc()
        if reply is not None and "int8" not in reply["failed"]:  # the quantizer does not take every graph
            return reply
        sys.stderr.write(f"{ANOTHER_WAY}\n")
        path.write_bytes(original)
    try:
        network = by_keras(path, Path(request["saved_model"]))
    except (Exception, SystemExit):
        if reply is None:
            raise
        traceback.print_exc()
        return reply
    return _files(network, request)


def _files(network: Network, request: dict[str, Any]) -> dict[str, Any]:
    """Write the files of a network, and return the task's reply."""
    Path(request["begun"]).touch()
    memory.release()
    failed = {}
    for precision, path in request["files"].items():
        try:
            Path(path).write_bytes(_content(network, precision, request))
        except Exception as error:
            traceback.print_exc()
            failed[precision] = told(error)
        memory.release()
    return {"output_layouts": network.layouts, "failed": failed}


def _content(network: Network, precision: str, request: dict[str, Any]) -> bytes:
    """Return the file of a precision."""
    if precision == "float16":
        return network.float16()
    content = network.float32()
    if precision == "dynamic":
        return dynamic(content)
    if precision == "int8":
        calibration = load_calibration(request["calibration"])
        kept = tensors_to_keep(content, request["keep_float"])
        with named("the TensorFlow Lite converter"):
            quantized = quantize(with_ranges(content, calibration), kept)
        return ordered(quantized, *TFLiteGraph(content).names())
    return content
