"""An ONNX file as TFLite files of several precisions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.convert.process import run_task
from mobilekit.store.stages import Precision


def write_tflite(
    onnx_path: Path,
    files: Mapping[Precision, Path],
    calibration: Mapping[str, NDArray[np.float32]] | None,
    scratch: Path,
    keep_float: Sequence[str] = (),
) -> dict[str, str]:
    """Convert a simplified ONNX file, and return the layout of each output of four axes, NHWC or NCHW, by its name.

    Args:
        onnx_path: The file; it is copied first, as onnx2tf rewrites what it is given.
        files: Where to write each precision: float32, float16, dynamic (int8 weights), int8 (also activations).
        calibration: float32 inputs (N, ...) by name for int8; int8 weights are per channel.
        scratch: A folder for the tools' own files.
        keep_float: What int8 leaves in float, in the words of the recipe's `int8.keep_float`.

    Raises:
        ToolError: A tool failed; the message has the op and its words.
    """
    copy = scratch / "model.onnx"
    shutil.copyfile(onnx_path, copy)
    request: dict[str, Any] = {
        "onnx": str(copy.absolute()),
        "files": {precision: str(path.absolute()) for precision, path in files.items()},
        "calibration": None,
        "keep_float": list(keep_float),
    }
    if calibration is not None:
        np.savez(scratch / "calibration.npz", **calibration)
        request["calibration"] = str((scratch / "calibration.npz").absolute())
    layouts: dict[str, str] = run_task("tflite", request, scratch)["output_layouts"]
    return layouts


def write_int8(
    float32: Path,
    int8: Path,
    calibration: Mapping[str, NDArray[np.float32]],
    scratch: Path,
    keep_float: Sequence[str] = (),
    float_tensors: Sequence[str] = (),
) -> None:
    """Quantize a float32 TFLite file that `write_tflite` made.

    Args:
        float32: The file.
        int8: Where to write.
        calibration: float32 inputs (N, ...) by name.
        scratch: A folder for the tools' own files.
        keep_float: What stays in float, in the words of the recipe's `int8.keep_float`.
        float_tensors: Names of the file's tensors that stay in float too.

    Raises:
        ToolError: The quantizer failed.
    """
    np.savez(scratch / "calibration.npz", **calibration)
    request: dict[str, Any] = {
        "float32": str(float32.absolute()),
        "int8": str(int8.absolute()),
        "calibration": str((scratch / "calibration.npz").absolute()),
        "keep_float": list(keep_float),
        "float_tensors": list(float_tensors),
    }
    run_task("quantize", request, scratch)
