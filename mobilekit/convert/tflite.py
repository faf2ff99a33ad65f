"""An ONNX file as TFLite files of several precisions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.convert.installed import writes_directly
from mobilekit.convert.process import explain, run_task
from mobilekit.errors import FullDiskError, ToolError
from mobilekit.recipes.schema import Int8
from mobilekit.store.files import save_arrays
from mobilekit.store.stages import Precision
from mobilekit.store.worker import WorkerError

_BEGUN = "begun"
"""File in the scratch folder that says that the network is made, of which all precisions are."""


@dataclass(frozen=True)
class TFLiteFiles:
    """What a conversion came to."""

    layouts: dict[str, str]
    """NHWC or NCHW for each output of four axes, by its name; nothing where no file was made."""
    failed: dict[Precision, ToolError]
    """Why a file could not be made, with the op and the tool's words."""
    ranges: dict[str, Any] = field(default_factory=dict)
    """What tells for the ranges of int8, as `int8.trial` has it."""


def write_tflite(
    onnx_path: Path,
    files: Mapping[Precision, Path],
    calibration: Mapping[str, NDArray[np.float32]] | None,
    scratch: Path,
    settings: Int8 | None = None,
    *,
    by_keras: bool = False,
) -> TFLiteFiles:
    """Convert a simplified ONNX file. A precision that cannot be made leaves the others.

    Args:
        onnx_path: The file; it is copied first, as onnx2tf rewrites what it is given.
        files: Where to write each precision: float32, float16, dynamic (int8 weights), int8 (also activations), int16x8
            (int8 weights and int16 activations).
        calibration: float32 inputs (N, ...) by name for int8 and int16x8; int8 weights are per channel.
        scratch: A folder for the tools' own files.
        settings: The recipe's of int8; without, those of a recipe that says nothing.
        by_keras: Do not try onnx2tf's direct writer first, where there is one.

    Raises:
        FullDiskError: The disk is full.
    """
    request: dict[str, Any] = {
        "onnx": str((scratch / "model.onnx").absolute()),
        "direct": writes_directly() and not by_keras,
        "saved_model": str((scratch / "saved_model").absolute()),
        "begun": str((scratch / _BEGUN).absolute()),
        "calibration": None,
        "settings": (settings or Int8()).model_dump(mode="json"),
    }
    if calibration is not None:
        save_arrays(scratch / "calibration.npz", calibration)
        request["calibration"] = str((scratch / "calibration.npz").absolute())
    return _converted(onnx_path, request, files, scratch)


def _converted(
    onnx_path: Path, request: Mapping[str, Any], files: Mapping[Precision, Path], scratch: Path
) -> TFLiteFiles:
    asked = {**request, "files": {precision: str(path.absolute()) for precision, path in files.items()}}
    shutil.copyfile(onnx_path, request["onnx"])
    Path(request["begun"]).unlink(missing_ok=True)
    try:
        reply = run_task("tflite", asked, scratch)
    except FullDiskError:
        raise
    except ToolError as error:
        cause = error.__cause__ if isinstance(error.__cause__, WorkerError) else None
        has_died = cause is not None and cause.code is not None
        was_killed = cause is not None and cause.signal == "SIGKILL"  # mostly for its memory, of which Keras takes more
        if has_died and not was_killed and request["direct"] and not Path(request["begun"]).exists():
            return _converted(onnx_path, {**request, "direct": False}, files, scratch)
        culprit = _culprit(files, scratch) if has_died else None
        if culprit is None:
            return TFLiteFiles({}, dict.fromkeys(files, error))
        rest = {precision: path for precision, path in files.items() if precision != culprit}
        found = _converted(onnx_path, request, rest, scratch) if rest else TFLiteFiles({}, {})
        return TFLiteFiles(found.layouts, {culprit: error, **found.failed}, found.ranges)
    failed: dict[Precision, ToolError] = {}
    for precision, said in reply.get("failed", {}).items():
        failed[precision] = explain("tflite", WorkerError(said["error"], tool=said.get("tool")), scratch)
        if isinstance(failed[precision], FullDiskError):
            raise failed[precision]
    return TFLiteFiles(reply["output_layouts"], failed, reply.get("ranges", {}))


def _culprit(files: Mapping[Precision, Path], scratch: Path) -> Precision | None:
    """Return the precision at which a converter took its process with it; None where the fault is that of all."""
    if not (scratch / _BEGUN).exists():
        return None
    return next((precision for precision, path in files.items() if not path.exists()), None)


def write_quantized(
    float32: Path,
    path: Path,
    calibration: Mapping[str, NDArray[np.float32]],
    scratch: Path,
    settings: Int8 | None = None,
    float_tensors: Sequence[str] = (),
    precision: Precision = "int8",
) -> dict[str, Any]:
    """Quantize a float32 TFLite file that `write_tflite` made; return what tells for int8's ranges (`int8.trial`).

    Args:
        float32: The file.
        path: Where to write.
        calibration: float32 inputs (N, ...) by name.
        scratch: A folder for the tools' own files.
        settings: The recipe's of int8; without, those of a recipe that says nothing.
        float_tensors: Names of the file's tensors that stay in float, beside those that the settings name.
        precision: int8 or int16x8.

    Raises:
        ToolError: The quantizer failed.
    """
    save_arrays(scratch / "calibration.npz", calibration)
    request: dict[str, Any] = {
        "float32": str(float32.absolute()),
        "file": str(path.absolute()),
        "precision": precision,
        "calibration": str((scratch / "calibration.npz").absolute()),
        "float_tensors": list(float_tensors),
        "settings": (settings or Int8()).model_dump(mode="json"),
    }
    ranges: dict[str, Any] = run_task("quantize", request, scratch)["ranges"]
    return ranges
