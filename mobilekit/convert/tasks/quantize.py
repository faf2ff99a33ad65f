"""The task that makes an int8 TFLite file of a float32 one, with TensorFlow Lite's quantizer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.float_regions import tensors_to_keep
from mobilekit.artifacts.tflite import TFLiteGraph, ordered
from mobilekit.convert.calibration import with_ranges
from mobilekit.store.worker_loop import named

Arrays = dict[str, NDArray[np.float32]]


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Quantize `float32` into the file `int8`.

    Args:
        request: `float32` and `int8` (absolute paths), `calibration` (absolute path of an .npz with float32 arrays
            (N, ...) by the names of the inputs), `keep_float` (what stays in float, by words), `float_tensors` (names
            of tensors that stay in float too).
    """
    content = Path(request["float32"]).read_bytes()
    kept = tensors_to_keep(content, request["keep_float"]) | set(request["float_tensors"])
    with named("the TensorFlow Lite converter"):
        quantized = quantize(with_ranges(content, load_calibration(request["calibration"])), kept)
    Path(request["int8"]).write_bytes(ordered(quantized, *TFLiteGraph(content).names()))
    return {}


def quantize(content: bytes, kept: Collection[str]) -> bytes:
    """Make a float32 file with ranges int8, inputs and outputs too, but for the tensors that are to stay in float."""
    from tensorflow.lite.python.convert import mlir_quantize

    int8 = 9  # TensorType.INT8 of the TFLite schema
    quantized: bytes = mlir_quantize(
        content,
        fully_quantize=True,
        inference_type=int8,
        denylisted_nodes=sorted(kept) or None,
    )
    return quantized


def load_calibration(path: str) -> Arrays:
    """Return calibration inputs by name, those of four axes seen as NHWC."""
    with np.load(path) as content:
        return {name: array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for name, array in content.items()}
