"""What a runtime does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]


class Runtime(ABC):
    """A model that is open and can be run.

    Callers speak float32, NCHW and names; a runtime turns those into its model's own layout and number format and
    back. A batch of N is run as N inputs of one where the model takes one.
    """

    @abstractmethod
    def run(self, inputs: Arrays) -> Arrays:
        """Run the model.

        Args:
            inputs: float32 by name, images as (N, C, H, W).

        Returns:
            float32 by name, first axis N.
        """

    def run_single(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run a model of one input, and return its first output."""
        return next(iter(self.run({"input": array}).values()))


def open_artifact(path: Path, output_layouts: Mapping[str, str] | None = None) -> Runtime:
    """Open an .onnx or .tflite file.

    Args:
        path: The file.
        output_layouts: Which outputs of a .tflite are NHWC, by their names.

    Raises:
        UsageError: The suffix is another one.
        ToolError: The runtime refuses the file.
    """
    from mobilekit.errors import UsageError

    if path.suffix == ".onnx":
        from mobilekit.artifacts.onnx import OnnxRuntime

        return OnnxRuntime(path)
    if path.suffix == ".tflite":
        from mobilekit.artifacts.litert import LiteRTRuntime

        return LiteRTRuntime(path, output_layouts)
    raise UsageError(f"{path.name} is neither .onnx nor .tflite.")
