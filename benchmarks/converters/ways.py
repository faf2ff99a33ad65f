"""The ways to convert, one process a step: `python -m benchmarks.converters.ways STEP REQUEST.json`.

A request is that of the task `mobilekit.convert.tasks.tflite`, and the name of the way. Step `convert` makes the files
that need no alignment; step `quantize` makes int8 of the float32 file, where modules stay in float.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.converters import direct
from mobilekit.artifacts.float_regions import tensors_to_keep
from mobilekit.convert.direct.writer import float32
from mobilekit.convert.int8.calibration import observe, with_ranges
from mobilekit.convert.tasks import quantize as tensorflow_quantizer
from mobilekit.convert.tasks import tflite as keras_way
from mobilekit.convert.weights import dynamic, float16


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Write the files that a request names, and return what failed."""
    if request["way"] == "keras":
        return keras_way.run({**request, "direct": False})
    content = float32(Path(request["onnx"]))
    failed = {}
    for precision, path in request["files"].items():
        try:
            Path(path).write_bytes(_made(precision, content, request))
        except Exception as error:
            failed[precision] = f"{type(error).__name__}: {error}"
    return {"failed": failed}


def quantize(request: dict[str, Any]) -> dict[str, Any]:
    """Write the int8 file of a float32 file in which tensors stay in float."""
    if request["way"] == "direct-litert":
        content = Path(request["float32"]).read_bytes()
        Path(request["int8"]).write_bytes(_int8(content, request))
        return {"failed": {}}
    return tensorflow_quantizer.run({**request, "file": request["int8"], "precision": "int8"})


def _made(precision: str, content: bytes, request: dict[str, Any]) -> bytes:
    if precision == "float32":
        return content
    if precision == "float16":
        return float16(content)
    if precision == "dynamic":
        is_litert = request["way"] == "direct-litert"
        return direct.dynamic(content) if is_litert else dynamic(content)
    return _int8(content, request)


def _int8(content: bytes, request: dict[str, Any]) -> bytes:
    calibration = tensorflow_quantizer.load_calibration(request["calibration"])
    settings, float_tensors = request["settings"], request.get("float_tensors", ())
    if request["way"] == "direct-litert":
        kept = tensors_to_keep(content, settings["keep_float"]) | set(float_tensors)
        return direct.int8(content, with_ranges(content, observe(content, calibration).whole_ranges()), kept)
    made, _ranges = tensorflow_quantizer.Quantizer(content, calibration, float_tensors, (), settings).int8()
    return made


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text())
    os.environ.update(
        {
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "TF_USE_LEGACY_KERAS": "1",
        }
    )
    Path(given["reply"]).write_text(json.dumps({"convert": convert, "quantize": quantize}[sys.argv[1]](given)))
