"""Opens any artifact, by its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mobilekit.artifacts.runtime import Runtime
from mobilekit.errors import UsageError


def open_artifact(path: Path, output_layouts: Mapping[str, str] | None = None) -> Runtime:
    """Open an .onnx, .tflite or .pte file; only the runtime that it needs is imported.

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
    raise UsageError(f"{path.name} is neither .onnx, .tflite nor .pte.")
