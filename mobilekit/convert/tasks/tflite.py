"""The task that makes TFLite files of an ONNX file: by onnx2tf's direct writer, or by Keras where that is wrong.

Files of one request are made one way: where the quantizer refuses the writer's graph, all are made by Keras.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from mobilekit.convert.by_keras import by_keras
from mobilekit.convert.byte_inputs import take_onnx_bytes, with_bytes
from mobilekit.convert.direct.network import by_writer
from mobilekit.convert.network import Network
from mobilekit.convert.opening import open_once
from mobilekit.convert.process import ANOTHER_WAY
from mobilekit.convert.tasks.quantize import Quantizer, load_calibration
from mobilekit.convert.weights import dynamic
from mobilekit.store import memory
from mobilekit.store.stages import CALIBRATED
from mobilekit.store.worker_loop import told


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Convert `onnx` into one file for each precision.

    Args:
        request: `onnx` (absolute path), `direct` (whether onnx2tf's direct writer is tried first), `saved_model`
            (absolute path of a folder to make, for what Keras makes of it), `begun` (absolute path of a file that is
            written once the network is made), `files` (precision to absolute path), `calibration` (absolute path of an
            .npz with float32 arrays (N, ...) by the names of the inputs, or None without int8), `settings` (the
            recipe's of int8).

    Returns:
        `output_layouts`: NHWC or NCHW for each output of four axes in the TFLite files, by its name. `failed`: what was
        said of each precision that could not be made, as a reply; the others are made nevertheless. `ranges`: what
        tells for those of int8, as `int8.trial` has it.
    """
    path = Path(request["onnx"])
    pixels = take_onnx_bytes(path)
    original = path.read_bytes()
    reply: dict[str, Any] | None = None
    if request["direct"]:
        try:
            reply = _files(by_writer(path, pixels), request, pixels)
        except (Exception, SystemExit):  # onnx2tf leaves through sys.exit, too
            traceback.print_exc()
        if reply is not None and not {*CALIBRATED} & {*reply["failed"]}:  # the quantizer does not take every graph
            return reply
        sys.stderr.write(f"{ANOTHER_WAY}\n")
        path.write_bytes(original)
    try:
        network = by_keras(path, Path(request["saved_model"]), pixels)
    except (Exception, SystemExit):
        if reply is None:
            raise
        traceback.print_exc()
        return reply
    return _files(network, request, pixels)


def _files(network: Network, request: dict[str, Any], pixels: list[str]) -> dict[str, Any]:
    """Write the files of a network, which take bytes for the inputs named `pixels`; return the task's reply."""
    Path(request["begun"]).touch()
    memory.release()
    failed, ranges = {}, dict[str, Any]()
    quantizer: Quantizer | None = None
    for precision, path in request["files"].items():
        try:
            if precision in CALIBRATED:
                quantizer = quantizer or _quantizer(network, request, pixels)
                content, told_of = quantizer.file(precision)
                ranges = told_of or ranges
            else:
                content = _in_float(network, precision)
            content = with_bytes(content, pixels)
            open_once(content, precision)  # if this process ends here, the file that lacks is the one at fault
            Path(path).write_bytes(content)
        except Exception as error:
            traceback.print_exc()
            failed[precision] = told(error)
        memory.trim()
    return {"output_layouts": network.layouts, "failed": failed, "ranges": ranges}


def _quantizer(network: Network, request: dict[str, Any], pixels: list[str]) -> Quantizer:
    calibration = load_calibration(request["calibration"])
    return Quantizer(network.float32(), calibration, (), pixels, request["settings"])


def _in_float(network: Network, precision: str) -> bytes:
    """Return the file of a precision that computes in float; it takes numbers for all inputs."""
    if precision == "float16":
        return network.float16()
    content = network.float32()
    return dynamic(content) if precision == "dynamic" else content
