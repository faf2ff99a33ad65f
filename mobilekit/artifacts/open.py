"""Opens any artifact, by its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mobilekit.artifacts.coreml.environment import why_not_run as why_no_core_ml
from mobilekit.artifacts.runtime import Runtime
from mobilekit.errors import UsageError
from mobilekit.store.stages import Stage


def open_artifact(path: Path, output_layouts: Mapping[str, str] | None = None) -> Runtime:
    """Open an .onnx, .tflite or .pte file or an .mlpackage; only the runtime that it needs is imported.

    Args:
        path: The file.
        output_layouts: Which outputs of a .tflite are NHWC, by their names.

    Raises:
        UsageError: The suffix is another one.
        ToolError: The runtime refuses the file.
    """
    if path.suffix == ".onnx":
        from mobilekit.artifacts.onnx import OnnxRuntime

        return OnnxRuntime(path)
    if path.suffix == ".tflite":
        from mobilekit.artifacts.litert import LiteRTRuntime

        return LiteRTRuntime(path, output_layouts)
    if path.suffix == ".pte":
        from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime

        return ExecuTorchRuntime(path)
    if path.suffix == ".mlpackage":
        from mobilekit.artifacts.coreml.runtime import CoreMLRuntime

        return CoreMLRuntime(path)
    raise UsageError(f"{path} is neither .onnx, .tflite, .pte nor .mlpackage.")


def why_not_run(stage: Stage) -> str | None:
    """Return why a stage's file is not run on this machine, to follow a colon; None where it is."""
    return why_no_core_ml() if stage.file_format == "mlpackage" else None
